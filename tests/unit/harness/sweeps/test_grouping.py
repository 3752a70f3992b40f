"""Which cells one job evaluates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from frbench.harness.core.contracts import Recognizer
from frbench.harness.sweeps.built_cells import built
from frbench.harness.sweeps.grouping import _packed, facts_of
from frbench.harness.sweeps.plan import Plan, Wave
from tests.support.small_sweeps import FITTED, small_sweep


def groups(plan: Plan, wave: Wave) -> list[tuple[int, ...]]:
    return [group.cells for group in plan.groups if group.wave is wave]


def words(plan: Plan, number: int) -> str:
    return " ".join(plan.differing(plan.cells[number]))


def test_that_defenses_share_the_images_of_an_attacker_who_does_not_see_them(tmp_path: Path) -> None:
    plan = small_sweep(tmp_path, "defense=none,blur", "goal=dodging,impersonation", "threat=oblivious,adaptive").plan
    found = sorted(sorted(words(plan, number) for number in cells) for cells in groups(plan, Wave.CELLS))
    assert len(found) == 6
    assert [each for each in found if len(each) == 2] == [
        [f"defense={defense} goal={goal} threat=oblivious" for defense in ("blur", "none")]
        for goal in ("dodging", "impersonation")
    ]
    assert len(groups(plan, Wave.CLEAN)) == 2 and not groups(plan, Wave.FIT)


def test_that_recognizers_share_the_images_of_a_transfer_attack_alone(
    tmp_path: Path, linear: Callable[..., Recognizer]
) -> None:
    surrogate = ("threat=transfer", "recognizer@threat.surrogate=tiny", "threat.surrogate.min_clean_accuracy=null")
    for words, shared in ((surrogate, True), (("threat=oblivious",), False)):
        plan = small_sweep(tmp_path, *words).plan
        cell = built(plan, plan.cells[0])
        other = replace(cell, recognizer=linear())
        assert (facts_of(cell).images == facts_of(other).images) is shared


def test_that_a_defense_is_fitted_once_before_its_cells(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path, *FITTED, "goal=dodging,impersonation")
    assert groups(sweep.plan, Wave.FIT) == [(0,)]
    assert {cell.fit for cell in sweep.plan.cells} == {sweep.plan.cells[0].fit}
    assert [group.number for group in sweep.plan.groups] == list(range(len(sweep.plan.groups)))


def test_that_keys_are_those_of_the_records(tmp_path: Path) -> None:
    plan = small_sweep(tmp_path, "goal=dodging,impersonation").plan
    assert [cell.key for cell in plan.cells] == [built(plan, cell).fingerprint() for cell in plan.cells]
    without = replace(built(plan, plan.cells[0]), attack=None)
    assert facts_of(without).images is None


def test_that_a_cell_that_cannot_be_built_keeps_its_reason(tmp_path: Path) -> None:
    plan = small_sweep(tmp_path, "budget.radius=0.01,-1").plan
    assert plan.cells[0].key is not None and plan.cells[1].key is None
    assert "budget.radius" in str(plan.cells[1].unknown)


@given(st.lists(st.integers(1, 5)), st.integers(1, 8))
def test_that_packed_groups_keep_every_cell_in_order(sizes: list[int], least: int) -> None:
    first, alike = 0, []
    for size in sizes:
        alike.append(tuple(range(first, first + size)))
        first += size
    packed = _packed(alike, least)
    assert [number for cells in packed for number in cells] == list(range(first))
    assert all(len(cells) >= least for cells in packed[:-1])
