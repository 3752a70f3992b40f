"""Fabricated cells: a store in memory whose records have the shape of real ones, with made-up scores."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from frbench.harness.metrics.confidence import wilson
from frbench.harness.metrics.thresholds import OperatingPoint, fold_far_thresholds
from frbench.harness.metrics.verification import auc, eer, kfold_accuracy, tar_at_far
from frbench.harness.protocols.pair_metrics import realised_far
from frbench.harness.reporting.crosscheck import compare
from frbench.harness.reporting.figures.collect import specify
from frbench.harness.reporting.figures.figure_spec import FigureSpec
from frbench.harness.reporting.file_names import file_names
from frbench.harness.reporting.headline import Headline, headlines
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.report import Request, report
from frbench.harness.reporting.tidy_table import tidy
from frbench.harness.storage.records import Kind, select
from frbench.harness.storage.result_store import SCHEMA

PAIRS, FOLDS = 240, 4
STRENGTH = {"fgsm": 0.35, "bim": 0.7, "pgd": 0.75, "mifgsm": 0.72}
WEAKENED = {"none": 1.0, "jpeg": 0.55, "pca": 0.3}


def _kind(names: Mapping[str, str]) -> Kind:
    return Kind.CLOAKING if names.get("tracker") else Kind(names["protocol"])


class FakeStore:
    """A store in memory, filled with cells of a made-up recognizer on made-up scores."""

    def __init__(self) -> None:
        self.cells: dict[str, dict[str, Any]] = {}
        self.frames: dict[str, pd.DataFrame] = {}
        self.images: dict[str, dict[str, np.ndarray]] = {}

    def records(self) -> list[dict[str, Any]]:
        return list(self.cells.values())

    def record(self, fingerprint: str) -> dict[str, Any] | None:
        return self.cells.get(fingerprint)

    def scores(self, fingerprint: str) -> pd.DataFrame | None:
        return self.frames.get(fingerprint)

    def sample_images(self, fingerprint: str) -> Mapping[str, np.ndarray] | None:
        return self.images.get(fingerprint)

    def add(
        self, names: Mapping[str, str], settings: Mapping[str, Any] | None = None, **changes: Any
    ) -> dict[str, Any]:
        everything = {"dataset": "lfw", "recognizer": "tiny", "protocol": "verification"} | dict(names)
        changed = {"dataset.limit": PAIRS} | dict(settings or {})
        key = json.dumps([everything, changed, changes.get("salt")], sort_keys=True)
        record = {
            "schema": SCHEMA,
            "kind": _kind(everything),
            "fingerprint": sha256(key.encode()).hexdigest(),
            "status": "done",
            "reason": None,
            "names": everything,
            "settings": changed,
            "seed": 0,
            "hyperparameters": {"threat": {"margin": 0.05}, "audit": {}} | changes.pop("hyperparameters", {}),
            "measurements": None,
            "flags": [],
            "card": {
                "seconds": 12.5,
                "forwards": 800,
                "backwards": 400,
                "attack_generated": True,
            },
        }
        record |= {k: v for k, v in changes.items() if k in record}
        self.cells[record["fingerprint"]] = record
        return record


@cache
def clean_scores() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    same = np.tile([True, False], PAIRS // 2)
    scores = np.where(same, rng.normal(0.62, 0.13, PAIRS), rng.normal(0.03, 0.1, PAIRS))
    return scores, same, np.arange(PAIRS) * FOLDS // PAIRS


def clean_measurements() -> dict[str, Any]:
    """Measured once; a record has its own copy."""
    return deepcopy(_clean_measurements())


@cache
def _clean_measurements() -> dict[str, Any]:
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
            "0.1": {"tar": tar.tar, **realised_far(tar.point), "reason": None},
            "0.001": {"tar": None, "far_set": None, "far": None, "reason": "FAR 0.001 is below 1/90"},
        },
    }


@cache
def _thresholds() -> np.ndarray:
    return kfold_accuracy(*clean_scores()).thresholds


@cache
def operating_point() -> OperatingPoint:
    found = fold_far_thresholds(*clean_scores(), 0.1)
    assert isinstance(found, OperatingPoint)
    return found


def attacked(store: FakeStore, names: Mapping[str, str], radius: float, strength: float, **more: Any) -> dict[str, Any]:
    """Add a finished cell whose attack moves scores by ``strength`` towards its goal."""
    (scores, same, fold), thresholds = clean_scores(), _thresholds()
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
    attack = rate(k, d) | {"left_out": len(frame) - d, "eligible": len(frame), "bootstrap_low": float("nan")}
    attack |= {"at_far": {"0.1": {**rate(k, d), **realised_far(operating_point()), "reason": None}}}
    attack |= {"linf": {"mean": float("inf"), "median": radius, "max": float("inf")}, "objective_mean": 0.1}
    measurements = {"clean": clean_measurements(), "attack": attack}
    record = store.add(names, more.pop("settings", None), measurements=measurements, **more)
    store.frames[record["fingerprint"]] = frame
    return record


def decided(
    store: FakeStore,
    names: Mapping[str, str],
    success: Sequence[bool],
    columns: Mapping[str, Any] | None = None,
    attack: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Add a finished cell that won exactly the pairs of ``success``, of which all were decided correctly when clean.

    columns: more of the per-pair table, or other values of it; attack: more measurements.
    """
    won = np.asarray(success, bool)
    frame = pd.DataFrame({"index": np.arange(len(won)), "same": True, "correct": True, "adversarial_score": 0.0})
    frame = frame.assign(success=won, clean_score=0.5, threshold=0.3, **(columns or {}))
    d, k = int(frame["correct"].sum()), int((frame["success"] & frame["correct"]).sum())
    found = rate(k, d) | {"left_out": len(frame) - d, "eligible": len(frame)} | dict(attack or {})
    settings = more.pop("settings", None)
    record = store.add(NAMES | dict(names), settings, measurements={"clean": None, "attack": found}, **more)
    store.frames[record["fingerprint"]] = frame
    return record


