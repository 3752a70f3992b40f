"""What was found by running other people's tools, as tests of ours: each of their eight findings must not be ours.

1 an attack suite that cannot resume, 2 an aggregator that keeps the worse image, 3 saturated pixels that never move,
4 results that depend on who else is in the batch, 5 truncation instead of rounding, 6 TAR@FAR below the resolution of
the data, 7 randomised victims beaten without an attack, 8 a benchmark that no longer runs.

Findings 3 and 4 are tested for every attack in ``contracts/test_attacks.py``; saturated pixels and pairs that leave
the batch also in ``test_descent.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from frbench.attacks.descent import Ledger, ProjectedDescent
from frbench.defenses.bitdepth import BitDepth
from frbench.defenses.jpeg import Jpeg
from frbench.harness import crafting, metrics
from frbench.harness.audit import Audit
from frbench.harness.budgets import Linf
from frbench.harness.calibration import CALIBRATING, JUDGING
from frbench.harness.cell import Cell, run_cell
from frbench.harness.cli import main
from frbench.harness.contracts import AttackResult, Draw, Images, Verifier
from frbench.harness.faces import PairSet, load_images
from frbench.harness.goals import Dodging
from frbench.harness.metering import Meter, Metered
from frbench.harness.noise import normal
from frbench.harness.plots import PictureRow, picture_grid
from frbench.harness.protocols.verification import Verification
from frbench.harness.store import ResultStore
from frbench.harness.threats import Adaptive, Oblivious
from frbench.harness.verifiers import CosineVerifier, purified


@dataclass(frozen=True)
class Noise:
    """A random purifier: Gaussian noise of the pair and the draw. ``draws`` remembers what it was asked for."""

    sigma: float = 0.15
    draws: list[Draw] = field(default_factory=list, compare=False, hash=False)
    differentiable = True
    random = True

    def __call__(self, images: Images, index: torch.Tensor, draw: Draw) -> Images:
        self.draws.append(draw)
        return images + self.sigma * normal(index, draw, tuple(images.shape[1:]))


@dataclass(frozen=True)
class NoiseDefense:
    """A randomised victim, known to its attacker."""

    noise: Noise = field(default_factory=Noise)

    def protect(self, verifier: Verifier) -> Verifier:
        return purified(verifier, self.noise, "probe")

    def relaxations(self, verifier: Verifier) -> Mapping[str, Verifier]:
        return {"exact": self.protect(verifier)}


@dataclass(frozen=True)
class NoDefense:
    def protect(self, verifier: Verifier) -> Verifier:
        return verifier

    def relaxations(self, verifier: Verifier) -> Mapping[str, Verifier]:
        return {"exact": verifier}


@pytest.fixture
def cell(pair_set: Callable, linear: Callable) -> Callable[..., Cell]:
    """A whole cell on random images: 200 pairs, a linear recognizer, PGD at 2/255, dodging."""

    def make(pairs: PairSet | None = None, **changes: Any) -> Cell:
        meter = Meter()
        nouns = ("dataset", "recognizer", "attack", "goal", "budget", "threat", "defense", "protocol")
        standard = Cell(
            names=dict.fromkeys(nouns, "toy"),
            settings={},
            pairs=pairs or pair_set(200, size=16),
            recognizer=Metered(linear(16), meter),
            attack=ProjectedDescent(steps=5),
            goal=Dodging(),
            budget=Linf(2 / 255),
            threat=Oblivious(),
            defense=NoDefense(),
            protocol=Verification(bootstrap=100, pictures=2),
            audit=Audit(),
            seed=0,
            batch_size=16,
            device=torch.device("cpu"),
            meter=meter,
        )
        return replace(standard, **changes)

    return make


# 1


@dataclass(frozen=True)
class Interrupted:
    """An attack that is interrupted in its batch number ``last``; ``inner`` and the fingerprint stay the same."""

    inner: ProjectedDescent
    last: int = field(compare=False)
    batches: list[int] = field(default_factory=list, compare=False)

    needs_gradient = True
    bounded = True
    stops_early = False
    batch_dependent = False

    def __call__(self, *sight: Any) -> AttackResult:
        if len(self.batches) == self.last:
            raise KeyboardInterrupt
        self.batches.append(len(sight[1]))
        return self.inner(*sight)


@pytest.mark.parametrize("last", [0, 3, 6])
def test_an_interrupted_cell_goes_on_where_it_stopped_and_ends_as_if_it_had_not_been(
    last: int, cell: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crafting, "BLOCK", 16)
    whole, broken = ResultStore(tmp_path / "whole"), ResultStore(tmp_path / "broken")
    inner = ProjectedDescent(steps=5, starts=2)
    calm = Interrupted(inner, last=99)
    expected = run_cell(cell(attack=calm), whole)
    with pytest.raises(KeyboardInterrupt):
        run_cell(cell(attack=Interrupted(inner, last=last)), broken)
    assert not broken.records(), "a cell that did not end has a record"
    rest = Interrupted(inner, last=99)
    found = run_cell(cell(attack=rest), broken)
    assert len(rest.batches) == len(calm.batches) - last == 7 - last
    assert found["fingerprint"] == expected["fingerprint"]
    assert found["measurements"] == expected["measurements"]
    files = [store.root / "scores" / f"{found['fingerprint']}.parquet" for store in (whole, broken)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_finished_cell_is_found_and_no_attack_runs_again(cell: Callable, tmp_path: Path) -> None:
    store, attack = ResultStore(tmp_path), Interrupted(ProjectedDescent(steps=5), last=99)
    first = run_cell(cell(attack=attack), store)
    batches = len(attack.batches)
    assert run_cell(cell(attack=attack), store) == first
    assert len(attack.batches) == batches
    behind_another = run_cell(cell(attack=attack, defense=NoiseDefense()), store)  # the attacker does not see it
    assert len(attack.batches) == batches
    assert behind_another["card"]["attack_generated"] is False


# 2


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 8), st.integers(1, 6), st.integers(0, 10_000))
def test_of_several_images_each_pair_keeps_its_own_best_not_the_best_of_the_batch(
    count: int, offers: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(offers, count, generator=generator)
    ledger = Ledger(Dodging(), torch.full((count, 1, 1, 1), -1.0))
    for number, each in enumerate(scores):
        rows = torch.randperm(count, generator=generator) if number % 2 else None  # in any order, or all
        images = torch.full((count, 1, 1, 1), float(number))
        ledger.offer(rows, images, each if rows is None else each[rows])
    assert torch.equal(ledger.loss, scores.min(dim=0).values)
    assert ledger.images.flatten().tolist() == scores.argmin(dim=0).tolist()


def test_another_start_replaces_only_the_pairs_that_it_improves(
    linear: Callable, batch: Callable, view: Callable
) -> None:
    look, pairs = view(linear()), batch()
    one, two = (ProjectedDescent(steps=2, starts=starts)(look, pairs, Dodging(), Linf(0.2)) for starts in (1, 2))
    with torch.no_grad():
        first, best = (look.score(each.images, look.enroll(pairs)) for each in (one, two))
    kept = (one.images == two.images).flatten(1).all(dim=1)
    assert bool((best <= first).all())
    assert bool(kept.any())
    assert not bool(kept.all())
    assert torch.equal(best < first, ~kept)


# 5


def test_all_gray_levels_survive_the_way_to_floats_and_back() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    images = load_images(levels, np.array([0]))
    index, draw = torch.zeros(1, dtype=torch.int64), Draw()
    for noise in (-0.4, 0.0, 0.4):  # of a gray level: truncation would take one away
        back = BitDepth(8)((images + noise / 255).clamp(0, 1), index, draw)
        assert torch.equal((back * 255).round().to(torch.uint8), torch.from_numpy(levels).permute(0, 3, 1, 2))


@pytest.mark.parametrize("quality", [75, 100])
def test_the_codec_sees_rounded_pixels_and_not_truncated_ones(quality: int) -> None:
    levels = np.random.default_rng(0).integers(1, 255, (1, 16, 16, 3), dtype=np.uint8)
    images = load_images(levels, np.array([0]))
    index, draw, codec = torch.zeros(1, dtype=torch.int64), Draw(), Jpeg(quality)
    exact = codec(images, index, draw)
    for noise in (-0.4, 0.4):
        assert torch.equal(codec(images + noise / 255, index, draw), exact)


@pytest.mark.parametrize("level", [1, 2, 8])
def test_an_epsilon_of_whole_gray_levels_is_the_same_in_eight_bits(
    level: int, pair_set: Callable, linear: Callable, view: Callable
) -> None:
    """Elsewhere 2/255 came back from the file as 3/255."""
    pairs = pair_set(20).batch(np.arange(20))
    result = ProjectedDescent(steps=1, stride=1.0)(view(linear(), 20), pairs, Dodging(), Linf(level / 255))
    saved = BitDepth(8)(result.images, pairs.index, Draw())
    change = ((saved - pairs.probe) * 255).abs().amax(dim=(1, 2, 3))
    assert torch.allclose(change, torch.full((20,), float(level)), atol=1e-3)


def test_pictures_are_drawn_with_rounded_gray_levels() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    image = ((levels - 0.4).clip(0) / 255).astype(np.float32)
    figure = picture_grid([PictureRow("pgd", image, image, image, 0.5, 0.1, 0.3, True)], "title")
    (drawn,) = figure.axes[0].get_images()
    pixels = drawn.to_rgba(drawn.get_array(), bytes=True, norm=False)[:16, :16, :3]
    assert np.array_equal(pixels, levels)


# 6


def lfw_like(impostors: int = 3000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, kinds and folds of as many pairs as LFW has, with scores of two digits: hundreds of equal ones."""
    rng = np.random.default_rng(seed)
    same = np.arange(2 * impostors) % 2 == 0
    scores = np.where(same, rng.normal(0.6, 0.15, len(same)), rng.normal(0.05, 0.12, len(same))).round(2)
    return scores, same, np.arange(len(same)) // 2 % 10


