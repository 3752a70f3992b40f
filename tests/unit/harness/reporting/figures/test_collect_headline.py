"""Which figures a headline has, and the values that they draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.fake_records import PAIRS, FakeStore, attacked, decided, figures, found_headlines, sweep

from frbench.harness.metrics.verification import roc
from frbench.harness.reporting.colours import UNDEFENDED, defense_look
from frbench.harness.reporting.figures.collect_headline import headline_figures
from frbench.harness.reporting.figures.figure_spec import FigureSpec

NAMES = {"attack": "pgd", "goal": "dodging", "budget": "linf_2"}


def won(store: FakeStore, count: int, defense: str, threat: str, **more: Any) -> dict[str, Any]:
    return decided(store, NAMES | {"defense": defense, "threat": threat}, [k < count for k in range(40)], **more)


def of_kind(store: FakeStore, kind: str, chosen: str = "main") -> FigureSpec:
    (found,) = [spec for spec in figures(store, chosen=chosen).values() if spec.file.kind == kind]
    return found


def test_that_three_figures_of_the_first_headline_open_the_report() -> None:
    found = figures(sweep(), chosen="all")
    opening = [name for name, spec in found.items() if spec.place == "opening"]
    assert opening == [
        f"{kind}-lfw-tiny-linf_2" for kind in ("knowledge_ladder", "accuracy_against_robustness", "roc_and_det")
    ]
    assert found["knowledge_ladder-lfw-tiny-linf_8"].place == "all"
    assert "knowledge_ladder-lfw-tiny-linf_8" not in figures(sweep(), chosen="main")


def test_that_the_ladder_has_a_line_for_each_defense_with_its_rates() -> None:
    store = FakeStore()
    for defense, oblivious, adaptive in (("none", 30, 30), ("jpeg", 4, 20)):
        won(store, oblivious, defense, "oblivious")
        won(store, adaptive, defense, "adaptive")
    spec = of_kind(store, "knowledge_ladder")
    assert spec.setting == "tiny on LFW, 240 pairs, L∞ ≤ 2/255"
    (panel,) = spec.figure().axes
    none, jpeg = panel.get_lines()
    assert [label.get_text() for label in panel.get_xticklabels()] == ["oblivious", "adaptive"]
    assert list(none.get_ydata()) == [75, 75] and list(jpeg.get_ydata()) == [10, 50]
    assert (none.get_color(), jpeg.get_color()) == (UNDEFENDED, defense_look("jpeg").colour)


def test_that_one_level_alone_has_no_ladder() -> None:
    store = FakeStore()
    won(store, 30, "jpeg", "oblivious")
    assert not figures(store, chosen="main")


def test_that_robustness_is_the_share_of_pairs_that_withstand_the_strongest_attack() -> None:
    store = FakeStore()
    record = attacked(store, NAMES | {"defense": "jpeg", "threat": "adaptive"}, 2.0, 0.9)
    weaker = attacked(store, NAMES | {"defense": "jpeg", "threat": "adaptive", "attack": "fgsm"}, 2.0, 0.5)
    asr, other = (each["measurements"]["attack"]["asr"] for each in (record, weaker))
    (panel,) = of_kind(store, "accuracy_against_robustness").figure().axes
    (point,) = panel.get_lines()
    assert other < asr and list(point.get_ydata()) == pytest.approx([100 * (1 - asr)])
    assert list(point.get_xdata()) == pytest.approx([100 * record["measurements"]["clean"]["accuracy"]])


def test_that_roc_curves_need_genuine_and_impostor_pairs_and_are_those_of_the_scores() -> None:
    store, names = FakeStore(), NAMES | {"defense": "jpeg", "threat": "adaptive"}
    records = [attacked(store, names, 2.0, 0.9)]
    assert not [spec for spec in figures(store).values() if spec.file.kind == "roc_and_det"]
    records.append(attacked(store, names | {"goal": "impersonation"}, 2.0, 0.9))
    tables = [store.frames[record["fingerprint"]] for record in records]
    panels = of_kind(store, "roc_and_det").figure().axes
    for panel, column in zip(panels[:2], ("clean_score", "adversarial_score"), strict=True):
        scores, same = (np.concatenate([table[name] for table in tables]) for name in (column, "same"))
        far, tar = roc(scores, same.astype(bool))
        (line,) = panel.get_lines()
        assert line.get_xdata()[-1] == 100 and line.get_ydata()[-1] == 100
        drawn = dict(zip(np.round(line.get_xdata(), 9), line.get_ydata(), strict=True))
        assert drawn[round(100 / (PAIRS // 2), 9)] == pytest.approx(100 * tar[far <= 2 / PAIRS].max())


@pytest.mark.parametrize("timing", [True, False])
def test_that_the_cost_is_drawn_where_it_was_recorded_and_asked_for(timing: bool) -> None:
    store = FakeStore()
    for k, defense in enumerate(("none", "jpeg", "pca")):
        card = won(store, 10 * k, defense, "adaptive")["card"]
        card |= {"device": "cpu (x86_64)", "threads": 1} | ({"ms_per_image": 2.0**k} if defense != "pca" else {})
    specs = specs_of(store, timing)
    assert [spec.file.kind for spec in specs if spec.file.kind.startswith("cost")] == (
        ["cost_against_robustness"] if timing else []
    )
    if timing:
        (panel,) = specs[-1].figure().axes
        assert panel.get_xlabel() == "ms per image on cpu"
        assert [list(line.get_xdata()) for line in panel.get_lines()] == [[1.0], [2.0]]


def specs_of(store: FakeStore, timing: bool) -> list[FigureSpec]:
    return list(headline_figures(store, found_headlines(store), timing))
