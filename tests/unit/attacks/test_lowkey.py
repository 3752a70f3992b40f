"""LowKey and what it holds images back by: bounds, slopes against a closed form, LPIPS written out plainly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from frbench.attacks.components.perceptual_distance import (
    DistanceToClean,
    Lpips,
    StageFeatureDistance,
    concatenated,
    directions,
    first_layers,
)
from frbench.attacks.lowkey import LowKey
from frbench.harness.core.contracts import Images, View
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import PairBatch
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.recognizers.architectures.tiny import TinyNet
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer
from frbench.harness.threat_model.budgets import Unbounded
from frbench.harness.threat_model.goals import Cloak

TINY = TorchRecognizer("tiny", TinyNet, "pkg:tiny.safetensors", mean=0.5, std=0.5)
STAGES = ("features.3", "features.7")


def photos(count: int = 4, side: int = 112, seed: int = 0) -> Images:
    coarse = torch.rand(count, 3, side // 8, side // 8, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)
    return (smooth * 255).round() / 255


def cloaking(images: Images) -> PairBatch:
    index = torch.arange(len(images))
    return PairBatch(images, images, images, torch.ones(len(images), dtype=torch.bool), index, index)


def through(recognizer: Any, count: int = 64) -> View:
    return View(CosineVerifier(recognizer), torch.full((count,), 0.3))


@dataclass(frozen=True)
class Nothing:
    """No regulariser."""

    def to(self, clean: Images) -> DistanceToClean:
        return lambda images: 0 * images.flatten(1)[:, 0]


@dataclass(frozen=True)
class Distance:
    """Half the squared Euclidean distance, whose slope is the change itself."""

    def to(self, clean: Images) -> DistanceToClean:
        return lambda images: (images - clean).flatten(1).square().sum(dim=1) / 2


def trunk() -> nn.Sequential:
    """The convolutions of AlexNet in torchvision's order, at random."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Both files of LPIPS as they are published, with random numbers in them."""
    folder = tmp_path_factory.mktemp("lpips")
    state = {f"features.{name}": value for name, value in trunk().state_dict().items()}
    torch.save(state | {"classifier.6.bias": torch.zeros(1000)}, folder / "alexnet.pth")
    widths = (64, 192, 384, 256, 256)
    lins = {f"lin{i}.model.1.weight": torch.rand(1, width, 1, 1) for i, width in enumerate(widths)}
    torch.save(lins, folder / "lins.pth")
    return folder / "alexnet.pth", folder / "lins.pth"


def plain_lpips(files: tuple[Path, Path], one: Images, other: Images) -> Tensor:
    """Layer by layer, image by image."""
    lins = torch.load(files[1], weights_only=True)
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    found = []
    for pair in zip(one, other, strict=True):
        taps: list[list[Tensor]] = []
        for image in pair:
            at = ((2 * image - 1 - shift[:, None, None]) / scale[:, None, None])[None]
            taps.append([])
            for layer in trunk():
                at = layer(at)
                if isinstance(layer, nn.ReLU):
                    taps[-1].append(at / (at.norm(dim=1, keepdim=True) + 1e-10))
        parts = [
            nn.functional.conv2d((mine - yours) ** 2, lins[f"lin{i}.model.1.weight"]).mean()
            for i, (mine, yours) in enumerate(zip(*taps, strict=True))
        ]
        found.append(sum(parts, start=torch.zeros(())))
    return torch.stack(found)


def test_that_lpips_is_that_of_its_paper_for_each_image(files: tuple[Path, Path]) -> None:
    clean, images = photos(3), (photos(3) + 0.1 * torch.rand(3, 3, 112, 112)).clamp(0, 1)
    differing = Lpips(str(files[0]), str(files[1])).to(clean)
    found = differing(images)
    with torch.no_grad():
        assert torch.allclose(found, plain_lpips(files, clean, images), rtol=1e-4)
    assert found.shape == (3,)
    assert float(found.min()) > 1e-3
    assert torch.equal(differing(clean), torch.zeros(3))


@pytest.mark.parametrize("kind", ["lpips", "stages"])
def test_that_permuting_a_batch_permutes_what_differs_and_its_slopes(kind: str, files: tuple[Path, Path]) -> None:
    distance = Lpips(str(files[0]), str(files[1])) if kind == "lpips" else StageFeatureDistance(TINY, STAGES)
    clean, images = photos(5), photos(5, seed=1)
    order = torch.tensor([3, 1, 4, 0, 2])

    def slopes(rows: Tensor) -> tuple[Tensor, Tensor]:
        moving = images[rows].clone().requires_grad_(True)
        found = distance.to(clean[rows])(moving)
        return found.detach(), torch.autograd.grad(found.sum(), moving)[0]

    for one, other in zip(slopes(torch.arange(5)), slopes(order), strict=True):
        assert torch.allclose(one[order], other, atol=1e-6)
    alone = torch.cat([slopes(torch.tensor([row]))[0] for row in range(5)])
    assert torch.allclose(alone, slopes(torch.arange(5))[0], atol=1e-6)


def test_that_the_stages_are_those_of_the_network_as_shipped() -> None:
    clean, images = photos(2), photos(2, seed=1)
    network = TINY.as_shipped()
    with torch.no_grad():
        wanted = torch.zeros(2)
        for end in (4, 8):
            seen = [nn.functional.normalize(network.features[:end](2 * each - 1), dim=1) for each in (clean, images)]  # type: ignore[index]
            wanted += (seen[0] - seen[1]).square().sum(dim=1).mean(dim=(1, 2))
        found = StageFeatureDistance(TINY, STAGES).to(clean)(images)
    assert torch.allclose(found, wanted, rtol=1e-4)
    with pytest.raises(FrbenchError, match="TinyNet has no layer stem; use features.0") as error:
        first_layers(network, ["stem"])
    assert "\n" not in str(error.value)


