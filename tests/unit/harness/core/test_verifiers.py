"""Verifiers and threat models: who sees what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from frbench.defenses.input_transforms.blur import BlurDefense
from frbench.defenses.input_transforms.jpeg import JpegDefense
from frbench.defenses.none import NoDefense
from frbench.harness.core.contracts import Draw, Images, Victim
from frbench.harness.core.counter_rng import normal
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.verifiers import Averaged, CosineVerifier, Embedder, Purified, purified
from frbench.harness.threat_model.threats import Adaptive, Oblivious, Transfer


@dataclass(frozen=True)
class Noise:
    """A random purifier: additive Gaussian noise of the pair and the draw."""

    sigma: float = 0.2
    differentiable = True
    random = True

    def __call__(self, images: Images, index: torch.Tensor, draw: Draw) -> Images:
        return (images + self.sigma * normal(index, draw, tuple(images.shape[1:]))).clamp(0, 1)


def test_a_genuine_copy_scores_one_and_scores_are_cosines(linear: Callable, batch: Callable) -> None:
    verifier, pairs = CosineVerifier(linear()), batch()
    template = verifier.enroll(pairs.reference, pairs.index, Draw())
    assert torch.allclose(verifier.score(pairs.reference, template, Draw()), torch.ones(12), atol=1e-6)
    expected = torch.nn.functional.cosine_similarity(
        (pairs.probe - 0.5).flatten(1) @ linear().weight, (pairs.reference - 0.5).flatten(1) @ linear().weight
    )
    assert torch.allclose(verifier.score(pairs.probe, template, Draw()), expected, atol=1e-5)


def test_a_purifier_works_on_the_sides_that_it_is_given(linear: Callable, batch: Callable) -> None:
    bare, pairs = CosineVerifier(linear(16)), batch(size=16)
    blur = BlurDefense(sigma=2.0).purifier()
    draw = Draw()

    def embed(images: Images, blurred: bool) -> torch.Tensor:
        return linear(16).embed(blur(images, pairs.index, draw) if blurred else images)

    for sides, reference in (("both", True), ("probe", False)):
        verifier = purified(bare, blur, sides)
        found = verifier.score(pairs.probe, verifier.enroll(pairs.reference, pairs.index, draw), draw)
        expected = (embed(pairs.probe, True) * embed(pairs.reference, reference)).sum(1)
        assert torch.allclose(found, expected, atol=1e-6)
        assert isinstance(verifier, Embedder) and verifier.one_sided == (sides == "probe")


def test_a_random_purifier_is_no_embedder_and_depends_on_the_draw(linear: Callable, batch: Callable) -> None:
    verifier, pairs = purified(CosineVerifier(linear()), Noise(), "both"), batch()
    assert verifier.random and type(verifier) is Purified

    def scores(draw: Draw) -> torch.Tensor:
        return verifier.score(pairs.probe, verifier.enroll(pairs.reference, pairs.index, draw), draw)

    assert torch.equal(scores(Draw(1)), scores(Draw(1)))
    assert not torch.allclose(scores(Draw(1)), scores(Draw(2)), atol=1e-3)


def test_averaging_over_draws_is_the_mean_over_draws(linear: Callable, batch: Callable) -> None:
    inner, pairs = purified(CosineVerifier(linear()), Noise(), "both"), batch()
    averaged = Averaged(inner, 5)
    draw = Draw(3, step=7)
    found = averaged.score(pairs.probe, averaged.enroll(pairs.reference, pairs.index, draw), draw)
    each = []
    for k in range(5):
        this = draw._replace(k=k)
        each.append(inner.score(pairs.probe, inner.enroll(pairs.reference, pairs.index, this), this))
    assert torch.allclose(found, torch.stack(each).mean(0), atol=1e-6)


def victim(recognizer: object, defense: object) -> Victim:
    return Victim(
        CosineVerifier(recognizer),  # type: ignore[arg-type]
        defense,  # type: ignore[arg-type]
        CosineVerifier,
        lambda verifier: torch.full((12,), 0.25 if isinstance(verifier, CosineVerifier) else 0.5),
        7,
    )


def test_the_oblivious_attacker_sees_the_bare_verifier_and_its_threshold(linear: Callable) -> None:
    (view,) = Oblivious().views(victim(linear(), BlurDefense())).values()
    assert view.verifier == CosineVerifier(linear())
    assert view.thresholds[0] == 0.25 and view.seed == 7


def test_the_transfer_attacker_sees_only_the_surrogate(linear: Callable) -> None:
    surrogate = linear(seed=1)
    (view,) = Transfer(surrogate).views(victim(linear(), BlurDefense())).values()
    assert view.verifier.recognizer is surrogate  # type: ignore[attr-defined]


def test_the_adaptive_attacker_sees_the_defended_threshold_and_the_relaxation_named(linear: Callable) -> None:
    sight = victim(linear(), JpegDefense())
    known = list(JpegDefense().relaxations(sight.verifier))
    assert list(Adaptive("worst").views(sight)) == [*known, "bare"]
    assert list(Adaptive("soft", include_oblivious=False).views(sight)) == ["soft"]
    views = Adaptive().views(sight)
    assert views[known[0]].thresholds[0] == 0.5
    assert views["bare"].verifier == sight.verifier
    assert views["bare"].margin == Oblivious().margin
    assert all(view.verifier.differentiable for view in Adaptive("worst").views(sight).values())
    with pytest.raises(FrbenchError, match="softt.*soft"):
        Adaptive("softt").views(sight)


def test_the_adaptive_attacker_averages_a_random_defense_and_no_other(linear: Callable) -> None:
    @dataclass(frozen=True)
    class NoiseDefense(NoDefense):
        def relaxations(self, verifier: CosineVerifier) -> dict:  # type: ignore[override]
            return {"exact": purified(verifier, Noise(), "both")}

    (view,) = Adaptive(eot_samples=4, include_oblivious=False).views(victim(linear(), NoiseDefense())).values()
    assert view.verifier == Averaged(purified(CosineVerifier(linear()), Noise(), "both"), 4)
    (view,) = Adaptive(eot_samples=4, include_oblivious=False).views(victim(linear(), NoDefense())).values()
    assert isinstance(view.verifier, CosineVerifier)
