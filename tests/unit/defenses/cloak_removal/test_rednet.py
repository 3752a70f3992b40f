"""RED-Net: number of parameters, skip connections, and the initial identity."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, relu

from frbench.defenses.cloak_removal.rednet import RedNet


def test_thirty_layers_of_sixty_four_channels_have_the_published_number_of_weights() -> None:
    assert sum(each.numel() for each in RedNet(30, 64).parameters()) == 1_037_507


@pytest.mark.parametrize("layers", [4, 16, 30])
def test_an_untrained_network_leaves_images_as_they_are(layers: int) -> None:
    images = torch.rand(3, 3, 16, 20)
    assert torch.equal(RedNet(layers, 8)(images), images)


def by_the_stack(network: RedNet, images: Tensor) -> Tensor:
    """The same with a stack of what is to be added, as the code that PuFace's is a copy of keeps it."""
    weights = [(each.weight, each.bias) for each in (*network.encoder, *network.decoder)]
    depth = len(weights) // 2
    h, stack = images, []
    for j in range(depth):
        h = relu(conv2d(h, *weights[j], stride=2 if j == 0 else 1, padding=1))
        if (j + 1) % 2 == 0 and len(stack) < math.ceil(depth / 2) - 1:
            stack.append(h)
    for j in range(depth - 1):
        h = relu(conv_transpose2d(h, *weights[depth + j], padding=1))
        if (j + 1 + depth) % 2 == 0 and stack:
            h = relu(h + stack.pop())
    assert not stack
    return relu(conv_transpose2d(h, *weights[-1], stride=2, padding=1, output_padding=1) + images)


@pytest.mark.parametrize("layers", [10, 16, 20, 30])
def test_skips_are_added_in_reverse_order(layers: int) -> None:
    torch.manual_seed(0)
    network, images = RedNet(layers, 6), torch.rand(2, 3, 12, 12)
    for each in network.parameters():
        nn.init.normal_(each, std=0.15)
    expected = by_the_stack(network, images)
    assert (expected - images).abs().max() > 0.01
    assert torch.allclose(network(images), expected, atol=1e-5)


def test_gradients_reach_every_layer_once_the_last_has_moved() -> None:
    network, images = RedNet(30, 8), torch.rand(2, 3, 16, 16)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (network(images) - 0.5).square().mean().backward()
        optimizer.step()
    assert all(each.grad is not None and float(each.grad.abs().max()) > 0 for each in network.parameters())