def test_a_far_below_one_impostor_pair_is_no_number_but_a_reason() -> None:
    scores, same, fold = lfw_like()
    found = metrics.tar_at_far(scores, same, fold, 1e-4)  # 2,700 impostor pairs in nine folds: 3.7e-4 at the finest
    assert isinstance(found, metrics.Unresolved)
    assert "1/2700" in found.reason


@pytest.mark.parametrize("far", [1e-2, 1e-3])
def test_equal_scores_do_not_break_tar_at_far(far: float) -> None:
    scores, same, fold = lfw_like()
    assert len(np.unique(scores)) < 200
    found = metrics.tar_at_far(scores, same, fold, far)
    assert isinstance(found, metrics.Tar)
    rates = []
    for number in range(10):
        others = scores[(fold != number) & ~same]
        threshold = np.quantile(others, 1 - far, method="interpolated_inverted_cdf")
        rates.append((scores[(fold == number) & same] > threshold).mean())
    assert found.tar == pytest.approx(np.mean(rates), abs=1e-9)
    assert found.far <= 2.5 * far


def test_a_record_says_why_a_far_is_not_resolved(cell: Callable, tmp_path: Path) -> None:
    """100 impostor pairs: 1e-2 is not below one pair in 90, 1e-3 is."""
    record = run_cell(cell(protocol=Verification(fars=(0.02, 1e-3), bootstrap=100, pictures=0)), ResultStore(tmp_path))
    for where in (record["measurements"]["clean"]["tar_at_far"], record["measurements"]["attack"]["at_far"]):
        assert where["0.02"]["reason"] is None
        assert "1/90" in where["0.001"]["reason"]
        assert {value for key, value in where["0.001"].items() if key != "reason"} == {None}


