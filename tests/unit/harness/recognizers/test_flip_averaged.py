"""A recognizer asked about each image and its mirror image: what it adds up, and how the command line makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from frbench.harness.config import build, cell_labels, resolution
from frbench.harness.config.compose import composed_cell
from frbench.harness.core.contracts import Images, Recognizer
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.recognizers.architectures.tiny import TinyNet
from frbench.harness.recognizers.flip_averaged import FlipAveraged
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer

AT = "recognizer@threat.surrogate"


@dataclass(frozen=True)
class LeftHalf:
    """Embeds the left half of an image, so that its mirror image is another one of another length."""

    name: str = "left half"
    digest: str = "0" * 64
    differentiable: bool = True

    def raw(self, images: Images) -> Tensor:
        return images[..., : images.shape[3] // 2].flatten(1)

    def embed(self, images: Images) -> Tensor:
        return torch.nn.functional.normalize(self.raw(images))


def pictures(count: int = 4) -> Images:
    images = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    images[..., 4:] *= 5  # the two halves weigh differently
    return images


def test_that_raw_embeddings_are_added_and_the_sum_brought_to_unit_length() -> None:
    images = pictures()
    both = images[..., :4].flatten(1) + images.flip(3)[..., :4].flatten(1)
    found = FlipAveraged(LeftHalf()).embed(images)
    assert torch.allclose(found, both / both.norm(dim=1, keepdim=True), atol=1e-6)
    units = LeftHalf().embed(images) + LeftHalf().embed(images.flip(3))
    assert (found - torch.nn.functional.normalize(units)).abs().max() > 0.01, "the longer one weighs more"


def test_that_a_mirror_image_has_the_embedding_of_its_image() -> None:
    recognizer, images = FlipAveraged(LeftHalf()), pictures()
    assert torch.equal(recognizer.embed(images), recognizer.embed(images.flip(3)))


def test_that_the_attacker_differentiates_through_both() -> None:
    images = pictures().requires_grad_(True)
    (slope,) = torch.autograd.grad(FlipAveraged(LeftHalf()).embed(images)[:, 0].sum(), images)
    assert (slope[..., :4] != 0).any() and (slope[..., 4:] != 0).any()


def test_that_it_is_another_recognizer_than_the_one_inside() -> None:
    inside, other = LeftHalf(), LeftHalf(digest="1" * 64)
    whole = FlipAveraged(inside)
    assert whole.name == "flip_averaged(left half)"
    assert len({whole.digest, inside.digest, FlipAveraged(other).digest}) == 3
    assert fingerprint(whole) == fingerprint(FlipAveraged(inside)) != fingerprint(FlipAveraged(other))
    assert fingerprint(CosineVerifier(whole)) != fingerprint(CosineVerifier(inside))


def test_that_one_without_a_recognizer_says_how_to_name_it() -> None:
    for use in (lambda each: each.name, lambda each: each.digest, lambda each: each.embed(pictures())):
        with pytest.raises(FrbenchError, match=r"\+recognizer@recognizer.recognizer=NAME") as error:
            use(FlipAveraged())
        assert "\n" not in str(error.value)


def test_that_a_recognizer_of_unit_vectors_alone_is_refused(linear: Callable) -> None:
    with pytest.raises(FrbenchError, match="gives none such"):
        FlipAveraged(replace(linear(), name="units")).embed(pictures())


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["recognizer=flip_averaged", "+recognizer@recognizer.recognizer=tiny"], {"recognizer": "flip_averaged(tiny)"}),
        (
            ["threat=transfer", f"{AT}=flip_averaged", f"+{AT}.recognizer=iresnet18"],
            {"recognizer": "tiny", "surrogate": "flip_averaged(iresnet18)"},
        ),
        (
            [
                "recognizer=ensemble",
                "+recognizer@recognizer.members.a=tiny",
                "+recognizer@recognizer.members.b=flip_averaged",
                "+recognizer@recognizer.members.b.recognizer=tiny",
            ],
            {"recognizer": "ensemble(flip_averaged(tiny)+tiny)"},
        ),
    ],
)
def test_that_a_cell_names_the_recognizer_inside_once(words: list[str], names: dict[str, str], tmp_path: Path) -> None:
    cell = composed_cell([*words, f"paths.results={tmp_path}"])
    groups = {noun: cell_labels.SURROGATE if noun == "surrogate" else noun for noun in names}
    assert {noun: cell_labels.option_name(cell.choices, at) for noun, at in groups.items()} == names
    assert not cell.settings


def test_that_its_name_needs_no_file() -> None:
    """So that what is wrong with a file is told of the recognizer that is used, and not of its label."""
    absent = TorchRecognizer("absent", TinyNet, "nowhere/absent.safetensors")
    assert FlipAveraged(absent).name == "flip_averaged(absent)"
    with pytest.raises(FrbenchError, match="absent.safetensors does not exist"):
        FlipAveraged(absent).embed(pictures())


def test_that_the_shipped_recognizer_is_asked_about_mirror_images_too() -> None:
    import hydra

    with hydra.initialize_config_module("frbench.conf", version_base="1.3"):
        words = ["recognizer=flip_averaged", "+recognizer@recognizer.recognizer=tiny", "device=cpu"]
        config = resolution.plain(hydra.compose("run", words))
    whole: Recognizer = build.instantiate(config["recognizer"], "recognizer")
    images = torch.rand(3, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    assert isinstance(whole, FlipAveraged) and whole.recognizer is not None
    assert torch.allclose(whole.embed(images), whole.embed(images.flip(3)), atol=1e-5)
    assert (whole.recognizer.embed(images) - whole.recognizer.embed(images.flip(3))).abs().max() > 1e-3
    assert whole.min_clean_accuracy == {"synthetic": 95}
