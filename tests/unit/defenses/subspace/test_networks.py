"""The selector networks: published numbers of parameters, shapes, ranges, and independence of the faces in a batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from frbench.defenses.subspace.networks import Denoiser, Encoder, SelectionHead

# Code of PIN: (input, output) channels of the eight blocks of the encoder, two by two with strides 2 and 1.
BLOCKS = [(64, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)]


def conv(inside: int, outside: int, side: int = 3) -> int:
    """Weights of a convolution without bias."""
    return inside * outside * side**2


def encoder_block(inside: int, outside: int, skip: bool) -> int:
    """Two convolutions with a slope per channel each; the skip is 1x1."""
    body = conv(inside, outside) + outside + conv(outside, outside) + outside
    return body + (conv(inside, outside, 1) if skip else 0)


def decoder_block(inside: int, outside: int, last: bool) -> int:
    return conv(inside, inside) + inside + conv(inside, outside) + (0 if last else outside)


ENCODER = conv(1, 64) + 64 + sum(encoder_block(*each, skip=True) for each in BLOCKS)
NORMS = sum(3 * 2 * outside for _, outside in BLOCKS)  # scale and shift behind both convolutions and the skip
HEAD = (25088 + 1) * 512 + 512 + (512 + 1) * 2500
DENOISER = sum(encoder_block(*each, skip=False) for each in [(1, 64), (64, 128), (128, 256)]) + sum(
    decoder_block(*each) for each in [(256, 128, False), (128, 64, False), (64, 1, True)]
)


def size(module: nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def test_the_sizes_written_out_are_those_published() -> None:
    millions = [round(each / 1e6, 2) for each in (ENCODER, ENCODER + NORMS, HEAD, DENOISER)]
    assert millions == [11.51, 11.53, 14.13, 2.29]


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (lambda: Encoder(64), ENCODER),
        (lambda: Encoder(64, normalised=True), ENCODER + NORMS),
        (lambda: SelectionHead(25088, 512, 2500), HEAD),
        (lambda: Denoiser(64), DENOISER),
    ],
    ids=["encoder", "encoder of AIS", "head", "denoiser"],
)
def test_every_network_has_exactly_the_published_parameters(network: object, expected: int) -> None:
    with torch.device("meta"):
        assert size(network()) == expected  # type: ignore[operator]


def test_only_the_normalised_encoder_normalises_and_never_behind_the_stem() -> None:
    def norms(module: nn.Module) -> int:
        return sum(isinstance(each, nn.BatchNorm2d) for each in module.modules())

    assert norms(Encoder(2)) == 0
    assert norms(Encoder(2, normalised=True)) == 3 * 8
    assert norms(Encoder(2, normalised=True).stem) == 0


@pytest.mark.parametrize("normalised", [False, True])
def test_the_encoder_gives_512_maps_of_7_by_7_at_full_width(normalised: bool) -> None:
    with torch.no_grad():
        features = Encoder(64, normalised).eval()(torch.zeros(2, 1, 112, 112))
    assert features.shape == (2, 512, 7, 7)


def test_the_encoder_halves_the_side_at_every_other_block() -> None:
    features, sides = torch.zeros(1, 1, 112, 112), []
    encoder = Encoder(2)
    features = encoder.stem(features)
    for block in encoder.blocks:
        features = block(features)
        sides.append(tuple(features.shape[1:3]))
    assert sides == [(2, 56), (2, 56), (4, 28), (4, 28), (8, 14), (8, 14), (16, 7), (16, 7)]


def test_a_block_adds_its_skip_after_the_activation_and_nothing_behind_it() -> None:
    """With the body silenced what is left is the 1x1 convolution, negative values and all."""
    block = Encoder(4).blocks[2]
    features = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    nn.init.zeros_(block.body[2].weight)
    expected = nn.functional.conv2d(features, block.skip[0].weight, stride=2)
    assert torch.allclose(block(features), expected)
    assert bool((expected < 0).any())


def test_the_denoiser_stays_in_the_range_of_faces_however_wild_they_are() -> None:
    faces = 30 * torch.randn(2, 1, 112, 112, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        once, twice = Denoiser(8).eval()(faces)
    for each in (once, twice):
        assert each.shape == faces.shape
        assert each.abs().max() <= 1
    assert once.abs().max() > 0.9  # it is the tanh that holds it


def test_the_denoisers_second_pass_is_the_first_one_again() -> None:
    denoiser = Denoiser(2).eval()
    faces = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        once, twice = denoiser(faces)
        assert torch.allclose(denoiser(once)[0], twice)
    assert not torch.allclose(once, twice)


@pytest.mark.parametrize("normalised", [False, True])
def test_a_face_is_chosen_for_alone_once_training_is_over(normalised: bool) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(Encoder(4, normalised), SelectionHead(32 * 2 * 2, 8, 12))
    faces = torch.rand(6, 1, 32, 32) * 2 - 1
    with torch.no_grad():
        network.train()(faces)  # gives batch normalisation something to remember
        network.eval()
        together = network(faces)
        alone = torch.cat([network(each[None]) for each in faces])
        assert torch.allclose(together, alone, atol=1e-5)
        if normalised:
            assert not torch.allclose(network.train()(faces), network(faces[:3].repeat(2, 1, 1, 1)), atol=1e-3)


@pytest.mark.parametrize("made", [Encoder, lambda **how: Encoder(normalised=True, **how), Denoiser])
def test_initial_weights_are_pytorchs_own_where_asked_for(made: Callable[..., nn.Module]) -> None:
    """Uniform below the inverse root of the inputs of a convolution; He's are normal, and larger."""
    own, he = (
        [each for each in made(width=4, initial=initial).modules() if isinstance(each, nn.Conv2d)]
        for initial in ("torch", "he")
    )
    for each in own:
        limit = (each.weight[0].numel()) ** -0.5
        assert each.weight.abs().max() <= limit
        assert each.weight.abs().max() > 0.7 * limit
    assert all(each.weight.abs().max() > each.weight[0].numel() ** -0.5 for each in he)


def test_what_is_in_the_face_arrives_at_the_far_end_of_a_fresh_network() -> None:
    """With torch's own initial values the signal would die out in the depth."""
    torch.manual_seed(0)
    encoder = Encoder(8)
    faces = torch.randn(8, 1, 112, 112)
    with torch.no_grad():
        features = encoder(faces)
    between = features.std(dim=0).mean()
    assert 0.05 < between < 50
