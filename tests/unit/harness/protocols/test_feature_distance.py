"""Success against feature distance: one walk for all distances, images made once, verdicts of every defended model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import LinearRecognizer
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from support.toy_cells import NoDefense, NoiseDefense, toy_cell

from frbench.attacks.cw import CarliniWagner
from frbench.attacks.lots import Lots, LotsDescent
from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.defenses.input_transforms.blur import BlurDefense
from frbench.harness.config.checks import check_fields
from frbench.harness.core.contracts import AttackResult, Draw, Goal, Template, View
from frbench.harness.core.counter_rng import Stream
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import PairBatch
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.evaluation.cell import Cell, run_cell
from frbench.harness.protocols import feature_distance_crafting as crafting
from frbench.harness.protocols.feature_distance import FeatureDistance
from frbench.harness.protocols.feature_distance_crafting import DistanceBlock, DistanceCrafting, score_thresholds
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.budgets import L2, Unbounded
from frbench.harness.threat_model.goals import Dodging, Impersonation
from frbench.harness.threat_model.threats import Adaptive, Transfer

DISTANCES = (1.2, 0.9, 0.6, 0.3, 0.01)
WALK = Lots(LotsDescent(step_size=3 / 255, steps=25, direction="sign"))
SIZE = 16  # the window of SSIM is 11 pixels wide


def weight(seed: int = 0, size: int = 8) -> torch.Tensor:
    return torch.randn(3 * size * size, 12, generator=torch.Generator().manual_seed(seed))


def random_pairs(seed: int, count: int = 5, size: int = 8) -> PairBatch:
    generator = torch.Generator().manual_seed(seed)
    probe, reference, decoy = torch.rand(3, count, 3, size, size, generator=generator)
    index = torch.arange(count)
    return PairBatch(probe, reference, decoy, torch.zeros(count, dtype=torch.bool), index, index)


@settings(max_examples=15)
@given(st.integers(0, 1000), st.sampled_from(["max", "sign"]), st.integers(1, 30), st.booleans())
def test_that_one_walk_finds_what_a_walk_to_each_distance_alone_finds(
    seed: int, direction: str, steps: int, dodging: bool
) -> None:
    goal: Goal = Dodging() if dodging else Impersonation()
    pairs, walk = random_pairs(seed), Lots(LotsDescent(step_size=6 / 255, steps=steps, direction=direction))  # type: ignore[arg-type]
    pairs = replace(pairs, probe=torch.cat([pairs.reference[:1], pairs.probe[1:]]))  # one that is there from the start
    view = View(CosineVerifier(LinearRecognizer(weight(seed))), torch.zeros(5), seed)
    targets = score_thresholds(DISTANCES)
    for aim, found in zip(targets, walk.multi_threshold_run(view, pairs, goal, targets), strict=True):
        alone = walk(replace(view, thresholds=aim.expand(5)), pairs, goal, Unbounded())
        assert torch.equal(found.achieved, alone.achieved)
        assert torch.equal(found.iterations, alone.iterations)
        assert torch.allclose(found.images, alone.images, atol=1e-5)


def test_that_a_score_that_is_no_number_reaches_nothing() -> None:
    class Silent(CosineVerifier):
        def score(self, probe: torch.Tensor, template: Template, draw: Draw) -> torch.Tensor:
            return super().score(probe, template, draw) * torch.nan

    pairs = random_pairs(0)
    view = View(Silent(LinearRecognizer(weight())), torch.zeros(5))
    results = WALK.multi_threshold_run(view, pairs, Impersonation(), score_thresholds([2.0]))
    assert not results[0].achieved.any()
    assert torch.equal(results[0].images, pairs.probe)


@given(st.floats(0.01, 2))
def test_that_an_aim_is_passed_by_a_score_at_the_distance_and_by_none_below(distance: float) -> None:
    exact = torch.tensor(1 - distance**2 / 2, dtype=torch.float64).float()
    (aim,) = score_thresholds([distance])
    assert exact > aim
    assert not (torch.nextafter(exact, torch.tensor(-2.0)) > aim)


# --- The protocol, on cells of random images.


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "results")


@pytest.fixture
def cell(pair_set: Callable) -> Callable[..., Cell]:
    def make(**changes: Any) -> Cell:
        recognizer = changes.pop("recognizer", LinearRecognizer(weight(size=SIZE)))
        standard: dict[str, Any] = {
            "attack": WALK,
            "goal": Impersonation(),
            "budget": Unbounded(),
            "protocol": FeatureDistance(DISTANCES, far_levels=(0.1,), num_draws=3),
            "batch_size": 7,
        }
        return toy_cell(changes.pop("pairs", pair_set(size=SIZE)), recognizer, **(standard | changes))

    return make


def measured(record: Mapping[str, Any]) -> dict[str, Any]:
    assert record["status"] == "done", record["reason"]
    attack: dict[str, Any] = record["measurements"]["attack"]
    return attack


def rows(store: ResultStore, cell: Cell) -> pd.DataFrame:
    frame = store.scores(cell.fingerprint())
    assert frame is not None
    return frame


def test_that_each_rate_is_told_with_its_interval_over_pairs_that_the_model_refused_before(
    cell: Callable, store: ResultStore
) -> None:
    one = cell(recognizer=LinearRecognizer(weight(size=SIZE)[:, :2]), defense=BlurDefense(sigma=2.0))
    attack, frame = measured(run_cell(one, store)), rows(store, one)
    assert list(attack["distances"]) == ["1.2", "0.9", "0.6", "0.3", "0.01"]
    pairs = one.pairs
    impostors = pairs.attacked[~pairs.same]
    assert attack["eligible"] == len(impostors) == 20
    for name, found in attack["distances"].items():
        here = frame[frame["distance"] == float(name)]
        assert list(here["index"]) == list(impostors)
        refused = here["clean_score"] <= here["threshold"]
        won = refused & here["reached"] & (here["adversarial_score"] > here["threshold"])
        assert attack["left_out"] == (~refused).sum() > 0
        assert (found["asr_successes"], found["asr_denominator"]) == (won.sum(), refused.sum())
        interval = binomtest(int(won.sum()), int(refused.sum())).proportion_ci(method="wilson")
        assert (found["asr_low"], found["asr_high"]) == pytest.approx((interval.low, interval.high))
        assert found["reached"]["share_successes"] == here["reached"].sum()
        assert found["reached"]["share_denominator"] == 20


def test_that_images_are_as_near_as_they_say_and_the_verdict_is_the_victims(cell: Callable, store: ResultStore) -> None:
    one = cell()
    measured(run_cell(one, store))
    frame = rows(store, one)
    came = frame[frame["reached"]]
    distance = np.sqrt(2 - 2 * came["adversarial_score"].astype(float))  # undefended, the victim is the surrogate
    assert (distance <= came["distance"] + 1e-5).all()
    earlier = came.groupby("index")["iterations"].diff().dropna()
    assert (earlier >= 0).all() and (earlier > 0).any()
    larger = came.groupby("index")["l2"].diff().dropna()
    assert (larger > -1e-3).mean() > 0.9


def test_that_a_pair_that_does_not_come_so_near_is_a_failure_of_infinite_size(
    cell: Callable, store: ResultStore
) -> None:
    one = cell(protocol=FeatureDistance((1.2, 1e-3), far_levels=(0.1,)))
    attack, frame = measured(run_cell(one, store)), rows(store, one)
    missed = frame[~frame["reached"]]
    assert len(missed) and not missed["success"].any() and not missed["success_8bit"].any()
    assert np.isinf(missed[["l2", "linf", "rms"]]).all(axis=None) and missed["adversarial_score"].isna().all()
    assert frame[frame["reached"]][["l2", "linf", "ssim"]].notna().all(axis=None)
    near = attack["distances"]["0.001"]
    assert (near["asr"], near["l2"]["median"], near["reached"]["share"]) == (0, "inf", 0)


def test_that_the_same_images_are_judged_in_8_bits_too(cell: Callable, store: ResultStore) -> None:
    distances = tuple(np.linspace(1.4, 0.6, 40).tolist())  # so close that some images just exceed the threshold
    fine = FeatureDistance(distances, far_levels=(0.1,))
    one = cell(attack=Lots(LotsDescent(step_size=0.4 / 255, steps=60, direction="sign")), protocol=fine)
    frame = (measured(run_cell(one, store)), rows(store, one))[1]
    block = next(iter(blocks(one, store)))
    recognizer = LinearRecognizer(weight(size=SIZE))
    batch = one.pairs.batch(block.index)
    pair, column = np.nonzero(block.place >= 0)
    rounded = (block.images[block.place[pair, column]] * 255).round() / 255
    scores = (recognizer.embed(rounded) * recognizer.embed(batch.reference[pair])).sum(dim=1).numpy()
    told = frame[frame["reached"]]
    assert list(told["index"]) == list(block.index[pair])
    assert list(told["success_8bit"]) == list(scores > told["threshold"])
    assert (told["success_8bit"] != told["success"]).any()


def blocks(one: Cell, store: ResultStore) -> list[DistanceBlock]:
    """What a cell's attacker made, from the store."""
    view = View(CosineVerifier(one.recognizer), torch.full((len(one.pairs),), 0.7), one.seed, 0.01)
    index = one.pairs.attacked[~one.pairs.same]
    work = (one.attack, one.goal, one.protocol.distances, one.execution(store))
    return list(DistanceCrafting(one.pairs, view, *work).blocks(index))


