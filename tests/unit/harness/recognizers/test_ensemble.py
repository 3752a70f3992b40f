"""Several recognizers as one: its cosine against the mean of theirs, and how the command line puts it together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from frbench.harness.config import build, resolution
from frbench.harness.core.contracts import Recognizer
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.core.verifiers import CosineVerifier, cosine
from frbench.harness.recognizers.ensemble import EnsembleRecognizer

AT = "recognizer@threat.surrogate"


@pytest.fixture
def members(linear: Callable) -> dict[str, Any]:
    """Three of different widths."""
    made = {f"m{seed}": linear(dim=4 * seed + 4, seed=seed) for seed in range(3)}
    return {name: replace(each, name=name, digest=name) for name, each in made.items()}


def test_that_its_cosine_is_the_mean_of_the_members(members: Mapping[str, Recognizer], batch: Callable) -> None:
    pairs, whole = batch(), EnsembleRecognizer(members)
    vectors = whole.embed(pairs.probe)
    assert vectors.shape == (12, 4 + 8 + 12)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(12), atol=1e-6)
    each = torch.stack([cosine(one.embed(pairs.probe), one.embed(pairs.reference)) for one in members.values()])
    assert torch.allclose(cosine(vectors, whole.embed(pairs.reference)), each.mean(dim=0), atol=1e-6)


def test_that_its_gradient_is_the_mean_of_the_members(
    members: Mapping[str, Recognizer], batch: Callable, view: Callable
) -> None:
    pairs = batch()

    def slope(recognizer: Recognizer) -> torch.Tensor:
        look, probe = view(recognizer), pairs.probe.clone().requires_grad_(True)
        (found,) = torch.autograd.grad(look.score(probe, look.enroll(pairs)).sum(), probe)
        return found

    each = torch.stack([slope(one) for one in members.values()])
    assert torch.allclose(slope(EnsembleRecognizer(members)), each.mean(dim=0), atol=1e-6)


def test_that_it_gives_gradients_only_where_all_members_do(members: dict[str, Any]) -> None:
    assert EnsembleRecognizer(members).differentiable
    assert not EnsembleRecognizer(members | {"m1": replace(members["m1"], differentiable=False)}).differentiable


def test_that_it_is_known_by_its_members_and_not_by_what_they_are_called(members: dict[str, Any]) -> None:
    one = EnsembleRecognizer(members)
    other = EnsembleRecognizer({"x": members["m2"], "a": members["m0"], "b": members["m1"]})
    fewer = EnsembleRecognizer({"m0": members["m0"], "m1": members["m1"]})
    assert one.name == other.name == "ensemble(m0+m1+m2)"
    assert one.digest == other.digest != fewer.digest
    assert fingerprint(one) == fingerprint(other) != fingerprint(fewer)
    assert fingerprint(CosineVerifier(one)) == fingerprint(CosineVerifier(other))


@pytest.mark.parametrize("count", [0, 1])
def test_that_fewer_than_two_members_are_refused_when_used(count: int, members: dict[str, Any]) -> None:
    few = EnsembleRecognizer(dict(list(members.items())[:count]))
    for use in (lambda: few.name, lambda: few.digest, lambda: few.differentiable, lambda: few.embed(torch.rand(1))):
        with pytest.raises(FrbenchError, match=f"has {count} members.*surrogate.members.a=NAME") as error:
            use()
        assert "\n" not in str(error.value)


def test_that_a_member_without_embeddings_is_refused(members: dict[str, Any]) -> None:
    """A service that compares two images has none."""

    class Comparing:
        name = "bank"

    with pytest.raises(FrbenchError, match="bank gives no embeddings"):
        EnsembleRecognizer({"a": members["m0"], "b": Comparing()}).embed(torch.rand(1, 3, 8, 8))  # type: ignore[dict-item]


@dataclass(frozen=True)
class Composed:
    """A config as the command line makes it."""

    words: tuple[str, ...]

    def resolved(self) -> dict[str, Any]:
        import hydra

        with hydra.initialize_config_module("frbench.conf", version_base="1.3"):
            return resolution.plain(hydra.compose("run", [*self.words, "paths.data=no_data", "device=cpu"]))


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (("threat=transfer", f"{AT}=ensemble", f"+{AT}.members.a=tiny", f"+{AT}.members.b=iresnet18"), "threat"),
        (("recognizer=ensemble", *(f"+recognizer@recognizer.members.{m}" for m in ("a=tiny", "b=iresnet18"))), ""),
    ],
)
def test_that_the_command_line_puts_it_together(words: tuple[str, ...], where: str) -> None:
    config = Composed(words).resolved()
    found = config["threat"]["surrogate"] if where else config["recognizer"]
    whole = build.instantiate(found, "recognizer")
    assert isinstance(whole, EnsembleRecognizer)
    assert [member.name for member in whole.members.values()] == ["tiny", "iresnet18"]
    assert whole.name == "ensemble(iresnet18+tiny)"


def test_that_one_network_twice_is_refused_and_its_twin_by_other_preprocessing_is_not(members: dict[str, Any]) -> None:
    """LowKey's released code fills four places with two networks, because each checkpoint overwrites the one before."""
    config = Composed(("recognizer=tiny",)).resolved()["recognizer"]
    one: Recognizer = build.instantiate(config, "recognizer")
    again: Recognizer = build.instantiate(config, "recognizer")
    images = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    for use in (lambda each: each.embed(images), lambda each: each.digest):
        with pytest.raises(FrbenchError, match=r"a \(m0\) is a member twice") as error:
            use(EnsembleRecognizer({"a": members["m0"], "b": members["m0"]}))
        assert "\n" not in str(error.value)
    with pytest.raises(FrbenchError, match=r"a \(tiny\) is a member twice"):
        use(EnsembleRecognizer({"a": one, "b": again}))
    mirrored = replace(one, bgr=True)  # type: ignore[type-var]
    vectors = EnsembleRecognizer({"a": one, "b": mirrored}).embed(images)
    expected = (one.embed(images) @ one.embed(images).T + mirrored.embed(images) @ mirrored.embed(images).T) / 2
    assert torch.allclose(vectors @ vectors.T, expected, atol=1e-6)
