"""Figures of single pairs: histograms of the strongest attack, and pages of images."""

from __future__ import annotations

from support.fake_records import STRENGTH, figures, sweep, with_pictures


def test_that_histograms_show_the_strongest_attack_of_each_budget() -> None:
    found = figures(sweep(), {"threat": "adaptive"})
    names = [name for name in found if name.startswith("scores")]
    assert names == [f"scores-lfw-tiny-adaptive-linf_{radius}-attack_pgd" for radius in (2, 8)]
    assert found[names[1]].title == "Scores before and after the attack, pgd, L∞ ≤ 8/255"
    assert len(found[names[1]].figure().axes) == 6  # three defenses, two goals


def test_that_many_pairs_are_paged_and_their_number_is_chosen() -> None:
    where = {"goal": "dodging", "threat": "adaptive", "defense": "pca"}
    store = with_pictures(sweep(tuple(STRENGTH), ("linf_2", "linf_8")))
    start = "examples-lfw-tiny-dodging-adaptive-defense_pca"
    names = [name for name in figures(store, where, top=2) if name.startswith("examples")]
    assert names == [f"{start}-page_1", f"{start}-page_2"]  # 4 attacks x 2 budgets x 2 pairs, 8 on a page
    found = figures(store, where, top=1)
    assert [name for name in found if name.startswith("examples")] == [start]
    shown = {text.get_text() for text in found[start].figure().axes[0].texts}
    assert {"clean", "adversarial", "reference", "pgd\nL∞ ≤ 8/255, pair 0"} <= shown
    assert not [name for name in figures(store, where, top=0) if name.startswith("examples")]