def test_that_a_second_defense_makes_no_image(cell: Callable, store: ResultStore) -> None:
    first, second = (run_cell(cell(defense=defense), store) for defense in (NoDefense(), BlurDefense(sigma=1.0)))
    assert (first["card"]["backwards"] > 0, first["card"]["attack_generated"]) == (True, True)
    assert (second["card"]["backwards"], second["card"]["attack_generated"]) == (0, False)
    assert measured(first)["distances"] != measured(second)["distances"]
    sizes = [{name: found["l2"] for name, found in measured(each)["distances"].items()} for each in (first, second)]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize(
    "change",
    [
        {"attack": Lots(LotsDescent(step_size=2 / 255, steps=25))},
        {"protocol": FeatureDistance((1.1, 0.4))},
        {"recognizer": LinearRecognizer(weight(1, SIZE))},
        {"seed": 1},
    ],
    ids=["attack", "distances", "recognizer", "seed"],
)
def test_that_what_the_attacker_saw_makes_other_images(
    change: dict[str, Any], cell: Callable, store: ResultStore
) -> None:
    run_cell(cell(), store)
    assert run_cell(cell(**change), store)["card"]["attack_generated"]


def test_that_a_killed_run_goes_on_where_it_stopped_and_ends_as_it_would_have(
    cell: Callable, store: ResultStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crafting, "BLOCK_SIZE", 8)
    whole = cell()
    done = measured(run_cell(whole, ResultStore(tmp_path / "other")))

    calls: list[int] = []
    original = LotsDescent._run_past

    def dies(self: LotsDescent, view: View, pairs: PairBatch, *more: Any) -> list[AttackResult]:
        calls.append(len(pairs))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(self, view, pairs, *more)

    monkeypatch.setattr(LotsDescent, "_run_past", dies)
    with pytest.raises(KeyboardInterrupt):
        run_cell(cell(), store)
    assert calls == [7, 1, 7, 1]  # batches of 7 in blocks of 8: the second block dies before it is kept
    calls[:] = [0] * 10
    again = run_cell(cell(), store)
    assert calls[10:] == [7, 1, 4]
    assert measured(again) == done


