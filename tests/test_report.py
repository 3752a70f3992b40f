"""Records to tables: what is printed, what is left out, and that nothing depends on the order of the records."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from frbench.harness.errors import FrbenchError
from frbench.harness.intervals import paired_difference, wilson
from frbench.harness.metrics import auc, eer, kfold_accuracy, tar_at_far
from frbench.harness.records import natural
from frbench.harness.report import report
from frbench.harness.tables import Cell, Table, latex, latex_escape, markdown, table_csv

PAIRS, FOLDS = 240, 4
FIGURES = {"curve", "heat", "scores", "pictures"}
STRENGTH = {"fgsm": 0.35, "bim": 0.7, "pgd": 0.75, "mifgsm": 0.72}
WEAKENED = {"none": 1.0, "jpeg": 0.55, "pca": 0.3}


class FakeStore:
    """A store in memory, filled with cells of a made-up recognizer on made-up scores."""

    def __init__(self) -> None:
        self.cells: dict[str, dict[str, Any]] = {}
        self.frames: dict[str, pd.DataFrame] = {}
        self.images: dict[str, dict[str, np.ndarray]] = {}

    def records(self) -> list[dict[str, Any]]:
        return list(self.cells.values())

    def scores(self, fingerprint: str) -> pd.DataFrame | None:
        return self.frames.get(fingerprint)

    def pictures(self, fingerprint: str) -> Mapping[str, np.ndarray] | None:
        return self.images.get(fingerprint)

    def add(
        self, names: Mapping[str, str], settings: Mapping[str, Any] | None = None, **changes: Any
    ) -> dict[str, Any]:
        everything = {"dataset": "lfw", "recognizer": "tiny", "protocol": "verification"} | dict(names)
        changed = {"dataset.limit": PAIRS} | dict(settings or {})
        key = json.dumps([everything, changed, changes.get("salt")], sort_keys=True)
        record = {
            "schema": 1,
            "fingerprint": sha256(key.encode()).hexdigest(),
            "status": "done",
            "reason": None,
            "names": everything,
            "settings": changed,
            "measurements": None,
            "flags": [],
            "card": {
                "config": {"seed": 0, "threat": {"_target_": "x.Y", "margin": 0.05}},
                "seconds": 12.5,
                "forwards": 800,
                "backwards": 400,
                "attack_generated": True,
            },
        }
        record |= {k: v for k, v in changes.items() if k in record}
        self.cells[record["fingerprint"]] = record
        return record


def clean_scores() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    same = np.tile([True, False], PAIRS // 2)
    scores = np.where(same, rng.normal(0.62, 0.13, PAIRS), rng.normal(0.03, 0.1, PAIRS))
    return scores, same, np.arange(PAIRS) * FOLDS // PAIRS


def clean_measurements() -> dict[str, Any]:
    scores, same, fold = clean_scores()
    outcome = kfold_accuracy(scores, same, fold)
    low, high = wilson(int(outcome.correct.sum()), PAIRS)
    tar = tar_at_far(scores, same, fold, 0.1)
    return {
        "accuracy": outcome.accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "accuracy_std": outcome.std_over_folds,
        "pairs": PAIRS,
        "threshold_mean": float(outcome.thresholds.mean()),
        "eer": eer(scores, same),
        "auc": auc(scores, same),
        "tar_at_far": {
            "0.1": {"tar": tar.tar, "threshold_mean": float(tar.thresholds.mean()), "reason": None},
            "0.001": {"tar": None, "threshold_mean": None, "reason": "FAR 0.001 is below 1/90"},
        },
    }


def attacked(store: FakeStore, names: Mapping[str, str], radius: float, strength: float, **more: Any) -> dict[str, Any]:
    """Add a finished cell whose attack moves scores by ``strength`` towards its goal."""
    scores, same, fold = clean_scores()
    thresholds = kfold_accuracy(scores, same, fold).thresholds
    rng = np.random.default_rng(int(1000 * strength) + int(radius * 10))
    chosen = same if names["goal"] == "dodging" else ~same
    way = -1 if names["goal"] == "dodging" else 1
    correct = (scores > thresholds) == same
    moved = scores + way * strength * rng.gamma(8, 1 / 8, PAIRS) * min(1.0, 0.25 * radius)
    success = correct & ((moved <= thresholds) if way < 0 else (moved > thresholds))
    frame = pd.DataFrame(
        {
            "index": np.arange(PAIRS),
            "fold": fold,
            "same": same,
            "clean_score": scores,
            "adversarial_score": np.clip(moved, -1, 1),
            "threshold": thresholds,
            "correct": correct,
            "success": success,
            "linf": np.where(success, radius, np.inf),
        }
    )[chosen]
    d, k = int(frame["correct"].sum()), int(frame["success"].sum())
    low, high = wilson(k, d)
    attack = {"asr": k / d, "asr_low": low, "asr_high": high, "asr_successes": k, "asr_denominator": d}
    attack |= {"left_out": len(frame) - d, "eligible": len(frame), "bootstrap_low": float("nan")}
    attack |= {
        "at_far": {"0.1": {"asr": k / d, "asr_low": low, "asr_high": high, "asr_denominator": d, "reason": None}}
    }
    attack |= {"linf": {"mean": float("inf"), "median": radius, "max": float("inf")}, "objective_mean": 0.1}
    measurements = {"clean": clean_measurements(), "attack": attack}
    record = store.add(names, more.pop("settings", None), measurements=measurements, **more)
    store.frames[record["fingerprint"]] = frame
    return record


def sweep(attacks: tuple[str, ...] = ("fgsm", "pgd"), budgets: tuple[str, ...] = ("linf_2", "linf_8")) -> FakeStore:
    store = FakeStore()
    store.add(
        {"attack": "none", "defense": "none", "goal": "dodging", "threat": "oblivious", "budget": "linf_8"},
        measurements={"clean": clean_measurements(), "attack": None},
    )
    for attack, defense, goal, budget, threat in itertools.product(
        attacks, WEAKENED, ("dodging", "impersonation"), budgets, ("oblivious", "adaptive")
    ):
        radius = float(budget.split("_")[1].replace("p", "."))
        strength = STRENGTH[attack] * (WEAKENED[defense] if threat == "oblivious" else WEAKENED[defense] ** 0.3)
        names = {"attack": attack, "defense": defense, "goal": goal, "budget": budget, "threat": threat}
        attacked(store, names, radius, strength)
    return store


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No figures, which take a second each, but for tests that ask for ``drawn``."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("frbench.harness.figures.draw", lambda *arguments: [])


@pytest.fixture
def drawn() -> None:
    """Figures too."""


def with_pictures(store: FakeStore) -> FakeStore:
    rng = np.random.default_rng(0)
    for name, frame in store.frames.items():
        first, images = frame.head(2), rng.random((3, 2, 16, 16, 3)).astype(np.float32)
        store.images[name] = dict(zip(("probe", "adversarial", "reference"), images, strict=True))
        columns = ("index", "clean_score", "adversarial_score", "threshold", "success")
        store.images[name] |= {column: first[column].to_numpy() for column in columns}
    return store


NAMES = {"attack": "pgd", "defense": "jpeg", "goal": "dodging", "budget": "linf_8", "threat": "adaptive"}


def tables(out: Path) -> str:
    return (out / "tables" / "report.md").read_text(encoding="utf-8")


def printed(store: FakeStore, capsys: pytest.CaptureFixture[str], **options: Any) -> list[dict[str, Any]]:
    assert report(store, Path("unused"), "json", **options) == []

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in capsys.readouterr().out.splitlines()]


def test_a_cell_shows_rate_interval_and_counts_with_clean_accuracy_beside(tmp_path: Path) -> None:
    store = FakeStore()
    record = attacked(store, NAMES, 8.0, 0.4)
    report(store, tmp_path)
    attack, clean = record["measurements"]["attack"], record["measurements"]["clean"]
    k, d = attack["asr_successes"], attack["asr_denominator"]
    low, high = (100 * bound for bound in wilson(k, d))
    assert 0 < k < d
    text = tables(tmp_path)
    assert f"{100 * k / d:.1f} [{low:.1f}, {high:.1f}] ({k}/{d})" in text
    assert f"{100 * clean['accuracy']:.2f} [{100 * clean['accuracy_low']:.2f}" in text
    assert f"{attack['left_out']}/{attack['eligible']}" in text
    for fact in (
        "lfw(limit=240)",
        "adaptive",
        "dodging",
        "linf_8",
        "Seed 0",
        "margin=0.05",
        "best accuracy on the other",
    ):
        assert fact in text


def test_files_are_byte_identical_in_whatever_order_the_records_come(tmp_path: Path, drawn: None) -> None:
    store, few = with_pictures(sweep(("pgd",))), {"defense": ["none", "jpeg"], "goal": "dodging"}
    written = report(store, tmp_path / "one", where=few)
    for record in store.cells.values():
        record["card"] |= {"seconds": 99.0, "forwards": 1, "backwards": 0, "attack_generated": False}
    store.cells = dict(sorted(store.cells.items(), reverse=True))
    report(store, tmp_path / "two", where=few)
    one = {p.relative_to(tmp_path / "one"): p.read_bytes() for p in (tmp_path / "one").rglob("*.*")}
    two = {p.relative_to(tmp_path / "two"): p.read_bytes() for p in (tmp_path / "two").rglob("*.*")}
    assert {path.suffix for path in one} == {".md", ".tex", ".csv", ".png", ".pdf"}
    assert {path.name.split("-")[0] for path in written if path.suffix == ".png"} == FIGURES
    assert sorted(written) == sorted(tmp_path / "one" / path for path in one)
    assert one == two
    assert all(path.name in tables(tmp_path / "one") for path in written if path.suffix == ".png")


def test_many_pictures_are_paged_and_the_number_of_pairs_is_chosen(tmp_path: Path, drawn: None) -> None:
    where = {"goal": "dodging", "threat": "adaptive", "defense": "pca"}
    store = with_pictures(sweep(tuple(STRENGTH), ("linf_2", "linf_8")))
    written = [path.stem for path in report(store, tmp_path, where=where, top=2) if path.stem.startswith("pictures")]
    start = "pictures-lfw_limit_240-tiny-verification-dodging-adaptive-pca-page"
    assert written == [f"{start}1", f"{start}2"]  # 4 attacks x 2 budgets x 2 pairs, 12 on a page


def test_refused_and_crashed_cells_stand_in_the_table_with_their_reason(tmp_path: Path) -> None:
    store = sweep(("pgd",), ("linf_8",))
    names = NAMES | {"defense": "service"}
    store.add(names, status="refused", reason="pgd needs a gradient and the view gives none")
    trace = 'Traceback (most recent call last):\n  File "/home/me/x.py", line 3\nValueError: no such | thing'
    store.add(names | {"attack": "cw"}, status="crashed", reason=trace)
    report(store, tmp_path)
    text = tables(tmp_path)
    row = next(line for line in text.splitlines() if "service" in line)
    assert [cell.strip() for cell in row.split("|")[-3:-1]] == ["crashed <sup>a</sup>", "refused <sup>b</sup>"]
    assert "- <sup>b</sup> refused: pgd needs a gradient and the view gives none" in text
    assert "- <sup>a</sup> crashed: ValueError: no such | thing" in text
    assert "/home/me" not in "".join(p.read_text() for p in (tmp_path / "tables").iterdir())


def test_a_finished_cell_replaces_a_crashed_one_and_two_finished_ones_stand_side_by_side(tmp_path: Path) -> None:
    store = FakeStore()
    first = attacked(store, NAMES, 8.0, 0.4, salt="old")
    store.add(NAMES, status="crashed", reason="boom", salt="older")
    report(store, tmp_path / "one")
    assert "boom" not in tables(tmp_path / "one")
    assert " / " not in tables(tmp_path / "one")
    second = attacked(store, NAMES, 8.0, 0.3, salt="new")
    report(store, tmp_path / "two")
    text = tables(tmp_path / "two")
    for record in (first, second):
        assert f"{100 * record['measurements']['attack']['asr']:.1f} [" in text
    assert "several results under this label" in text
    report(store, tmp_path / "three", where={"fingerprint": second["fingerprint"][:10]})
    assert " / " not in tables(tmp_path / "three")


def test_flags_become_marks_with_a_legend(tmp_path: Path) -> None:
    store = FakeStore()
    attacked(store, NAMES, 8.0, 0.4, flags=["zero_gradient", "boundary_attack"])
    report(store, tmp_path)
    assert "<sup>a,b</sup>" in tables(tmp_path)
    assert "- <sup>a</sup> boundary attack\n- <sup>b</sup> zero gradient" in tables(tmp_path)


def pair_of_threats(adaptive: float, oblivious: float) -> tuple[FakeStore, dict[str, Any], dict[str, Any]]:
    store = FakeStore()
    one = attacked(store, NAMES, 8.0, adaptive)
    return store, one, attacked(store, NAMES | {"threat": "oblivious"}, 8.0, oblivious)


def test_an_adaptive_attack_that_does_worse_than_the_oblivious_one_is_flagged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, adaptive, _ = pair_of_threats(0.25, 0.6)
    flags = {line["threat"]: line["flags"] for line in printed(store, capsys)}
    assert flags == {"adaptive": ["adaptive_weaker_than_oblivious"], "oblivious": []}
    report(store, tmp_path)
    assert "adaptive weaker than oblivious" in tables(tmp_path)
    frame = pd.read_csv(tmp_path / "tables" / "cells.csv").set_index("fingerprint")
    assert frame.loc[adaptive["fingerprint"], "flags"] == "adaptive_weaker_than_oblivious"


def test_a_stronger_adaptive_attack_is_not_flagged_and_its_gain_is_the_paired_difference(tmp_path: Path) -> None:
    store, adaptive, oblivious = pair_of_threats(0.6, 0.35)
    report(store, tmp_path)
    assert "weaker" not in tables(tmp_path)
    kept = [store.frames[r["fingerprint"]].query("correct")["success"] for r in (adaptive, oblivious)]
    gap = paired_difference(*kept)
    assert gap.difference > 0.2
    assert f"{100 * gap.difference:+.1f} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}] ({len(kept[0])})" in tables(
        tmp_path
    )


def test_a_difference_within_chance_is_not_flagged(capsys: pytest.CaptureFixture[str]) -> None:
    store, adaptive, oblivious = pair_of_threats(0.4, 0.4)
    frame = store.frames[adaptive["fingerprint"]] = store.frames[oblivious["fingerprint"]].copy()
    frame.loc[frame.index[frame["success"]][:2], "success"] = False
    assert all(line["flags"] == [] for line in printed(store, capsys))


def test_cells_without_common_attack_settings_are_not_compared(capsys: pytest.CaptureFixture[str]) -> None:
    store = FakeStore()
    attacked(store, NAMES, 8.0, 0.2)
    attacked(store, NAMES | {"threat": "oblivious"}, 8.0, 0.7, settings={"attack.steps": 40})
    assert all(line["flags"] == [] for line in printed(store, capsys))


def test_without_per_pair_scores_the_intervals_of_the_two_rates_must_part(capsys: pytest.CaptureFixture[str]) -> None:
    store, _, _ = pair_of_threats(0.2, 0.7)
    store.frames.clear()
    assert {tuple(line["flags"]) for line in printed(store, capsys)} == {(), ("adaptive_weaker_than_oblivious",)}


def test_transfer_is_held_against_white_box_only_where_there_is_no_defense(capsys: pytest.CaptureFixture[str]) -> None:
    store = FakeStore()
    for defense in ("none", "jpeg"):
        names = NAMES | {"defense": defense}
        attacked(store, names | {"threat": "oblivious"}, 8.0, 0.2)
        attacked(store, names | {"threat": "transfer", "surrogate": "other"}, 8.0, 0.7)
    found = {(line["defense"], line["threat"]): line["flags"] for line in printed(store, capsys)}
    assert found["none", "oblivious"] == ["oblivious_weaker_than_transfer"]
    assert found["jpeg", "oblivious"] == []


def test_json_lines_are_strict_flat_and_sorted(capsys: pytest.CaptureFixture[str]) -> None:
    store = sweep(("pgd",), ("linf_8", "linf_2"))
    store.add(NAMES | {"defense": "service"}, status="refused", reason="why not")
    lines = printed(store, capsys)
    keys = "dataset recognizer defense attack goal budget threat protocol status clean_accuracy asr asr_low asr_high"
    keys += " asr_denominator threshold seconds forwards backwards attack_generated flags"
    assert all(set(keys.split()) <= set(line) for line in lines)
    assert [line["asr"] for line in lines if line["attack"] == "none"] == [None]
    attack = next(line["measurements"]["attack"] for line in lines if line["attack"] == "pgd")
    assert attack["linf"]["mean"] == "inf"
    assert attack["bootstrap_low"] is None
    refused = next(line for line in lines if line["status"] == "refused")
    assert (refused["reason"], refused["clean_accuracy"]) == ("why not", None)
    budgets = [line["budget"] for line in lines if line["defense"] == "jpeg" and line["goal"] == "dodging"]
    assert budgets == ["linf_2", "linf_8", "linf_2", "linf_8"]


def test_json_of_an_empty_store_is_empty_and_its_tables_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed(FakeStore(), capsys) == []
    with pytest.raises(FrbenchError, match="frbench run"):
        report(FakeStore(), tmp_path)


def test_an_unknown_format_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(FrbenchError, match="format=xml is not known; take one of files, json"):
        report(FakeStore(), tmp_path, "xml")


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ({"defense": "jpeg"}, 8),
        ({"defense": ["jpeg", "pca"], "goal": "dodging"}, 8),
        ({"status": "done", "attack": None}, 25),
        ({"settings": {"dataset": {"limit": PAIRS}}}, 25),
    ],
)
def test_where_chooses_records(where: dict[str, Any], count: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(printed(sweep(("pgd",)), capsys, where=where)) == count


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"defense": "jpg"}, "where.defense=jpg matches no record; there is none, jpeg, pca"),
        ({"defence": "jpeg"}, "where.defence is not something to choose by; take one of dataset"),
    ],
)
def test_where_that_matches_nothing_says_what_there_is(where: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(FrbenchError, match=message):
        report(sweep(("pgd",), ("linf_8",)), tmp_path, where=where)


def test_the_tidy_table_has_every_measurement_and_no_fact_of_the_run(tmp_path: Path) -> None:
    store = sweep(("pgd",), ("linf_8",))
    report(store, tmp_path)
    frame = pd.read_csv(tmp_path / "tables" / "cells.csv", keep_default_na=False)
    assert len(frame) == len(store.cells)
    assert {"clean_tar_at_far_0.1_tar", "asr_low", "linf_median", "at_far_0.1_asr", "flags"} <= set(frame.columns)
    assert not {"seconds", "forwards", "backwards", "attack_generated", "card_seconds"} & set(frame.columns)
    assert set(frame.loc[frame["attack"] == "pgd", "linf_mean"]) == {"inf"}


def test_a_clean_table_has_one_row_for_each_defense_and_says_which_far_cannot_be_resolved(tmp_path: Path) -> None:
    report(sweep(("pgd",)), tmp_path)
    text = (tmp_path / "tables" / "clean-lfw-verification.md").read_text(encoding="utf-8")
    assert [line.split("|")[2].strip() for line in text.splitlines() if line.startswith("|")][2:] == [
        "none",
        "jpeg",
        "pca",
    ]
    assert "FAR 0.001 is below 1/90" in text


def test_table_csv_reads_back_and_repeats_every_row_name(tmp_path: Path) -> None:
    report(sweep(("fgsm", "pgd")), tmp_path)
    name = "asr-lfw_limit_240-tiny-verification-dodging-adaptive.csv"
    rows = list(csv.DictReader(io.StringIO((tmp_path / "tables" / name).read_text(encoding="utf-8"))))
    assert [(row["budget"], row["defense"]) for row in rows] == [
        (budget, defense) for budget in ("linf_2", "linf_8") for defense in ("none", "jpeg", "pca")
    ]
    assert all("(" in row["pgd"] for row in rows)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["linf_16", "linf_2", "linf_5p1", "linf_8", "l2_0p5"], ["l2_0p5", "linf_2", "linf_5p1", "linf_8", "linf_16"]),
        (["pca", "none", "jpeg(quality=75)", "jpeg"], ["none", "jpeg", "jpeg(quality=75)", "pca"]),
    ],
)
def test_names_sort_as_people_read_them(names: list[str], expected: list[str]) -> None:
    assert sorted(names, key=natural) == expected


def test_settings_make_the_label_of_their_option_and_the_seed_a_table_of_its_own(tmp_path: Path) -> None:
    store = FakeStore()
    attacked(store, NAMES, 8.0, 0.4)
    attacked(store, NAMES, 8.0, 0.5, settings={"attack.steps": 40})
    attacked(store, NAMES, 8.0, 0.5, settings={"seed": 1})
    report(store, tmp_path)
    assert "pgd(steps=40)" in tables(tmp_path)
    assert "adaptive attacker, seed=1" in tables(tmp_path)
    assert (tmp_path / "tables" / "asr-lfw_limit_240-tiny-verification-dodging-adaptive-seed_1.md").exists()


NASTY = Table(
    "x-y",
    "50 % of a_b & c",
    "~ $5",
    ("a_b", "c#"),
    ((Cell("p|q", notes=("n_1 < 2",)), Cell("1.0", "[0, 1] (1/1)")),),
    1,
)


def test_latex_is_escaped_and_balanced() -> None:
    text = latex(NASTY)
    assert r"50 \% of a\_b \& c. \textasciitilde{} \$5" in text
    assert r"\par\textsuperscript{a} n\_1 \textless{} 2" in text
    assert r"\shortstack[r]{1.0\\{\scriptsize [0, 1] (1/1)}}" in text
    assert text.count("{") == text.count("}")
    assert all(text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 1 for name in ("table", "tabular"))
    assert latex_escape("a\\b^{2}") == r"a\textbackslash{}b\textasciicircum{}\{2\}"


def test_markdown_keeps_its_columns_whatever_the_cells_hold() -> None:
    rows = [line for line in markdown(NASTY).splitlines() if line.startswith("|")]
    assert all(line.replace("\\|", "").count("|") == 3 for line in rows)
    assert table_csv(NASTY).splitlines()[1] == 'p|q,"1.0 [0, 1] (1/1)",n_1 < 2'