# 7


def test_a_randomised_victim_is_not_beaten_by_an_attack_that_changes_nothing(cell: Callable, tmp_path: Path) -> None:
    """Elsewhere 100 iterations at epsilon 1e-9 "succeeded" on 99.5 % where a single draw errs on 43.8 %.

    Each lucky draw makes the attacker believe in success, which is recorded as the attacker's own rate. The victim
    judges on fresh draws: what it gets wrong without an attack is left out and counted, and the rest still stands.
    """
    defense = NoiseDefense(Noise(1.5))
    lucky = cell(
        defense=defense,
        attack=ProjectedDescent(steps=25),
        budget=Linf(1e-9),
        threat=Adaptive(draws=1),
        protocol=Verification(bootstrap=100, pictures=0),
    )
    attack = run_cell(lucky, ResultStore(tmp_path))["measurements"]["attack"]
    true_error = single_draw_error(lucky)
    assert 0.15 < true_error < 0.6, "the toy victim should err often, and not always"
    assert attack["attacker_asr"] > 0.95  # what a judge who keeps lucky draws would have reported
    assert attack["asr"] == pytest.approx(0.0, abs=0.02)
    assert attack["left_out"] + attack["asr_denominator"] == attack["eligible"]
    expected = binomtest(attack["left_out"], attack["eligible"]).proportion_ci(0.999)
    assert expected.low < true_error < expected.high


def single_draw_error(cell: Cell, draws: int = 20) -> float:
    """Share of genuine pairs that the victim refuses on a draw of its own, at the thresholds that it calibrated."""
    victim, pairs = cell.defense.protect(CosineVerifier(cell.recognizer)), cell.pairs
    whole = pairs.batch(np.arange(len(pairs)))
    with torch.no_grad():

        def scores(step: int) -> np.ndarray:
            draw = Draw(123, step)
            return victim.score(whole.probe, victim.enroll(whole.reference, whole.index, draw), draw).numpy()

        thresholds = metrics.fold_thresholds(scores(0), pairs.same, pairs.fold)
        return float(np.mean([(scores(step) <= thresholds)[pairs.same].mean() for step in range(1, draws + 1)]))


