"""What a sweep will cost."""

from __future__ import annotations

from pathlib import Path

from frbench.harness.sweeps.estimate import Cost, Estimator
from tests.support.small_sweeps import FITTED, small_sweep


def test_that_the_passes_of_an_attack_are_those_that_a_run_counts(tmp_path: Path) -> None:
    from frbench.harness.evaluation.cell import run_cell
    from frbench.harness.sweeps.built_cells import built

    sweep = small_sweep(tmp_path, "attack=pgd", "attack.steps=3", "attack.restarts=1")
    estimate = Estimator(sweep.plan, sweep.store).estimate(())
    record = run_cell(built(sweep.plan, sweep.plan.cells[0]), sweep.store)
    attacked = record["measurements"]["attack"]["eligible"]
    assert estimate.cost.images == attacked
    assert estimate.cost.backwards == record["card"]["backwards"]
    assert 0 < estimate.cost.forwards <= record["card"]["forwards"]
    assert estimate.cost.seconds > 0 and estimate.cost.bytes > 0 and not estimate.untimed


def test_that_shared_images_are_made_once_and_those_of_finished_cells_not_at_all(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path, "defense=none,blur")
    one = Estimator(sweep.plan, sweep.store).estimate([1]).cost.images
    both, rest = (Estimator(sweep.plan, sweep.store).estimate(ended).cost.images for ended in ((), (0,)))
    assert (both, rest, one) == (4, 0, 0)


def test_that_a_defense_that_is_not_fitted_leaves_its_cells_without_an_estimate(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path, *FITTED)
    assert Estimator(sweep.plan, sweep.store).estimate(()).untimed == {0: "its defense is not fitted yet"}


def test_that_images_are_counted_although_the_first_cell_that_shares_them_has_no_estimate(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path, *FITTED[1:], "defense=pca,none")
    found = Estimator(sweep.plan, sweep.store).estimate(())
    assert list(found.untimed) == [0] and found.cost.images == 4


def test_that_nothing_is_left_in_the_results_folder(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path, "goal=dodging")
    Estimator(sweep.plan, sweep.store).estimate(())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_that_costs_add_up() -> None:
    assert Cost(1, 2, 3, 4, 5) * 2 + Cost(images=1) == Cost(3, 4, 6, 8, 10)