def test_that_where_there_are_no_features_there_is_no_direction_and_no_nan() -> None:
    features = torch.zeros(1, 4, 2, 2, requires_grad=True)
    found = concatenated([directions(features)])
    (slope,) = torch.autograd.grad(found.square().sum(), features)
    assert torch.equal(found, torch.zeros(1, 16))
    assert bool(torch.isfinite(slope).all())


def test_that_missing_or_other_weights_are_told_in_one_line(files: tuple[Path, Path], tmp_path: Path) -> None:
    attack = LowKey(Lpips(str(tmp_path / "none.pth"), str(files[1])))
    for use in (
        lambda: attack(through(TINY), cloaking(photos(1)), Cloak(), Unbounded()),
        lambda: fingerprint(attack),
    ):
        with pytest.raises(FrbenchError, match="attack=lowkey_proxy_lpips") as error:
            use()
        assert "\n" not in str(error.value)
    with pytest.raises(FrbenchError, match="holds nothing as features.0.weight"):
        Lpips(str(files[1]), str(files[1])).to(photos(1))
    with pytest.raises(FrbenchError, match="sides of at least 31"):
        Lpips(str(files[0]), str(files[1])).to(photos(1, 16))


def test_that_weights_are_known_by_their_bytes_and_not_by_their_place(files: tuple[Path, Path], tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.pth"
    moved.write_bytes(files[0].read_bytes())
    one, same = LowKey(Lpips(*map(str, files))), LowKey(Lpips(str(moved), str(files[1])))
    assert fingerprint(one) == fingerprint(same) != fingerprint(LowKey(Lpips(str(files[1]), str(files[1]))))


def test_that_no_value_moves_further_than_the_steps_and_the_start(linear: Callable) -> None:
    pairs = cloaking(photos(3, 16))
    found = LowKey(Nothing())(through(linear(16)), pairs, Cloak(), Unbounded())
    change = (found.images - pairs.probe).abs()
    assert 0.12 < float(change.max()) <= 0.13 + 1 / 255
    levels = found.images * 255
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    assert found.iterations.tolist() == [50] * 3
    assert not bool(found.achieved.any())


def test_that_a_step_is_the_sign_of_the_slope_of_the_published_objective(linear: Callable) -> None:
    """Worked out from features in double precision: sharp and smoothed, over 512, less the weighted difference."""
    from kornia.filters import gaussian_blur2d

    recognizer, pairs = linear(16), cloaking(photos(2, 16) * 0.6 + 0.2)
    options = {"perceptual_distance": Distance(), "weight": 0.003, "rounding": "none"}
    start = LowKey(**options, steps=0)(through(recognizer), pairs, Cloak(), Unbounded()).images.double()
    after = LowKey(**options, steps=1)(through(recognizer), pairs, Cloak(), Unbounded()).images.double()
    assert 0.004 < float((start - pairs.probe).abs().max()) <= 0.005
    moving, weight = start.clone().requires_grad_(True), recognizer.weight.double()

    def features(images: Tensor) -> Tensor:
        return nn.functional.normalize((images - 0.5).flatten(1) @ weight)

    clean = features(pairs.probe.double())
    line = torch.exp(-(torch.arange(-3, 4).double() ** 2) / 18)
    kernel = (line[:, None] * line) / line.sum() ** 2
    padded = nn.functional.pad(moving, (3, 3, 3, 3), mode="reflect")
    smooth = nn.functional.conv2d(padded, kernel.expand(3, 1, 7, 7), groups=3)
    assert torch.allclose(smooth, gaussian_blur2d(moving, (7, 7), (3.0, 3.0), "reflect"), atol=1e-6)
    apart = [((features(each) - clean) ** 2).sum(dim=1) / 512 for each in (moving, smooth)]
    objective = (apart[0] + apart[1]) / 2 - 0.003 * (moving - pairs.probe.double()).flatten(1).square().sum(dim=1) / 2
    (slope,) = torch.autograd.grad(objective.sum(), moving)
    clear = slope.abs() > 1e-3 * slope.abs().max()
    assert clear.float().mean() > 0.9
    assert torch.allclose((after - start)[clear], 0.0025 * slope.sign()[clear], atol=1e-6)


def test_that_a_photo_is_cloaked_alike_in_any_company() -> None:
    pairs, attack = cloaking(photos(5)), LowKey(StageFeatureDistance(TINY, STAGES), steps=12, rounding="none")
    together = attack(through(TINY), pairs, Cloak(), Unbounded()).images
    alone = [attack(through(TINY), pairs[slice(i, i + 1)], Cloak(), Unbounded()).images for i in range(5)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-4)


def test_that_the_likeness_holds_the_image_back(files: tuple[Path, Path]) -> None:
    pairs, looks = cloaking(photos(2)), through(TINY)
    for distance in (Lpips(*map(str, files)), StageFeatureDistance(TINY, STAGES)):
        free, held = (
            LowKey(distance, weight=weight, steps=15)(looks, pairs, Cloak(), Unbounded()).images
            for weight in (0.0, 1.0)
        )
        differing = distance.to(pairs.probe)
        assert bool((differing(held) < 0.5 * differing(free)).all())
