"""What a victim answers without an attack: the same from the cache, and computed once for all attacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from support.toy_cells import NoDefense, Noise, NoiseDefense, toy_cell

from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.defenses.input_transforms.jpeg import JpegDefense
from frbench.harness.core.contracts import Draw, Images, Scores, Template, Verifier
from frbench.harness.core.face_data import PairSet
from frbench.harness.core.verifiers import CosineVerifier, Wrapping, purified
from frbench.harness.evaluation.calibration import Calibration
from frbench.harness.evaluation.cell import run_cell
from frbench.harness.evaluation.execution import Execution
from frbench.harness.evaluation.victim_scores import VictimScores
from frbench.harness.images.postprocessing import JpegFile, Png, Postprocessed
from frbench.harness.protocols.verification import Verification
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.budgets import L2, Linf

COUNT, SIZE, CPU = 40, 16, torch.device("cpu")
WAYS = {"png": Png(), "jpeg": JpegFile(75)}
INDEX = np.arange(3, 35)


@dataclass(frozen=True)
class Counting(Wrapping):
    """A verifier that counts the images that it enrolls and scores."""

    verifier: Verifier
    seen: list[int] = field(default_factory=list, compare=False)

    def enroll(self, reference: Images, index: torch.Tensor, draw: Draw) -> Template:
        self.seen.append(len(reference))
        return self.verifier.enroll(reference, index, draw)

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        self.seen.append(len(probe))
        return self.verifier.score(probe, template, draw)


def scores_of(victim: Verifier, pairs: PairSet, folder: Path) -> VictimScores:
    run = Execution(ResultStore(folder), 0, 10, CPU)
    return VictimScores(victim, pairs, Calibration(pairs, run).scores(victim), 5, WAYS, run)


@pytest.fixture(params=["plain", "random"])
def victim(request: pytest.FixtureRequest, linear: Callable) -> Counting:
    bare = CosineVerifier(linear(SIZE))
    return Counting(bare if request.param == "plain" else purified(bare, Noise(), "both"))


def test_that_the_answers_are_those_of_the_victim(victim: Counting, pair_set: Callable, tmp_path: Path) -> None:
    pairs = pair_set(COUNT, SIZE)
    asked = scores_of(victim, pairs, tmp_path)
    for _ in range(2):  # computed, then from the cache
        found = asked.clean_block(INDEX)
        batch = pairs.batch(INDEX)
        references = asked.enroll(batch)
        assert torch.allclose(found.scores, asked.scores(batch.probe, batch, references), atol=1e-6)
        for template, expected in zip(found.references.templates, references.templates, strict=True):
            assert torch.equal(template.vectors, expected.vectors)
        for name, transform in WAYS.items():
            expected_scores = asked.scores(transform(batch.probe).images, batch, references)
            assert torch.allclose(found.received[name].scores, expected_scores, atol=1e-6)
        for budget in (Linf(8 / 255), L2(1.0)):
            noise = asked.scores(asked.with_noise(batch, budget), batch, references)
            assert torch.allclose(asked.noise(INDEX, found.references, budget), noise, atol=1e-6)


def test_that_the_victim_is_asked_once_for_all_attacks(victim: Counting, pair_set: Callable, tmp_path: Path) -> None:
    asked = scores_of(victim, pair_set(COUNT, SIZE), tmp_path)

    def ask() -> int:
        victim.seen.clear()
        clean = asked.clean_block(INDEX)
        asked.noise(INDEX, clean.references, Linf(8 / 255))
        asked.difference_of_repeats(INDEX)
        return sum(victim.seen)

    assert ask() > 0
    assert ask() == 0


def test_that_a_file_without_loss_costs_no_score(linear: Callable, pair_set: Callable, tmp_path: Path) -> None:
    victim = Counting(CosineVerifier(linear(SIZE)))
    asked = replace(scores_of(victim, pair_set(COUNT, SIZE), tmp_path), postprocessing={"png": Png()})
    victim.seen.clear()
    received = asked.clean_block(INDEX).received["png"]
    assert sum(victim.seen) == len(INDEX)  # references alone
    assert torch.equal(received.scores[:, 0], torch.from_numpy(asked.clean_scores[INDEX]))


@dataclass(frozen=True)
class Mirrored:
    """Mirrors images in which it finds something bright, and counts the images in which it looks."""

    looked: list[int] = field(default_factory=list, compare=False)

    def __call__(self, images: Images) -> Postprocessed:
        return self.align(images, self.locate(images))

    def locate(self, images: Images) -> np.ndarray:
        self.looked.append(len(images))
        bright = (images.mean(dim=(1, 2, 3)) > 0.5).numpy()
        return np.where(bright[:, None, None], np.ones((len(images), 5, 2)), np.nan)

    def align(self, images: Images, landmarks: np.ndarray) -> Postprocessed:
        found = torch.from_numpy(np.isfinite(landmarks).all(axis=(1, 2)))
        return Postprocessed(torch.where(found[:, None, None, None], images.flip(3), images), found)


DEFENSES = {"none": NoDefense(), "jpeg": JpegDefense(quality=60), "noise": NoiseDefense(Noise(0.02))}
ATTACKS = {"pgd": ProjectedDescent(steps=3), "momentum": ProjectedDescent(steps=3, momentum=1.0)}


def run_all(store: Callable[[str], ResultStore], pairs: PairSet, recognizer: object, way: Mirrored) -> dict:
    """Measurements, flags and score tables of all cells; ``store`` gives the store of each."""
    protocol = Verification(bootstrap=100, num_samples=0, postprocessing={**WAYS, "mirrored": way})
    found: dict[str, tuple[object, object, pd.DataFrame]] = {}
    for attack in ATTACKS:
        for defense in DEFENSES:
            changes = {"attack": ATTACKS[attack], "defense": DEFENSES[defense], "protocol": protocol}
            cell, name = toy_cell(pairs, recognizer, **changes), f"{attack}-{defense}"  # type: ignore[arg-type]
            record = run_cell(cell, store(name))
            assert record["status"] == "done", record["reason"]
            table = store(name).scores(cell.fingerprint())
            assert table is not None
            found[name] = (record["measurements"], record["flags"], table)
    return found


def test_that_cells_that_share_a_store_give_the_same_records(
    linear: Callable, pair_set: Callable, tmp_path: Path
) -> None:
    pairs, recognizer, shared_way = pair_set(COUNT, SIZE), linear(SIZE), Mirrored()
    shared = run_all(lambda name: ResultStore(tmp_path / "shared"), pairs, recognizer, shared_way)
    alone = run_all(lambda name: ResultStore(tmp_path / name), pairs, recognizer, Mirrored())
    for name, (measurements, flags, table) in shared.items():
        assert (measurements, flags) == alone[name][:2]
        pd.testing.assert_frame_equal(table, alone[name][2], check_exact=True)
    genuine = int(pairs.same.sum())
    located = sum(shared_way.looked) - 1  # one image tries out the transform
    assert located == (len(ATTACKS) + 1) * genuine, "once in the images of each attack and in the clean ones"
