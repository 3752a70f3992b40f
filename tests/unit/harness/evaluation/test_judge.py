"""The verdict: on fresh draws of a random victim, and after what happens to an image on its way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.harness.config.checks import check_fields
from frbench.harness.core.contracts import AttackResult, Draw, Images, Mask, Scores, Template, View
from frbench.harness.core.counter_rng import Stream, normal
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import PairSet
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.evaluation.crafting import Crafting
from frbench.harness.evaluation.execution import Execution
from frbench.harness.evaluation.judge import Judge
from frbench.harness.images.postprocessing import Png, Postprocessed, Postprocessing
from frbench.harness.protocols.pair_metrics import draws_measurements, postprocessing_measurements, success_rate
from frbench.harness.protocols.verification import Verification
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.threat_model.goals import Dodging, Impersonation

COUNT, SIZE, CPU, FREE = 400, 12, torch.device("cpu"), Linf(1.0)


@dataclass(frozen=True)
class Dice:
    """A verifier that answers by chance: the image moves its mean a little, the draw does the rest."""

    slope: float = 1.0
    asked: list[Draw] = field(default_factory=list, compare=False)

    differentiable = True
    random = True

    def enroll(self, reference: Images, index: torch.Tensor, draw: Draw) -> Template:
        return Template(torch.zeros(len(index), 1), index)

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        self.asked.append(draw)
        return 0.3 + self.slope * (probe.mean(dim=(1, 2, 3)) - 0.5) + normal(template.index, draw, (1,))[:, 0]


def judged(
    victim: Any,
    pairs: PairSet,
    images: Callable[[Images], Images],
    folder: Path,
    postprocessing: Mapping[str, Postprocessing] | None = None,
    clean: np.ndarray | None = None,
    budget: Linf = FREE,
    draws: int = 5,
) -> pd.DataFrame:
    """The table of images made by ``images`` of the clean probes of all genuine pairs."""
    scores = np.full(COUNT, 1.0, np.float32) if clean is None else clean
    run = Execution(ResultStore(folder), 0, 64, CPU)
    judge = Judge(
        victim=victim,
        pairs=pairs,
        goal=Dodging(),
        budget=budget,
        bounded=True,
        thresholds=np.full(COUNT, 0.3),
        clean_scores=scores,
        num_draws=draws,
        postprocessing=postprocessing or {},
        execution=run,
    )
    index = np.flatnonzero(pairs.same)
    attack = Given(images)
    views = {"look": View(victim, torch.full((COUNT,), 0.3))}
    crafting = Crafting(pairs, views, victim, attack, Dodging(), budget, run, with_sizes=True)
    return pd.concat([judge.table(block) for block in crafting.blocks(index)], ignore_index=True)


@dataclass(frozen=True)
class Given:
    """An attack that returns what it is told."""

    make: Callable[[Images], Images] = field(compare=False)
    name: str = "given"

    needs_gradient = False
    bounded = True
    stops_early = False
    batch_dependent = False

    def __call__(self, view: View, pairs: Any, goal: Any, budget: Any) -> Any:
        ones = torch.ones(len(pairs), dtype=torch.int64)
        return AttackResult(self.make(pairs.probe), ones.bool(), ones)


def test_a_random_victim_is_asked_on_fresh_draws_that_no_attack_has_seen(pair_set: Callable, tmp_path: Path) -> None:
    victim = Dice()
    judged(victim, pair_set(COUNT, SIZE), lambda clean: clean, tmp_path)
    asked = set(victim.asked)
    assert {draw.k for draw in asked} == {0, 1, 2, 3, 4}
    assert {draw.stream for draw in asked} == {Stream.JUDGING}


def test_without_an_attack_a_random_victims_success_rate_is_that_of_chance(pair_set: Callable, tmp_path: Path) -> None:
    """A library that keeps every lucky draw reports 86 to 99 % here (peers e.2, finding 7)."""
    table = judged(Dice(), pair_set(COUNT, SIZE), lambda clean: clean, tmp_path)
    assert success_rate(table["success"], table["correct"])["asr"] == 0, "the same draws judge the clean image"
    found = draws_measurements(table)
    assert found is not None
    assert found["k"] == 5
    assert found["asr_mean"] == found["clean_flips"]
    assert found["asr_all"] == 0 < found["asr_mean"] < 0.5 < found["asr_any"]


def test_an_attack_that_picks_its_lucky_draw_gains_nothing_by_it(pair_set: Callable, tmp_path: Path) -> None:
    """With a budget of a billionth, best-of-many steps on the attacker's draws wins there and not before the judge."""
    pairs, victim, store = pair_set(COUNT, SIZE), Dice(), ResultStore(tmp_path)
    views = {"look": View(victim, torch.full((COUNT,), 0.3))}
    attack, budget = ProjectedDescent(steps=40, early_stop=True), Linf(1e-9)
    crafting = Crafting(pairs, views, victim, attack, Dodging(), budget, Execution(store, 0, 64, CPU))
    index = np.flatnonzero(pairs.same)
    achieved = np.concatenate([block.facts["achieved"] for block in crafting.blocks(index)])
    assert achieved.mean() > 0.9, "the attacker believes it"
    images = torch.cat([block.images for block in crafting.blocks(index)])
    waiting = list(images.split(64))
    table = judged(victim, pairs, lambda clean: waiting.pop(0), tmp_path / "judge")
    assert success_rate(table["success"], table["correct"])["asr"] < 0.05