def test_a_real_attack_on_a_randomised_victim_still_counts(cell: Callable, tmp_path: Path) -> None:
    strong = cell(
        defense=NoiseDefense(Noise(0.1)), threat=Adaptive(draws=4), budget=Linf(0.3), attack=ProjectedDescent(20)
    )
    assert run_cell(strong, ResultStore(tmp_path))["measurements"]["attack"]["asr"] > 0.95


def test_draws_that_judge_are_neither_those_that_calibrate_nor_those_that_craft(cell: Callable, tmp_path: Path) -> None:
    defense, attack = NoiseDefense(), ProjectedDescent(steps=3, starts=2)
    run_cell(cell(defense=defense, threat=Adaptive(draws=2), attack=attack), ResultStore(tmp_path))
    asked = set(defense.noise.draws)
    judging = {draw for draw in asked if draw.step >= JUDGING}
    calibrating = {draw for draw in asked if CALIBRATING <= draw.step < JUDGING}
    crafting_draws = asked - judging - calibrating
    assert {draw.k for draw in judging} == set(range(5))
    assert len(calibrating) == 1
    assert {draw.k for draw in crafting_draws if draw.step} == {0, 1}
    assert {draw.k for draw in crafting_draws} == set(range(10))  # by which the images of two views are compared
    assert {draw.step for draw in crafting_draws} == set(range(8))  # each step and last look of each start is new


# 8

OWN_RECOGNIZER = """
from dataclasses import dataclass
import torch

@dataclass(frozen=True)
class Mine:
    name: str = "mine"
    differentiable: bool = True
    digest: str = "mine"

    def embed(self, images):
        return torch.nn.functional.normalize(torch.nn.functional.avg_pool2d(images - 0.5, 8).flatten(1))
"""


@pytest.fixture
def people_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a run needs to be small: thirty rendered people, and a recognizer from outside the repository."""
    (tmp_path / "own" / "recognizer").mkdir(parents=True)
    (tmp_path / "own" / "recognizer" / "mine.yaml").write_text("_target_: own_recognizer.Mine\n")
    (tmp_path / "own" / "own_recognizer.py").write_text(OWN_RECOGNIZER)
    monkeypatch.syspath_prepend(str(tmp_path / "own"))
    monkeypatch.chdir(tmp_path)
    words = ["recognizer=mine", "trust=[own_recognizer]", "dataset.people=30", "dataset.shots=2", "dataset.pairs=20"]
    return [f"--config-dir={tmp_path / 'own'}", *words, "paths.results=results", "paths.cache=cache", "device=cpu"]


def test_it_runs_from_one_end_to_the_other_and_what_is_asked_for_is_what_is_done(
    people_of_ones_own: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Elsewhere modules are missing, and a command line takes an epsilon that never reaches the attack."""
    sweep = ["attack=bim", "attack.steps=3", "budget=linf_1,linf_8", "defense=none,blur"]
    assert main(["run", "-m", *people_of_ones_own, *sweep]) == 0
    told = capsys.readouterr().out
    assert len([line for line in told.splitlines() if " clean " in line and " ASR " in line]) == 4
    records = ResultStore(tmp_path / "results").records()
    assert [record["status"] for record in records] == ["done"] * 4
    for record in records:
        level = {"linf_1": 1, "linf_8": 8}[record["names"]["budget"]]
        assert record["measurements"]["attack"]["linf"]["max"] == pytest.approx(level, abs=1e-3)
        assert record["settings"]["attack.steps"] == 3
        table = ResultStore(tmp_path / "results").scores(record["fingerprint"])
        assert table is not None
        assert set(table["iterations"]) == {3}
    generated = [record["card"]["attack_generated"] for record in records]
    assert sorted(generated) == [False, False, True, True], "each budget's images are made once for both defenses"

    assert main(["report", "paths.results=results", "format=json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {(line["budget"], line["defense"]) for line in lines} == {
        (budget, defense) for budget in ("linf_1", "linf_8") for defense in ("none", "blur")
    }
    assert main(["report", "paths.results=results"]) == 0
    written = [path for kind in ("tables", "figures") for path in (tmp_path / "results" / kind).rglob("*.*")]
    assert {path.suffix for path in written} >= {".csv", ".md", ".tex", ".png"}
    assert all(path.stat().st_size for path in written)


def test_every_verb_answers_in_a_process_of_its_own(tmp_path: Path) -> None:
    for words in (["--help"], ["options"], ["--version"]):
        command = [sys.executable, "-m", "frbench.harness.cli", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout
        assert not done.stderr