def test_that_neither_batches_nor_blocks_make_a_difference(
    cell: Callable, store: ResultStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = cell(batch_size=3)
    measured(run_cell(small, store))
    monkeypatch.setattr(crafting, "BLOCK_SIZE", 11)
    large, other = cell(batch_size=64), ResultStore(tmp_path / "other")
    measured(run_cell(large, other))
    one, two = rows(store, small), rows(other, large)
    pd.testing.assert_frame_equal(one, two, atol=1e-4)
    files = list((tmp_path / "other" / "results" / "cache" / "distance").rglob("*.zst"))
    files += list((tmp_path / "other" / "cache" / "distance").rglob("*.zst"))
    assert len(files) == 2


def test_that_an_image_that_passes_several_distances_at_once_is_kept_once(cell: Callable, store: ResultStore) -> None:
    one = cell(protocol=FeatureDistance((1.01, 1.005, 1.0), far_levels=(0.1,)))
    measured(run_cell(one, store))
    (block,) = blocks(one, store)
    reached = block.place >= 0
    assert len(block.images) < reached.sum()
    assert set(block.place[reached]) == set(range(len(block.images)))
    assert (block.index[block.pair_rows][block.place[reached]] == np.repeat(block.index, reached.sum(axis=1))).all()


def test_that_a_random_victim_is_judged_by_most_of_its_draws(cell: Callable, store: ResultStore) -> None:
    defense = NoiseDefense()
    one = cell(defense=defense)
    measured(run_cell(one, store))
    frame = rows(store, one)
    (block,) = blocks(one, store)
    victim = defense.protect(CosineVerifier(LinearRecognizer(weight(size=SIZE))))
    batch, votes = one.pairs.batch(block.index), []
    at = list(DISTANCES).index(0.6)
    row = int(np.flatnonzero(block.place[:, at] >= 0)[0])
    for k in range(3):
        draw = Draw(one.seed, Stream.JUDGING, k=k)
        kept = victim.enroll(batch.reference[[row]], batch.index[[row]], draw)
        votes.append(float(victim.score(block.images[[block.place[row, at]]], kept, draw)))
    told = frame[(frame["index"] == block.index[row]) & (frame["distance"] == 0.6)].iloc[0]
    assert told["adversarial_score"] == pytest.approx(sorted(votes)[1], abs=1e-5)
    assert len(set(votes)) == 3


def test_that_a_budget_that_is_given_counts(cell: Callable, store: ResultStore) -> None:
    free, tight = (measured(run_cell(cell(budget=budget), store)) for budget in (Unbounded(), L2(0.5)))
    ends = [found["distances"]["0.3"]["asr"] for found in (free, tight)]
    assert ends[0] > 0.9 > ends[1] == 0


def test_that_a_surrogate_is_walked_on_and_the_victim_judges(cell: Callable, store: ResultStore) -> None:
    surrogate = LinearRecognizer(weight(1, SIZE), name="surrogate")
    moved = cell(threat=Transfer(surrogate))
    transferred, own = measured(run_cell(moved, store)), measured(run_cell(cell(), store))
    assert transferred["views"] == ["surrogate"]
    assert transferred["distances"]["0.3"]["reached"]["share"] == 1
    assert transferred["distances"]["0.3"]["asr"] < own["distances"]["0.3"]["asr"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"goal": Dodging()}, "goal=impersonation"),
        ({"attack": ProjectedDescent()}, "attack=lots"),
        ({"attack": Lots(CarliniWagner())}, "attack=lots"),
        ({"threat": Adaptive()}, "threat=oblivious"),
        ({"recognizer": LinearRecognizer(weight(size=SIZE), differentiable=False)}, "does not support"),
    ],
    ids=["goal", "attack", "inner attack", "views", "gradient"],
)
def test_that_what_cannot_be_measured_is_refused_in_one_line(
    change: dict[str, Any], said: str, cell: Callable, store: ResultStore
) -> None:
    if "threat" in change:
        change = change | {"defense": BlurDefense(sigma=1.0)}
    record = run_cell(cell(**change), store)
    assert record["status"] == "refused"
    assert said in record["reason"] and "\n" not in record["reason"]


@pytest.mark.parametrize("distances", [(), (0.5, 0.9), (1.2, 1.2), (0.5, 0.0), (3.0, 1.0)])
def test_that_distances_that_do_not_fall_are_bad_input(distances: tuple[float, ...]) -> None:
    with pytest.raises(FrbenchError, match="protocol.distances"):
        check_fields(FeatureDistance(distances), "protocol")


def test_that_without_an_attack_clean_pairs_are_measured(cell: Callable, store: ResultStore) -> None:
    record = run_cell(cell(attack=None), store)
    assert record["measurements"]["attack"] is None
    assert set(record["measurements"]["clean"]["tar_at_far"]) == {"0.1"}
