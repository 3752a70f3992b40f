"""The broken defenses: each keeps clean decisions, masks its gradient as documented, and does not protect.

They live in ``conf/defense/broken/`` and not beside the defenses, because they keep none of their promises: the
contract tests of defenses, which read ``conf/defense/*.yaml``, leave them out. Attacks here are on rendered faces and
the tiny recognizer; the marked test repeats the claims on real ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

import frbench.conf
from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.datasets.synthetic.dataset import Synthetic
from frbench.defenses import broken
from frbench.defenses.components.purifier import PurifierDefense
from frbench.harness.config import build, resolution
from frbench.harness.core.contracts import Defense, Draw, Images, Scores, Verifier, View
from frbench.harness.core.face_data import PairBatch, PairSet
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.metrics.thresholds import best_threshold
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.threat_model.goals import Dodging

CONF = Path(frbench.conf.__file__).parent / "defense"
ZOO = sorted(path.stem for path in (CONF / "broken").glob("*.yaml"))
MASKED = [name for name in ZOO if name != "random_resize"]  # the attack fails before them; before that one it is luck
GOAL, BUDGET = Dodging(), Linf(8 / 255)


@cache
def composed(*words: str) -> dict[str, Any]:
    with hydra.initialize_config_module("frbench.conf", version_base="1.3"):
        return resolution.plain(hydra.compose("run", [*words, "device=cpu"]))


@dataclasses.dataclass(frozen=True)
class Stage:
    """Pairs, a recognizer, and images that an attack on it alone has made of the first genuine pairs."""

    pairs: PairSet
    bare: Verifier
    index: np.ndarray
    genuine: PairBatch
    steps: int
    kept: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def scores(self, verifier: Verifier) -> np.ndarray:
        """Clean scores of the pairs ``index``, worked out once."""
        name = fingerprint(verifier)
        if name not in self.kept:
            rows = [self.index[first : first + 50] for first in range(0, len(self.index), 50)]
            each = [asked(verifier, batch := self.pairs.batch(row), batch.probe).numpy() for row in rows]
            self.kept[name] = np.concatenate(each)
        return self.kept[name]

    def threshold(self, verifier: Verifier) -> float:
        return best_threshold(self.scores(verifier), self.pairs.same[self.index])

    def accuracy(self, verifier: Verifier) -> float:
        accepted = self.scores(verifier) > self.threshold(verifier)
        return float((accepted == self.pairs.same[self.index]).mean())

    def attacked(self, look: Verifier, budget: Linf = BUDGET) -> Images:
        view = View(look, torch.full((len(self.pairs),), self.threshold(look)))
        return ProjectedDescent(steps=self.steps)(view, self.genuine, GOAL, budget).images

    def success(self, victim: Verifier, images: Images) -> float:
        line = torch.full((len(images),), self.threshold(victim))
        return float(GOAL.achieved(asked(victim, self.genuine, images), line).double().mean())


@torch.no_grad()
def asked(verifier: Verifier, batch: PairBatch, images: Images) -> Scores:
    return verifier.score(images, verifier.enroll(batch.reference, batch.index, Draw()), Draw())


def slope(verifier: Verifier, batch: PairBatch) -> torch.Tensor:
    probe = batch.probe.clone().requires_grad_(True)
    scores = verifier.score(probe, verifier.enroll(batch.reference, batch.index, Draw()), Draw())
    return torch.autograd.grad(scores.sum(), probe)[0]


def relaxed(defense: Defense, verifier: Verifier) -> Verifier:
    (only,) = defense.relaxations(verifier).values()
    return only


@pytest.fixture(scope="module")
def stage(image_cache: Path) -> Stage:
    pairs = Synthetic(people=30, photos_per_person=4, pairs=120).open(image_cache)
    bare = CosineVerifier(build.instantiate(composed("recognizer=tiny")["recognizer"], "recognizer"))
    genuine = pairs.batch(np.flatnonzero(pairs.same)[:10])
    return Stage(pairs, bare, np.arange(len(pairs)), genuine, steps=10)


@pytest.fixture(scope="module")
def oblivious(stage: Stage) -> Images:
    return stage.attacked(stage.bare)


@pytest.fixture(params=ZOO)
def defense(request: pytest.FixtureRequest) -> Defense:
    return build.instantiate(composed(f"defense=broken/{request.param}")["defense"], "defense")


def test_that_the_zoo_is_the_promised_one_and_stands_apart_from_the_defenses() -> None:
    assert ZOO == ["detached", "noisy", "random_resize", "saturated", "shattered"]
    texts = {path.stem: path.read_text(encoding="utf-8") for path in CONF.glob("*.yaml")}
    assert texts and not [option for option, text in texts.items() if broken.__name__ in text]


@pytest.mark.parametrize("name", ZOO)
def test_that_a_control_is_chosen_by_its_folder_and_known_by_its_values(name: str) -> None:
    with hydra.initialize_config_module("frbench.conf", version_base="1.3"):
        chosen = hydra.compose("run", [f"defense=broken/{name}"], return_hydra_config=True)
    assert chosen.hydra.runtime.choices["defense"] == f"broken/{name}"
    config = composed(f"defense=broken/{name}")["defense"]
    one, again = (build.instantiate(config, "defense") for _ in range(2))
    assert set(config) - {"_target_"} == {field.name for field in dataclasses.fields(one)}
    assert type(one)() == one, "the values in the YAML are those of the class"
    assert one == again and fingerprint(one) == fingerprint(again)
    assert "The audit flags " in " ".join((type(one).__doc__ or "").split())


def test_that_no_two_controls_are_taken_for_one_another(stage: Stage) -> None:
    things = [build.instantiate(composed(f"defense=broken/{name}")["defense"], "defense") for name in ZOO]
    assert len({fingerprint(thing.protect(stage.bare)) for thing in things}) == len(ZOO)


def test_that_clean_decisions_stay_nearly_as_they_were(defense: Defense, stage: Stage) -> None:
    allowed = 0.1 if isinstance(defense, broken.RandomResize) else 0.02  # the tiny recognizer wants faces in place
    if isinstance(defense, broken.Saturated):  # where its centre is the recognizer's threshold
        defense = dataclasses.replace(defense, centre=stage.threshold(stage.bare))
    assert stage.accuracy(defense.protect(stage.bare)) >= stage.accuracy(stage.bare) - allowed


@pytest.mark.parametrize("name", MASKED)
def test_that_an_attack_on_it_fails_where_one_that_ignores_it_succeeds(
    name: str, stage: Stage, oblivious: Images
) -> None:
    defense: Defense = build.instantiate(composed(f"defense=broken/{name}")["defense"], "defense")
    victim = defense.protect(stage.bare)
    assert stage.success(stage.bare, oblivious) == 1
    assert stage.success(victim, oblivious) >= 0.9, "it would protect, and be no control"
    assert stage.success(victim, stage.attacked(relaxed(defense, stage.bare))) <= 0.2


@pytest.mark.parametrize("make", [broken.Shattered, broken.Detached, broken.Saturated])
def test_that_these_have_no_gradient_at_all(make: Callable[[], Defense], stage: Stage) -> None:
    look = relaxed(make(), stage.bare)
    assert look.differentiable
    assert not slope(look, stage.genuine).any()
    assert slope(stage.bare, stage.genuine).flatten(1).any(dim=1).all()


def test_that_the_stand_ins_show_the_true_scores(defense: Defense, stage: Stage) -> None:
    torch.manual_seed(0)
    truth = asked(defense.protect(stage.bare), stage.genuine, stage.genuine.probe)
    torch.manual_seed(0)
    shown = asked(relaxed(defense, stage.bare), stage.genuine, stage.genuine.probe)
    assert torch.equal(truth, shown)


def test_that_the_staircase_is_flat_and_has_sixteen_levels(stage: Stage) -> None:
    defense = broken.Shattered()
    levels = defense.purifier()(stage.genuine.probe, stage.genuine.index, Draw())
    assert len(levels.unique()) == 16
    assert (levels - stage.genuine.probe).abs().max() <= 0.5 / 15 + 1e-6


def test_that_a_saturated_head_keeps_the_order_and_is_flat_away_from_its_centre() -> None:
    class Given:
        differentiable, random = True, False

        def score(self, probe: Images, template: object, draw: Draw) -> Scores:
            return probe

    scores = torch.linspace(-1, 1, 2001).requires_grad_(True)
    head = broken.Saturated().protect(Given())  # type: ignore[arg-type]
    seen = head.score(scores, None, Draw())  # type: ignore[arg-type]
    (gradient,) = torch.autograd.grad(seen.sum(), scores)
    assert (seen.diff() >= 0).all()
    assert seen.abs().max() <= 1
    assert torch.equal(seen.detach() > 0, scores.detach() > 0.3)
    far = (scores.detach() - 0.3).abs()
    assert not gradient[far > 0.1].any()
    assert gradient[far < 0.05].all()


def test_that_the_ripple_is_low_steep_and_the_same_for_every_pair_alone(stage: Stage) -> None:
    defense, batch = broken.Noisy(), stage.genuine
    victim = defense.protect(stage.bare)
    off = asked(victim, batch, batch.probe) - asked(stage.bare, batch, batch.probe)
    assert 0.001 < off.abs().max() <= defense.height + 1e-6
    found, true = slope(victim, batch).flatten(1), slope(stage.bare, batch).flatten(1)
    assert (found.norm(dim=1) > 10 * true.norm(dim=1)).all()
    assert cosine_similarity(found, true).abs().max() < 0.1
    assert cosine_similarity(found, found[:1]).abs().min() > 0.95, "always along the same direction"
    alone = torch.cat([asked(victim, batch[i : i + 1], batch.probe[i : i + 1]) for i in range(len(batch))])
    assert torch.allclose(asked(victim, batch, batch.probe), alone, atol=1e-5)


def test_that_random_resizing_is_not_reproducible_and_does_not_say_so(stage: Stage) -> None:
    victim, batch = broken.RandomResize().protect(stage.bare), stage.genuine
    assert not victim.random
    one, other = (asked(victim, batch, batch.probe) for _ in range(2))
    assert (one - other).abs().max() > 0.01
    torch.manual_seed(0)
    one = asked(victim, batch, batch.probe)
    torch.manual_seed(0)
    assert torch.equal(one, asked(victim, batch, batch.probe)), "its randomness is torch's global state"
    assert slope(victim, batch).flatten(1).any(dim=1).all(), "there is nothing wrong with its gradients"


def test_that_luck_decides_behind_random_resizing_and_no_more_than_luck(stage: Stage) -> None:
    torch.manual_seed(0)
    victim = broken.RandomResize().protect(stage.bare)
    assert stage.success(victim, stage.attacked(victim)) >= 0.8
    images, threshold = stage.attacked(victim, Linf(1 / 255)), stage.threshold(victim)
    scores = torch.stack([asked(victim, stage.genuine, images) for _ in range(8)])
    wins = (scores <= threshold).sum(dim=0)
    assert ((wins > 0) & (wins < 8)).float().mean() >= 0.1


@pytest.mark.parametrize("smallest", [0.5, 0.9])
def test_that_a_shrunk_image_lies_whole_on_the_gray_canvas(smallest: float) -> None:
    torch.manual_seed(0)
    out = broken.Shrunk(smallest)(torch.ones(64, 3, 40, 40), torch.arange(64), Draw())
    sides = (out[:, 0] > 0.75).any(dim=1).sum(dim=1) / 40
    assert sides.min() >= smallest - 0.06
    assert sides.max() <= 1
    assert sides.max() - sides.min() > 0.5 * (1 - smallest)
    assert ((out >= 0.5 - 1e-6) & (out <= 1 + 1e-6)).all()


@pytest.mark.parametrize("make", [broken.Shattered, broken.Detached, broken.RandomResize])
def test_that_the_purifiers_of_the_zoo_work_on_the_sides_that_they_are_given(
    make: Callable[..., PurifierDefense], stage: Stage
) -> None:
    batch = stage.genuine
    kept = make(apply_to="probe").protect(stage.bare).enroll(batch.reference, batch.index, Draw()).vectors
    bare = stage.bare.enroll(batch.reference, batch.index, Draw()).vectors
    both = make(apply_to="both").protect(stage.bare).enroll(batch.reference, batch.index, Draw()).vectors
    assert torch.equal(kept, bare)
    assert not torch.allclose(both, bare, atol=1e-3)


@pytest.fixture(scope="module")
def real(real_data: Path, image_cache: Path) -> Stage:
    words = ("dataset=lfw", "dataset.limit=40", "recognizer=foamliu_mobilefacenet", f"paths.data={real_data}")
    config = composed(*words)
    pairs: PairSet = build.instantiate(config["dataset"], "dataset").open(image_cache)
    bare = CosineVerifier(build.instantiate(config["recognizer"], "recognizer"))
    genuine = pairs.batch(pairs.attacked[pairs.same[pairs.attacked]][:6])
    return Stage(pairs, bare, pairs.attacked, genuine, steps=5)


@pytest.mark.realdata
def test_that_each_keeps_clean_accuracy_on_real_faces_and_misleads_attacks(real: Stage) -> None:
    images, plain = real.attacked(real.bare), real.accuracy(real.bare)
    torch.manual_seed(0)
    for name in ZOO:
        defense: Defense = build.instantiate(composed(f"defense=broken/{name}")["defense"], "defense")
        victim = defense.protect(real.bare)
        assert real.accuracy(victim) >= plain - 0.03, name
        assert real.success(victim, images) >= 0.8, name
        if name in MASKED:
            assert real.success(victim, real.attacked(relaxed(defense, real.bare))) <= 0.2, name
