"""What an own defense may give: images of the same type and shape in [0, 1]. Anything else is refused by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor

from frbench.defenses.components.purifier import PurifierDefense
from frbench.harness.cli.main import main
from frbench.harness.core.contracts import Draw, Images, Scores, Verifier
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import PairBatch
from frbench.harness.core.purifiers import Purifier, Sides
from frbench.harness.core.verifiers import CosineVerifier


@dataclass(frozen=True)
class Own:
    """A purifier and the defense of it, made of one function."""

    change: Callable[[Images], object] = field(compare=False)
    differentiable: bool = True
    random: bool = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        return self.change(images)  # type: ignore[return-value]


@dataclass(frozen=True)
class OwnDefense(PurifierDefense):
    own: Own
    apply_to: Sides = "both"

    def purifier(self) -> Purifier:
        return self.own

    def differentiable_purifiers(self) -> dict[str, Purifier]:
        return {"exact": self.own}


def scores(victim: Verifier, pairs: PairBatch) -> Scores:
    return victim.score(pairs.probe, victim.enroll(pairs.reference, pairs.index, Draw()), Draw())


def one_nan(images: Images) -> Images:
    changed = images.clone()
    changed[0, 0, 0, 0] = torch.nan
    return changed


BROKEN: dict[str, tuple[Callable[[Images], object], str]] = {
    "gray levels": (lambda images: images * 255, ", expected [0, 1]; scale or clip them"),
    "normalised": (lambda images: images * 2 - 1, ", expected [0, 1]; scale or clip them"),
    "not a number": (one_nan, "values that are not finite"),
    "infinite": (lambda images: images / 0, "values that are not finite"),
    "smaller": (lambda images: images[..., 1:-1, 1:-1], "(12, 3, 6, 6) for images torch.float32 (12, 3, 8, 8)"),
    "one channel": (lambda images: images.mean(1, keepdim=True), "(12, 1, 8, 8) for images"),
    "one image less": (lambda images: images[1:], "(11, 3, 8, 8) for images"),
    "bytes": (lambda images: (images * 255).byte(), "returned torch.uint8"),
    "double": (lambda images: images.double(), "returned torch.float64"),
    "an array": (lambda images: images.numpy(), "returned ndarray for images"),
    "nothing": (lambda images: None, "returned NoneType for images"),
}


@pytest.mark.parametrize("sides", ["both", "probe"])
@pytest.mark.parametrize("case", BROKEN)
def test_that_images_which_are_none_are_refused_by_the_name_of_the_purifier(
    case: str, sides: Sides, linear: Callable, batch: Callable[..., PairBatch]
) -> None:
    change, expected = BROKEN[case]
    pairs, victim = batch(), OwnDefense(Own(change), sides).protect(CosineVerifier(linear()))
    with pytest.raises(FrbenchError) as error:
        scores(victim, pairs)
    text = str(error.value)
    assert f"{Own.__module__}.Own returned" in text and expected in text
    assert "\n" not in text


def test_that_rounding_beyond_the_range_is_let_through(linear: Callable, batch: Callable[..., PairBatch]) -> None:
    pairs = batch()
    victim = OwnDefense(Own(lambda images: images * (1 + 2e-7) - 1e-7)).protect(CosineVerifier(linear()))
    assert scores(victim, pairs).isfinite().all()


MODULE = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Stretch:
    by: float = 255.0
    differentiable = True
    random = False

    def __call__(self, images, index, draw):
        return images * self.by

@dataclass(frozen=True)
class Stretching:
    by: float = 255.0

    def purifier(self):
        return Stretch(self.by)

    def protect(self, verifier):
        from frbench.harness.core.verifiers import purified
        return purified(verifier, self.purifier(), "both")

    def relaxations(self, verifier):
        return {"exact": self.protect(verifier)}
"""


@pytest.mark.parametrize("protocol", ["verification", "cloaking"])
def test_that_a_run_with_a_defense_of_ones_own_that_leaves_the_range_ends_in_one_line(
    protocol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "stretching_parts.py").write_text(MODULE)
    (tmp_path / "conf" / "defense").mkdir(parents=True)
    (tmp_path / "conf" / "defense" / "stretch.yaml").write_text("_target_: stretching_parts.Stretching\nby: 255.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    faces = ["dataset.people=30", "dataset.photos_per_person=4", "dataset.pairs=60"]
    if protocol == "cloaking":
        faces = ["dataset=synthetic_users", "dataset.people=4", "goal=cloak"]
    words = [f"--config-dir={tmp_path / 'conf'}", f"protocol={protocol}", "attack=none", "defense=stretch"]
    words += ["trust=[stretching_parts]", "recognizer.min_clean_accuracy=null", "device=cpu", *faces]
    assert main(["run", *words, f"paths.results={tmp_path / 'results'}"]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("frbench: ")]
    assert len(lines) == 1
    assert "the purifier stretching_parts.Stretch returned images with values from 0 to 255" in lines[0]
