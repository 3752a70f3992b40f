"""What every defense in conf/defense promises: a verifier in, a verifier out, and stand-ins that can be attacked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.small_defenses import COUNT, INDEX, SIZE, SmoothingRecognizer, fit, pictures, scores, small

import frbench.conf
from frbench.defenses.ensembles import EnsembleFile, FusedDefense
from frbench.harness.core.contracts import Defense, Draw, Fittable, Images, Verifier
from frbench.harness.core.counter_rng import Stream
from frbench.harness.core.errors import FrbenchError, Refused
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.recognizers.trainable import ReplacesRecognizer

CONF = Path(frbench.conf.__file__).parent
# Other sizes of a defense that stands here by itself; test_presets looks at them.
PRESETS = {"pin_full", "pin_paper", "ais_full", "ais_paper", "puface_full"}
DEFENSES = sorted({path.stem for path in (CONF / "defense").glob("*.yaml")} - PRESETS)
FAINT = {"steering"}  # looks at the choice of a mask alone, which a network fitted for seconds hardly moves
CLOSE = 0.05  # how far on the cosine a stand-in may be from what it stands for, in the mean


@pytest.fixture(scope="module")
def recognizer() -> Any:
    """unit(W * smoothed image): sensitive to shapes and not to the last bit of each pixel, as recognizers are."""
    return SmoothingRecognizer(torch.randn(3 * 28 * 28, 32, generator=torch.Generator().manual_seed(0)))


@dataclass(frozen=True)
class Ready:
    """A defense as shipped, and ready for use: fitted on a few faces where it has to be. ``folder`` has its files."""

    option: str
    shipped: Any
    defense: Any
    folder: Path


@pytest.fixture(scope="module", params=DEFENSES)
def ready(request: pytest.FixtureRequest, recognizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Ready:
    if request.param.startswith("wavelet"):
        pytest.importorskip("pywt")
    thing = small(request.getfixturevalue("made")("defense", request.param), request.param)
    folder = tmp_path_factory.mktemp("results")
    return Ready(request.param, thing, fit(thing, recognizer, folder), folder)


@pytest.fixture(scope="module")
def defense(ready: Ready) -> Defense:
    return ready.defense


@pytest.fixture(scope="module")
def bare(recognizer: Any) -> Verifier:
    return CosineVerifier(recognizer)


def test_that_a_protected_verifier_gives_one_cosine_a_pair(defense: Defense, bare: Verifier) -> None:
    found = scores(defense.protect(bare), pictures(0), pictures(1), INDEX, Draw())
    assert (found.shape, found.dtype) == ((COUNT,), torch.float32)
    assert bool((found.abs() <= 1 + 1e-5).all())
    assert len(found.unique()) == COUNT


def test_that_a_face_is_still_itself_and_nobody_else_behind_it(defense: Defense, bare: Verifier) -> None:
    verifier = defense.protect(bare)
    near = (pictures(0) + 0.02 * (pictures(3) - 0.5)).clamp(0, 1)
    same = scores(verifier, near, pictures(0), INDEX, Draw())
    other = scores(verifier, near, pictures(1), INDEX, Draw())
    assert bool((same > 0.85).all())
    assert bool((other < 0.75).all())


def test_that_what_it_sees_is_left_as_it_was(defense: Defense, bare: Verifier) -> None:
    probe, reference = pictures(0), pictures(1)
    scores(defense.protect(bare), probe, reference, INDEX, Draw())
    assert torch.equal(probe, pictures(0))
    assert torch.equal(reference, pictures(1))


def test_that_each_pair_is_judged_alone(defense: Defense, bare: Verifier) -> None:
    verifier, probe, reference = defense.protect(bare), pictures(0), pictures(1)
    together = scores(verifier, probe, reference, INDEX, Draw())
    rows = [slice(i, i + 1) for i in range(COUNT)]
    alone = torch.cat([scores(verifier, probe[row], reference[row], INDEX[row], Draw()) for row in rows])
    assert torch.allclose(together, alone, atol=1e-5)


def test_that_chance_enters_by_the_pair_and_the_draw_or_not_at_all(defense: Defense, bare: Verifier) -> None:
    verifier = defense.protect(bare)
    one = scores(verifier, pictures(0), pictures(1), INDEX, Draw(1, step=2, k=3))
    assert torch.equal(scores(verifier, pictures(0), pictures(1), INDEX, Draw(1, step=2, k=3)), one)
    others = [
        scores(verifier, pictures(0), pictures(1), INDEX + 7, Draw(1, step=2, k=3)),
        scores(verifier, pictures(0), pictures(1), INDEX, Draw(4, step=5, k=6)),
    ]
    for other in others:
        assert torch.equal(other, one) != verifier.random


def test_that_a_defense_tells_verifiers_apart_in_the_store(defense: Defense, bare: Verifier, made: Callable) -> None:
    """Clean scores are kept by the fingerprint of the verifier: no two defenses may share it."""
    known = fingerprint(defense.protect(bare))
    assert known == fingerprint(defense.protect(bare))
    unprotected = fingerprint(made("defense", "none").protect(bare))
    assert (known == unprotected) == (type(defense) is type(made("defense", "none")))


def test_that_every_stand_in_can_be_differentiated(defense: Defense, bare: Verifier) -> None:
    relaxations = defense.relaxations(bare)
    assert relaxations, "there is no differentiable stand-in, so no adaptive attacker can be measured"
    for name, relaxed in relaxations.items():
        assert relaxed.differentiable, name
        probe = pictures(0).requires_grad_(True)
        found = scores(relaxed, probe, pictures(1), INDEX, Draw())
        (gradient,) = torch.autograd.grad(found.sum(), probe, retain_graph=True)
        assert bool(torch.isfinite(gradient).all()), name
        least = 0 if name in FAINT else 1e-4
        assert bool((gradient.flatten(1).norm(dim=1) > least).all()), name
        (first,) = torch.autograd.grad(found[0], probe)
        assert first[0].abs().max() > 0, name
        assert first[1:].abs().max() == 0, f"{name}: the rows of the batch are mixed"


def test_that_every_stand_in_scores_as_the_defense_does(defense: Defense, bare: Verifier) -> None:
    protected, probe, reference = defense.protect(bare), pictures(0), pictures(1)
    truth = scores(protected, probe, reference, INDEX, Draw())
    gaps = {
        name: float((scores(relaxed, probe, reference, INDEX, Draw()) - truth).abs().mean())
        for name, relaxed in defense.relaxations(bare).items()
    }
    of_a_mean = {name for name, each in defense.relaxations(bare).items() if each.random != protected.random}
    assert all(gap < (4 * CLOSE if name in of_a_mean else CLOSE) for name, gap in gaps.items()), gaps
    assert min(gaps.values()) < 1e-4, f"no stand-in shows the true scores: {gaps}"


def test_that_stand_ins_are_random_where_the_defense_is(defense: Defense, bare: Verifier) -> None:
    random = defense.protect(bare).random
    found = {name: relaxed.random for name, relaxed in defense.relaxations(bare).items()}
    assert next(iter(found.values())) == random, "the usual one stands for single draws"
    assert random or not any(found.values()), found  # others may stand for the mean of a random defense


def test_that_a_black_box_can_be_protected_and_says_that_it_stays_one(defense: Defense, bare: Verifier) -> None:
    class Blind:
        name, differentiable, digest = "blind", False, "blind"

        def embed(self, images: Images) -> torch.Tensor:
            return bare.recognizer.embed(images)  # type: ignore[attr-defined]

    blind = CosineVerifier(Blind())
    if isinstance(defense, FusedDefense | EnsembleFile):  # neither needs the recognizer that it replaces
        assert defense.protect(blind).differentiable
        assert fingerprint(defense.protect(blind)) == fingerprint(defense.protect(bare))
        return
    if isinstance(defense, ReplacesRecognizer):
        with pytest.raises(Refused, match="blind shows no network"):
            defense.protect(blind)
        return
    assert not defense.protect(blind).differentiable
    assert not any(relaxed.differentiable for relaxed in defense.relaxations(blind).values())
    assert torch.allclose(
        scores(defense.protect(blind), pictures(0), pictures(1), INDEX, Draw()),
        scores(defense.protect(bare), pictures(0), pictures(1), INDEX, Draw()),
    )


def test_that_a_purifier_gives_images_of_the_same_kind(defense: Any) -> None:
    if not hasattr(defense, "purifier"):
        return  # it is no purifier
    purified = defense.purifier()(pictures(0), INDEX, Draw())
    assert (purified.shape, purified.dtype) == ((COUNT, 3, SIZE, SIZE), torch.float32)
    assert purified.min() >= -0.25, "a projection may leave the range by a little, and is not clipped"
    assert purified.max() <= 1.25
    assert (purified - pictures(0)).abs().mean() < 0.2


@pytest.mark.parametrize("sides", ["both", "probe"])
def test_that_a_purifier_works_on_the_sides_that_it_is_given(sides: str, defense: Any, bare: Any) -> None:
    if not hasattr(defense, "apply_to"):
        return
    verifier = replace(defense, apply_to=sides).protect(bare)
    clean, purify = bare.recognizer.embed, defense.purifier()
    probe, reference = purify(pictures(0), INDEX, Draw()), pictures(1)
    if sides == "both":
        reference = purify(reference, INDEX, Draw(stream=Stream.QUERY_REFERENCE))
    expected = (clean(probe) * clean(reference)).sum(dim=1)
    assert torch.allclose(scores(verifier, pictures(0), pictures(1), INDEX, Draw()), expected, atol=1e-5)


def test_that_a_defense_to_be_fitted_is_fitted_once_and_found_after(
    ready: Ready, recognizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    thing, first = ready.shipped, ready.defense
    if not isinstance(thing, Fittable):
        assert first is thing
        assert not list(ready.folder.iterdir())
        return
    assert ready.option.startswith(thing.option)  # type: ignore[attr-defined]
    with pytest.raises(FrbenchError, match=f"frbench fit defense={thing.option}$"):  # type: ignore[attr-defined]
        thing.protect(CosineVerifier(recognizer))  # type: ignore[attr-defined]
    kept = {path: path.stat().st_mtime_ns for path in (ready.folder / "artifacts").iterdir()}
    assert first.artifact.key in {path.stem for path in kept}

    def never(self: Any, context: Any) -> None:
        raise AssertionError("it was fitted again")

    monkeypatch.setattr(type(thing.recipe), "fit", never)
    again = fit(thing, recognizer, ready.folder)
    assert {path: path.stat().st_mtime_ns for path in (ready.folder / "artifacts").iterdir()} == kept
    assert fingerprint(first) == fingerprint(again)
    verdicts = [
        scores(each.protect(CosineVerifier(recognizer)), pictures(0), pictures(1), INDEX, Draw())
        for each in (first, again)
    ]
    assert torch.equal(*verdicts)
