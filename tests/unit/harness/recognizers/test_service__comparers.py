"""Comparers, which show similarities and no vectors, as verifiers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from support.fake_services import eight_bits

from frbench.defenses.input_transforms.blur import Blur
from frbench.harness.core.contracts import Draw, Images, Template
from frbench.harness.core.verifiers import ComparerVerifier, CosineVerifier, Embedder, lifted, purified
from frbench.harness.recognizers.metering import Meter, Metered, MeteredComparer, metered


class Comparing:
    """A comparer without any network: the mean difference."""

    name, differentiable, random, digest = "comparing", False, False, "comparing"

    def compare(self, probe: Images, reference: Images) -> torch.Tensor:
        return 1 - (probe - reference).abs().mean(dim=(1, 2, 3))


def test_that_a_comparer_is_a_verifier_by_its_own_similarity() -> None:
    verifier, images, index = lifted(Comparing()), eight_bits(4), torch.arange(4)
    assert verifier == verifier and isinstance(verifier, ComparerVerifier)
    assert not isinstance(verifier, Embedder)
    assert not verifier.differentiable and not verifier.random
    template = verifier.enroll(images, index, Draw())
    assert isinstance(template, Template)
    assert verifier.score(images, template, Draw()).tolist() == [1] * 4
    kept = template[torch.tensor([2])]
    assert verifier.score(images[2, None], kept, Draw()).tolist() == [1]
    assert float(verifier.score(images[1, None], kept, Draw())) < 0.9


def test_that_an_embedder_is_lifted_by_the_cosine(linear: Callable) -> None:
    assert lifted(linear()) == CosineVerifier(linear())


def test_that_lifting_a_recognizer_does_not_read_its_weights() -> None:
    class Unread:
        name, differentiable = "unread", True

        @property
        def digest(self) -> str:
            raise AssertionError("the weights were read")

        def embed(self, images: Images) -> torch.Tensor:
            return images

    assert isinstance(lifted(Unread()), CosineVerifier)
    assert isinstance(metered(Unread(), Meter()), Metered)


def test_that_a_purifier_stands_before_a_comparer_too() -> None:
    purifier, images, index = Blur(2.0), eight_bits(2), torch.arange(2)
    verifier = purified(lifted(Comparing()), purifier, "probe")
    score = verifier.score(images, verifier.enroll(images, index, Draw()), Draw())
    assert torch.allclose(score, Comparing().compare(purifier(images, index, Draw()), images))
    assert score.max() < 0.99


def test_that_comparisons_are_counted_as_forwards(linear: Callable) -> None:
    meter = Meter()
    counting = metered(Comparing(), meter)
    assert isinstance(counting, MeteredComparer)
    assert isinstance(metered(linear(), meter), Metered)
    verifier, images = lifted(counting), eight_bits(3)
    verifier.score(images, verifier.enroll(images, torch.arange(3), Draw()), Draw())
    assert (meter.forwards, meter.backwards) == (3, 0)
