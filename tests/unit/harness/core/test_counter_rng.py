"""Noise belongs to the pair: it depends on nothing but (seed, stream, step, draw) and the pair's number."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import frbench.harness.core.counter_rng as module
from frbench.harness.core.counter_rng import Draw, Stream, normal, uniform

ROOT = Path(module.__file__).parents[2]
SOURCES = [
    path for room in ("attacks", "defenses", "datasets", "harness", "scripts") for path in (ROOT / room).rglob("*.py")
]
seeds = st.integers(0, 2**63 - 1)
streams = st.sampled_from(Stream)


def inside(admissible: range) -> st.SearchStrategy[int]:
    """Any number of the range, its ends and small numbers often."""
    edges = {*admissible[:4], *admissible[-4:], *range(101, 104), *range(301, 303)} & {
        *admissible[:500],
        *admissible[-4:],
    }
    return st.sampled_from(sorted(edges)) | st.integers(admissible[0], admissible[-1])


@st.composite
def admissible_draws(generate: st.DrawFn) -> Draw:
    stream = generate(streams)
    return Draw(generate(seeds), stream, generate(inside(stream.value.steps)), generate(inside(stream.value.draws)))


@settings(max_examples=500)
@given(one=admissible_draws(), other=admissible_draws())
def test_streams_of_one_seed_share_no_counter(one: Draw, other: Draw) -> None:
    if one.stream.value.seed == other.stream.value.seed:
        same = other._replace(seed=one.seed)
        assert (one[1:] == same[1:]) == (one.counters() == same.counters())


def test_no_two_streams_of_one_setting_overlap_anywhere() -> None:
    """The same for every step and draw at once: each stream is a rectangle of counters."""

    def rectangle(stream: Stream) -> tuple[int, int, int, int]:
        _, origin, steps, first, draws = stream.value
        near, far = (first + draws[0], first + draws[-1]) if first >= 0 else (first - draws[-1], first - draws[0])
        return origin + steps[0], origin + steps[-1], near, far

    for one in Stream:
        for other in Stream:
            if one is other or one.value.seed != other.value.seed:
                continue
            a, b = rectangle(one), rectangle(other)
            apart = a[1] < b[0] or b[1] < a[0] or a[3] < b[2] or b[3] < a[2]
            assert apart, f"{one.name} and {other.name} share counters"


@settings(max_examples=100)
@given(draw=admissible_draws(), step=st.integers(0, 10**6))
def test_a_reference_never_has_the_noise_of_a_probe_whatever_the_step(draw: Draw, step: int) -> None:
    queried = Draw(draw.seed, Stream.QUERY, step)
    assert queried.of_reference() == Draw(draw.seed, Stream.QUERY_REFERENCE)
    if draw.stream is not Stream.QUERY_REFERENCE:
        assert queried.of_reference().counters() != draw.counters() or draw.stream.value.seed != "run"


def test_what_a_stream_does_not_admit_is_an_error() -> None:
    for draw in (Draw(step=-1), Draw(k=-1), Draw(step=10**9), Draw(stream=Stream.JUDGING, step=1)):
        with pytest.raises(ValueError, match="expected a step in"):
            uniform(torch.arange(1), draw, (1,))
    with pytest.raises(ValueError, match="no reference is enrolled in AUDIT"):
        Draw(stream=Stream.AUDIT).of_reference()


def calls_of_draw() -> Iterator[tuple[str, ast.Call]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Draw":
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def test_every_draw_in_the_source_names_its_stream_and_every_stream_is_drawn_from() -> None:
    """``Draw()`` stands where nothing is random; a name is a parameter whose type is ``Stream``."""
    named = set()
    for where, call in calls_of_draw():
        given_as = [*call.args[1:2], *(each.value for each in call.keywords if each.arg == "stream")]
        if not call.args and not call.keywords:
            continue
        assert given_as, f"{where}: a draw without a stream"
        assert ast.unparse(given_as[0]).startswith("Stream.") or ast.unparse(given_as[0]) == "stream", where
    for path in SOURCES:
        if path.name != "counter_rng.py":
            nodes = ast.walk(ast.parse(path.read_text("utf-8")))
            named |= {
                node.attr for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "Stream"
            }
    references = {stream.name for stream in Stream if stream.name.endswith("_REFERENCE")}
    assert named | references == {stream.name for stream in Stream}


@settings(max_examples=30)
@given(index=st.lists(st.integers(0, 10**9), min_size=1, max_size=9), draw=admissible_draws())
def test_noise_of_a_pair_does_not_depend_on_its_batch(index: list[int], draw: Draw) -> None:
    together = uniform(torch.tensor(index), draw, (3, 4))
    alone = torch.cat([uniform(torch.tensor([each]), draw, (3, 4)) for each in index])
    assert torch.equal(together, alone)


def test_uniform_noise_is_uniform_and_below_one() -> None:
    noise = uniform(torch.arange(50), Draw(1, Stream.QUERY, 2, 3), (3, 20, 20)).flatten()
    assert noise.min() >= 0 and noise.max() < 1
    assert stats.kstest(noise.numpy(), "uniform").pvalue > 1e-3


def test_normal_noise_is_standard_normal() -> None:
    noise = normal(torch.arange(50), Draw(1, Stream.QUERY, 2, 3), (3, 20, 20)).flatten()
    assert stats.kstest(noise.numpy(), "norm").pvalue > 1e-3


def test_every_part_of_the_draw_changes_the_noise() -> None:
    index = torch.arange(4)
    draws = [Draw(), Draw(seed=1), Draw(step=1), Draw(k=1), Draw(stream=Stream.ATTACK), Draw(stream=Stream.JUDGING)]
    found = [uniform(index, draw, (3, 8, 8)) for draw in draws]
    for i, first in enumerate(found):
        for second in found[i + 1 :]:
            assert abs(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]) < 0.15


def test_pairs_and_pixels_are_uncorrelated() -> None:
    noise = uniform(torch.arange(300), Draw(), (400,)) - 0.5
    correlation = torch.corrcoef(noise)
    correlation.fill_diagonal_(0)
    assert correlation.abs().max() < 0.3  # 45,000 pairs of 400 samples: five deviations are 0.25
