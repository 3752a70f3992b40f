"""A table of cells made with different libraries says so in one sentence; facts that decide no number say nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.fake_records import FakeStore, attacked, decided, sweep, tables

from frbench.harness.reporting.crosscheck import compare
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.report import report
from frbench.harness.reporting.tables.audit import audit_tables
from frbench.harness.reporting.tables.mixed_versions import mixed_versions

SENTENCE = "Cells of this table were made with"


def with_versions(store: FakeStore, *versions: dict[str, str]) -> FakeStore:
    """The cells of ``store`` take the versions in turn."""
    for number, record in enumerate(store.records()):
        record["card"]["versions"] = versions[number % len(versions)]
    return store


def test_that_libraries_of_one_version_are_not_mentioned() -> None:
    store = with_versions(sweep(), {"torch": "2.13.0", "python": "3.11.7"})
    assert mixed_versions(store.records()) == ""


def test_that_each_library_of_several_versions_is_named_with_all_of_them_in_order() -> None:
    mixed = [{"torch": "2.13.0", "python": "3.13.0"}, {"torch": "2.6.0", "python": "3.13.0"}]
    mixed.append({"torch": "2.7.1", "python": "3.11.7"})
    found = mixed_versions(with_versions(sweep(), *mixed).records())
    assert found == f"{SENTENCE} Python 3.11.7 and 3.13.0; torch 2.6.0, 2.7.1 and 2.13.0."


@pytest.mark.parametrize("library", ["frbench", "torch", "numpy", "torchattacks", "kornia", "onnxruntime"])
def test_that_a_library_that_decides_numbers_counts(library: str) -> None:
    store = with_versions(sweep(), {library: "1.9"}, {library: "1.10"})
    assert mixed_versions(store.records()) == f"{SENTENCE} {library} 1.9 and 1.10."


def test_that_a_library_that_decides_no_number_or_was_not_installed_does_not_count() -> None:
    store = with_versions(sweep(), {"hydra-core": "1.3.2", "kornia": "0.8.1"}, {"hydra-core": "1.3.3"}, {})
    assert mixed_versions(store.records()) == ""


def test_that_a_cell_without_a_card_says_nothing() -> None:
    store = with_versions(sweep(), {"torch": "2.6.0"})
    store.records()[0]["card"] = None
    assert mixed_versions(store.records()) == ""


def test_that_the_sentence_is_printed_once_under_each_table_that_mixes(tmp_path: Path) -> None:
    names = {"defense": "none", "goal": "dodging", "budget": "linf_8", "threat": "oblivious"}
    store = FakeStore()
    for dataset, torch in (("lfw", "2.13.0"), ("lfw", "2.6.0"), ("cfp_fp", "2.13.0")):
        attack = {"2.13.0": "pgd", "2.6.0": "fgsm"}[torch]
        record = attacked(store, names | {"dataset": dataset, "attack": attack}, 8.0, 0.7)
        record["card"]["versions"] = {"torch": torch}
    report(store, tmp_path)
    mixed = {path.stem for path in (tmp_path / "tables").glob("*.md") if SENTENCE in path.read_text("utf-8")}
    assert any(name.startswith("asr") and "lfw" in name for name in mixed)
    assert any(name.startswith("clean") and "lfw" in name for name in mixed)
    assert not any("cfp_fp" in name for name in mixed)
    text = (tmp_path / "tables" / next(f"{name}.tex" for name in mixed if name.startswith("asr"))).read_text("utf-8")
    assert text.count(f"{SENTENCE} torch 2.6.0 and 2.13.0.") == 1
    assert SENTENCE in tables(tmp_path)


def test_that_the_audit_of_cells_of_several_versions_says_so() -> None:
    store = FakeStore()
    for attack in ("pgd", "bim"):
        decided(store, {"attack": attack}, [True], attack={"audit": {"level": "basic"}}, flags=["zero_gradients"])
    with_versions(store, {"torch": "2.6.0"}, {"torch": "2.13.0"})
    records = store.records()
    made = audit_tables(records, compare(records, Outcomes(store.scores)))
    assert len(made) == 2
    assert all(SENTENCE in table.caption for table in made)