def rate(successes: int, total: int) -> dict[str, Any]:
    """A success rate as records have it."""
    low, high = wilson(successes, total)
    share = successes / total
    return {"asr": share, "asr_low": low, "asr_high": high, "asr_successes": successes, "asr_denominator": total}


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


def with_pictures(store: FakeStore) -> FakeStore:
    rng = np.random.default_rng(0)
    for name, frame in store.frames.items():
        first, images = frame.head(2), rng.random((3, 2, 16, 16, 3)).astype(np.float32)
        store.images[name] = dict(zip(("probe", "adversarial", "reference"), images, strict=True))
        columns = ("index", "clean_score", "adversarial_score", "threshold", "success")
        store.images[name] |= {column: first[column].to_numpy() for column in columns}
    return store


NAMES = {"attack": "pgd", "defense": "jpeg", "goal": "dodging", "budget": "linf_8", "threat": "adaptive"}


def found_headlines(store: FakeStore) -> list[Headline]:
    """The headlines of all records."""
    records, outcomes = select(store.records(), None), Outcomes(store.scores)
    return headlines(records, compare(records, outcomes), outcomes)


def figures(
    store: FakeStore, where: Mapping[str, Any] | None = None, top: int = 1, chosen: str = "all"
) -> dict[str, FigureSpec]:
    """The figures of a report by file name, not drawn."""
    records, outcomes = select(store.records(), where), Outcomes(store.scores)
    findings = compare(records, outcomes)
    found = headlines(records, findings, outcomes)
    request = Request(store, records, findings, outcomes, Path("unused"), top, chosen)
    specs = specify(request, tidy(records, findings), found)
    return dict(zip(file_names([spec.file for spec in specs]), specs, strict=True))


def tables(out: Path) -> str:
    return (out / "tables" / "report.md").read_text(encoding="utf-8")


def printed(store: FakeStore, capsys: pytest.CaptureFixture[str], **options: Any) -> list[dict[str, Any]]:
    assert report(store, Path("unused"), "json", **options) == []

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in capsys.readouterr().out.splitlines()]
