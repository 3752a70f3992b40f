"""Images of real faces are the same in batches of 1, 7, 8 and 64, and in two shards as in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from frbench.harness.config import build, resolution
from frbench.harness.core.contracts import Attack, View
from frbench.harness.core.face_data import PairBatch, PairSet
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.evaluation.instrumentation import InstrumentedVerifier
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.threat_model.goals import Dodging

pytestmark = pytest.mark.realdata

# On the CPUs tried images are the same to the last bit (``CPU_BATCH``). Elsewhere convolutions of another batch size
# may differ in the last digit, which can turn the sign of a gradient that is almost zero: then a pixel differs by a
# whole step, here a coarse one, and the score by as little as that pixel matters.
SCORES, PIXELS = 2e-3, 2e-3

# As few steps as show every part of each attack at work.
QUICK = {
    "fgsm": "attack=fgsm",
    "pgd": "attack=pgd attack.steps=3",
    "pgd to success": "attack=pgd attack.steps=5 attack.early_stop=true",
    "mifgsm": "attack=mifgsm attack.steps=3",
    "difgsm": "attack=difgsm attack.steps=2",
    "tifgsm": "attack=tifgsm attack.steps=2",
    "apgd": "attack=apgd attack.steps=5",
    "deepfool": "attack=deepfool attack.steps=4 attack.line_search_steps=2",
    "fab": "attack=fab attack.steps=3 attack.restarts=2 attack.line_search_steps=2",
    "cw": "attack=cw attack.steps=3 attack.binary_search_steps=2 attack.newton_warmup_steps=1",
    "lots": "attack=lots attack.inner.steps=4",
    "minimal": "attack=minimal attack.doublings=2 attack.bisections=2 attack.inner.steps=2",
    "square": "attack=square attack.queries=6",
    "nes": "attack=nes attack.queries=22",
    "evolutionary": "attack=evolutionary attack.queries=12",
}
COUNT = 8


@dataclass(frozen=True)
class Faces:
    pairs: PairSet
    view: View
    index: np.ndarray

    def attack(self, attack: Attack, parts: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        """Images of all pairs, attacked in these parts, and what each pair was asked."""
        images, queries = [], []
        for part in parts:
            batch: PairBatch = self.pairs.batch(part)
            instrumented = InstrumentedVerifier(self.view.verifier, batch.index, Dodging())
            view = View(instrumented, self.view.thresholds)
            images.append(attack(view, batch, Dodging(), Linf(8 / 255)).images)
            queries.append(instrumented.queries)
        return torch.cat(images), torch.cat(queries)


@pytest.fixture(scope="module")
def faces(real_data: Path, image_cache: Path) -> Faces:
    import hydra

    with hydra.initialize_config_module("frbench.conf", version_base="1.3"):
        words = ["dataset=lfw", "recognizer=foamliu_mobilefacenet", "dataset.limit=100", "device=cpu"]
        config = resolution.plain(hydra.compose("run", words))
    pairs = build.instantiate(config["dataset"], "dataset").open(image_cache)
    verifier = CosineVerifier(build.instantiate(config["recognizer"], "recognizer"))
    index = pairs.attacked[pairs.same[pairs.attacked]]
    return Faces(pairs, View(verifier, torch.full((len(pairs),), 0.3)), index)


def made(words: str) -> Any:
    import hydra

    with hydra.initialize_config_module("frbench.conf", version_base="1.3"):
        return build.instantiate(
            resolution.plain(hydra.compose("run", [*words.split(), "device=cpu"]))["attack"], "attack"
        )


def batches(index: np.ndarray, size: int) -> list[np.ndarray]:
    return [index[first : first + size] for first in range(0, len(index), size)]


def same(faces: Faces, index: np.ndarray, one: torch.Tensor, other: torch.Tensor) -> None:
    pairs = faces.pairs.batch(index)
    template = faces.view.enroll(pairs)
    with torch.no_grad():
        scores, others = faces.view.score(one, template), faces.view.score(other, template)
    assert float((scores - others).abs().max()) <= SCORES
    assert float(((one - other).abs() > 1e-6).float().mean()) <= PIXELS


@pytest.mark.parametrize("words", QUICK.values(), ids=QUICK)
def test_that_neither_the_batch_size_nor_the_shard_changes_an_image(words: str, faces: Faces) -> None:
    attack, index = made(words), faces.index[:COUNT]
    whole, asked = faces.attack(attack, [index])
    images, queries = faces.attack(attack, batches(index, 7))  # two shards: a batch of 7 and a batch of 1
    same(faces, index, whole, images)
    assert torch.equal(asked, queries)


def test_that_pgd_in_batches_of_64_makes_the_images_of_smaller_batches(faces: Faces) -> None:
    attack, index = made("attack=bim attack.steps=2"), faces.index[:24]
    whole, _ = faces.attack(attack, batches(index, 64))
    small, _ = faces.attack(attack, batches(index, 7))
    same(faces, index, whole, small)