def test_a_victim_that_is_not_random_is_asked_once(linear: Callable, pair_set: Callable, tmp_path: Path) -> None:
    table = judged(CosineVerifier(linear(SIZE)), pair_set(COUNT, SIZE), lambda clean: clean, tmp_path)
    assert set(table["draws"]) == {1}
    assert draws_measurements(table) is None


@pytest.mark.parametrize("draws", [0, 2, 4])
def test_an_even_number_of_draws_has_no_majority_and_is_refused(draws: int) -> None:
    with pytest.raises(FrbenchError, match="protocol.num_draws"):
        check_fields(Verification(num_draws=draws), "protocol")


def test_the_median_score_is_above_the_threshold_exactly_in_a_majority_of_draws(
    pair_set: Callable, tmp_path: Path
) -> None:
    table = judged(Dice(), pair_set(COUNT, SIZE), lambda clean: clean - 0.2, tmp_path)
    assert (table["success"] == (table["wins"] > 2)).all()
    single = np.stack([table["verdicts"].to_numpy() >> k & 1 for k in range(5)])
    assert (single.sum(axis=0) == table["wins"]).all()
    assert len(set(single.sum(axis=1))) > 1, "draws differ"
    assert 0 < table["success"].mean() < 1


@dataclass(frozen=True)
class Steep:
    """A verifier that reads the mean of the probe far below one gray level."""

    differentiable = True
    random = False

    def enroll(self, reference: Images, index: torch.Tensor, draw: Draw) -> Template:
        return Template(torch.zeros(len(index), 1), index)

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        return 0.3 + 0.01 - (probe * 255 - (probe * 255).round()).abs().mean(dim=(1, 2, 3))


def test_an_attack_below_half_a_gray_level_does_not_survive_a_file(pair_set: Callable, tmp_path: Path) -> None:
    table = judged(
        Steep(), pair_set(COUNT, SIZE), lambda clean: clean + 0.4 / 255, tmp_path, {"png": Png()}, budget=Linf(1 / 255)
    )
    assert table["success"].mean() > 0.95
    measured = postprocessing_measurements(table, ["png"], {})["png"]
    assert measured["asr"] == 0
    assert measured["asr_denominator"] == int(table["correct"].sum()) > 0
    assert measured["clean_flips"] == measured["not_found"] == 0


@dataclass(frozen=True)
class Losing:
    """A detector that finds no face in dark images, and calls counted."""

    calls: list[int] = field(default_factory=list, compare=False)

    def __call__(self, images: Images) -> Postprocessed:
        self.calls.append(len(images))
        found: Mask = images.mean(dim=(1, 2, 3)) > 0.4
        return Postprocessed(images, found)


def test_a_face_that_is_not_found_is_a_failed_attack_and_is_counted(pair_set: Callable, tmp_path: Path) -> None:
    pairs = pair_set(COUNT, SIZE)
    dark = judged(Steep(), pairs, lambda clean: clean * 0.5, tmp_path, {"found": Losing()})
    measured = postprocessing_measurements(dark, ["found"], {"other": "no detector"})
    assert measured["found"]["not_found"] == measured["found"]["asr_denominator"] > 0
    assert measured["found"]["asr"] == 0
    assert measured["other"] == {**dict.fromkeys(measured["found"]), "reason": "no detector"}


def test_what_a_way_does_to_clean_images_is_worked_out_once(pair_set: Callable, tmp_path: Path) -> None:
    pairs, way = pair_set(COUNT, SIZE), Losing()
    judged(Steep(), pairs, lambda clean: clean * 0.9, tmp_path, {"found": way})
    first = sum(way.calls)
    judged(Steep(), pairs, lambda clean: clean * 0.9, tmp_path, {"found": way})
    assert first == 2 * pairs.same.sum()
    assert sum(way.calls) - first == pairs.same.sum()


def test_control_noise_is_as_large_as_the_attack_may_be(linear: Callable, pair_set: Callable, tmp_path: Path) -> None:
    pairs = pair_set(COUNT, SIZE)
    victim = CosineVerifier(linear(SIZE))
    judge = Judge(
        victim, pairs, Impersonation(), Linf(8 / 255), True, np.full(COUNT, 0.3), np.zeros(COUNT, np.float32), 1, {},
        Execution(ResultStore(tmp_path), 0, 64, CPU),
    )  # fmt: skip
    batch = pairs.batch(np.arange(20))
    noise = judge._noise(batch.probe, batch)
    assert (noise - batch.probe).abs().amax(dim=(1, 2, 3)).tolist() == pytest.approx([8 / 255] * 20, abs=1e-6)
    free = replace(judge, bounded=False)._noise((batch.probe + 0.1).clamp(0, 1), batch)
    wanted = ((batch.probe + 0.1).clamp(0, 1) - batch.probe).flatten(1).norm(dim=1)
    assert bool(((free - batch.probe).flatten(1).norm(dim=1) <= wanted + 1e-5).all())
    assert bool(((free - batch.probe).flatten(1).norm(dim=1) > 0.7 * wanted).all())
