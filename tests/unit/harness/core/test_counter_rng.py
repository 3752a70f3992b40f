"""Noise belongs to the pair: it depends on nothing but (seed, pair, step, draw)."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from frbench.harness.core.contracts import Draw
from frbench.harness.core.counter_rng import normal, uniform

numbers = st.integers(min_value=-(2**41), max_value=2**41)


@settings(max_examples=30, deadline=None)
@given(index=st.lists(st.integers(0, 10**9), min_size=1, max_size=9), seed=numbers, step=numbers, k=numbers)
def test_noise_of_a_pair_does_not_depend_on_its_batch(index: list[int], seed: int, step: int, k: int) -> None:
    draw = Draw(seed, step, k)
    together = uniform(torch.tensor(index), draw, (3, 4))
    alone = torch.cat([uniform(torch.tensor([each]), draw, (3, 4)) for each in index])
    assert torch.equal(together, alone)


def test_uniform_noise_is_uniform_and_below_one() -> None:
    noise = uniform(torch.arange(50), Draw(1, 2, 3), (3, 20, 20)).flatten()
    assert noise.min() >= 0 and noise.max() < 1
    assert stats.kstest(noise.numpy(), "uniform").pvalue > 1e-3


def test_normal_noise_is_standard_normal() -> None:
    noise = normal(torch.arange(50), Draw(1, 2, 3), (3, 20, 20)).flatten()
    assert stats.kstest(noise.numpy(), "norm").pvalue > 1e-3


def test_every_part_of_the_draw_changes_the_noise() -> None:
    index = torch.arange(4)
    draws = [Draw(), Draw(seed=1), Draw(step=1), Draw(k=1), Draw(step=-1), Draw(step=1 << 41)]
    found = [uniform(index, draw, (3, 8, 8)) for draw in draws]
    for i, first in enumerate(found):
        for second in found[i + 1 :]:
            assert abs(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]) < 0.15


def test_pairs_and_pixels_are_uncorrelated() -> None:
    noise = uniform(torch.arange(300), Draw(), (400,)) - 0.5
    correlation = torch.corrcoef(noise)
    correlation.fill_diagonal_(0)
    assert correlation.abs().max() < 0.3  # 45,000 pairs of 400 samples: five deviations are 0.25
