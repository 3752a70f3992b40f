"""``scripts/figure_purifiers.py``: the cells of the figure, and drawing it from a store."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from support.fake_records import FakeStore

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
CELL = {
    "dataset": "lfw",
    "recognizer": "foamliu_mobilefacenet",
    "attack": "pgd",
    "goal": "dodging",
    "threat": "oblivious",
    "budget": "linf_5p1",
    "defense": "pin",
}
FOUND = {"attack": {"asr": 0.3, "asr_low": 0.2, "asr_high": 0.4}}
ADAPTIVE = {"attack.steps": 40, "threat.surrogate_gradient": "mean_mask"}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("figure_purifiers")


def drawn(script: ModuleType, names: dict[str, str], settings: dict[str, Any] | None = None, **changes: Any) -> list:
    store = FakeStore()
    store.add(CELL | names, settings, **({"measurements": FOUND} | changes))
    return list(script.points(store.records()))


def test_that_a_point_has_the_radius_in_gray_levels_and_the_interval(script: ModuleType) -> None:
    (point,) = drawn(script, {})
    assert point["radius"] == 5.1 and (point["asr"], point["asr_low"], point["asr_high"]) == (0.3, 0.2, 0.4)


def test_that_an_adaptive_cell_enters_through_the_mean_mask_alone(script: ModuleType) -> None:
    adaptive = {"threat": "adaptive"}
    assert drawn(script, adaptive, ADAPTIVE)
    assert not drawn(script, adaptive, ADAPTIVE | {"threat.surrogate_gradient": "steering"})
    assert not drawn(script, adaptive, ADAPTIVE | {"attack.steps": 100})


@pytest.mark.parametrize(
    "other",
    [
        {"attack": "fgsm"},
        {"goal": "impersonation"},
        {"threat": "transfer"},
        {"budget": "l2_1"},
        {"defense": "jpeg"},
        {"dataset": "cfp_fp"},
        {"recognizer": "mobileface_v2"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_that_a_cell_of_another_question_stays_out(script: ModuleType, other: dict[str, str]) -> None:
    assert not drawn(script, other)


def test_that_a_cell_that_failed_stays_out(script: ModuleType) -> None:
    assert not drawn(script, {}, status="failed", measurements=None)


def test_that_the_figure_is_drawn_from_the_cells_of_most_pairs(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store, seen = FakeStore(), []
    for limit, budget in ((600, "linf_2"), (600, "linf_8"), (200, "linf_4")):
        store.add(CELL | {"budget": budget}, {"dataset.limit": limit}, measurements=FOUND)
    store.add(CELL | {"threat": "adaptive", "budget": "linf_4"}, ADAPTIVE, measurements=FOUND)
    monkeypatch.setattr(script.folders, "store", lambda config: store)
    original = script.asr_curves
    monkeypatch.setattr(script, "asr_curves", lambda frame, *rest: seen.append(frame) or original(frame, *rest))
    assert script.main(["--out", str(tmp_path / "figure")]) == 0
    assert sorted(seen[0]["radius"]) == [2.0, 4.0, 8.0] and set(seen[0]["goal"]) == {"oblivious", "adaptive"}
    assert seen[0].groupby("goal")["radius"].agg(set)["oblivious"] == {2.0, 8.0}
    with Image.open(tmp_path / "figure.png") as picture:
        assert picture.width > picture.height > 100


def test_that_a_store_without_such_cells_is_a_one_line_error(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = SimpleNamespace(records=list, root="results")
    monkeypatch.setattr(script.folders, "store", lambda config: empty)
    assert script.main([]) == 2
    told = capsys.readouterr().err
    assert "results holds no cells of the figure; run the experiments" in told and told.count("\n") == 1
