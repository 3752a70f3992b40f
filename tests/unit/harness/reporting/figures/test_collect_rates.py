"""Figures of the ASR by budget, defense and attack."""

from __future__ import annotations

from support.fake_records import NAMES, FakeStore, attacked, figures, sweep


def test_that_each_attack_and_each_defense_has_its_curves() -> None:
    found = figures(sweep(), {"threat": "adaptive"})
    names = [name for name in found if name.startswith("asr_by_budget")]
    start = "asr_by_budget-lfw-tiny-linf-"
    assert names == [f"{start}attack_{a}" for a in ("fgsm", "pgd")] + [
        f"{start}defense_{d}" for d in ("none", "jpeg", "pca")
    ]
    assert found[f"{start}attack_pgd"].title == "Attack success against perturbation budget, pgd"
    assert found[f"{start}defense_none"].title == "Attack success against perturbation budget, no defense"


def test_that_one_budget_or_one_attack_has_no_curves_of_a_defense() -> None:
    assert not [name for name in figures(sweep(budgets=("linf_8",))) if name.startswith("asr_by_budget")]
    one = figures(sweep(("pgd",)))
    assert [name for name in one if name.startswith("asr_by_budget")] == ["asr_by_budget-lfw-tiny-linf-attack_pgd"]


def test_that_a_heat_map_shows_a_finished_cell_in_the_place_of_a_crashed_one() -> None:
    store = FakeStore()
    record = attacked(store, NAMES, 8.0, 0.4)
    store.add(NAMES, status="crashed", reason="boom", salt="older")
    store.add(NAMES | {"defense": "service"}, status="refused", reason="no gradient")
    (drawing,) = (each for name, each in figures(store).items() if name.startswith("asr_heatmap"))
    shown = {text.get_text() for text in drawing.figure().axes[0].texts}
    attack = record["measurements"]["attack"]
    assert shown == {f"{100 * attack['asr']:.1f}", f"{attack['asr_successes']}/{attack['asr_denominator']}", "refused"}
