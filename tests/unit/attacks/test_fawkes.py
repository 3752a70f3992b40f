"""Fawkes: its optimizer, its schedule, what it makes of an image, and whether batches matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest
import torch

from frbench.attacks.components.cloak_optimization import Adadelta, from_tanh, to_tanh
from frbench.attacks.fawkes import Fawkes, rescheduled
from frbench.attacks.fawkes_v03 import FawkesTargeted
from frbench.datasets.cloak_targets import distant_target
from frbench.harness.core.contracts import Images, View
from frbench.harness.core.errors import Refused
from frbench.harness.core.face_data import PairBatch
from frbench.harness.core.quantization import quantize
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.metrics.perturbation import StructuralSimilarity
from frbench.harness.recognizers.architectures.mobilefacenet import MobileFaceNet
from frbench.harness.recognizers.architectures.tiny import TinyNet
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer
from frbench.harness.threat_model.budgets import Unbounded
from frbench.harness.threat_model.goals import Cloak, Dodging

TINY = TorchRecognizer("tiny", TinyNet, "pkg:tiny.safetensors", mean=0.5, std=0.5)


def photos(count: int = 4, side: int = 112, seed: int = 0) -> Images:
    """Smooth 8-bit fields that reach neither black nor white."""
    coarse = torch.rand(count, 3, side // 8, side // 8, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)
    return ((0.2 + 0.6 * smooth) * 255).round() / 255


def cloaking(images: Images, decoys: Images | None = None) -> PairBatch:
    index = torch.arange(len(images))
    decoys = images.flip(0) if decoys is None else decoys
    return PairBatch(images, images, decoys, torch.ones(len(images), dtype=torch.bool), index, index)


def through(recognizer: Any, count: int = 64) -> View:
    return View(CosineVerifier(recognizer), torch.full((count,), 0.3))


def cosines(recognizer: Any, images: Images, others: Images) -> torch.Tensor:
    with torch.no_grad():
        return (recognizer.embed(images) * recognizer.embed(others)).sum(dim=1)


def test_that_adadelta_is_that_of_pytorch_and_of_its_paper_for_twenty_steps() -> None:
    generator = torch.Generator().manual_seed(0)
    place = torch.randn(3, 5, generator=generator)
    theirs, ours = place.clone().requires_grad_(True), place.clone()
    library, own = torch.optim.Adadelta([theirs], lr=15.0, rho=0.95, eps=1e-7), Adadelta(place)
    number, squares, moves = float(place[1, 2]), 0.0, 0.0
    for _ in range(20):
        slope = torch.randn(3, 5, generator=generator)
        theirs.grad = slope.clone()
        library.step()
        own.step(ours, slope, 15.0)
        one = float(slope[1, 2])
        squares = 0.95 * squares + 0.05 * one**2
        move = ((moves + 1e-7) / (squares + 1e-7)) ** 0.5 * one
        moves = 0.95 * moves + 0.05 * move**2
        number -= 15.0 * move
    assert torch.allclose(ours, theirs, rtol=1e-5)
    assert float(ours[1, 2]) == pytest.approx(number, rel=1e-4)


def test_that_the_optimizer_starts_again_after_the_first_step_of_fawkes_and_signs_are_added(linear: Callable) -> None:
    """Two steps of the attack are two first steps of Adadelta, with one kick between them."""
    pairs, seen, slopes = cloaking(photos(2, 16)), [], []

    class Noting:
        name, differentiable, digest = "noting", True, "noting"

        def embed(self, images: Images) -> torch.Tensor:
            if images.requires_grad:
                seen.append(images.detach().double())
                images.register_hook(lambda slope: slopes.append(slope.double()))
            return linear(16).embed(images)

    Fawkes(steps=3, penalty_weight=0.0, max_pixel_change=255.0, rounding="none")(
        through(Noting()), pairs, Cloak(), Unbounded()
    )
    tanh = [(2 - 1e-6) * (images - 0.5) for images in seen]
    first, second, third = (torch.atanh(each) for each in tanh)
    by_place = [slope * (1 - each.square()) / (2 - 1e-6) for slope, each in zip(slopes, tanh, strict=True)]

    def fresh(slope: torch.Tensor) -> torch.Tensor:
        return 15.0 * (1e-7 / (0.05 * slope.square() + 1e-7)).sqrt() * slope

    assert torch.allclose(second - first, -fresh(by_place[0]) - 0.01 * by_place[0].sign(), atol=2e-5)
    assert torch.allclose(third - second, -fresh(by_place[1]), atol=2e-5)
    assert fresh(by_place[1]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("seen", "weights", "courses"),
    [
        ([0.5] * 10, [2, 4, 8, 16, 32, 64, 128, 256, 1, 2], [1, 1, 1, 1, 1, 1, 1, 1, 0, 1]),
        ([2.0] * 10, [1, 0.5, 0.25, 2**-3, 2**-4, 2**-5, 2**-6, 2**-7, 2**-8, 1], [-1] * 9 + [0]),
        ([1.0, 1.0], [1, 1], [0, 0]),
        ([0.5, 0.5, 2.0, 2.0, 2.0, 0.5, 0.5], [2, 4, 1, 0.5, 0.25, 1, 2], [1, 1, -1, -1, -1, 1, 1]),
        ([0.5, 0.5, 1.0, 2.0, 1.0, 0.5], [2, 4, 1, 0.5, 1, 2], [1, 1, 0, -1, 0, 1]),
        ([0.9, 0.901, 1.099, 1.1], [2, 1, 1, 0.5], [1, 0, 0, -1]),
    ],
    ids=["under", "over", "dead band", "crossing", "through the dead band", "edges"],
)
def test_that_the_weight_follows_the_published_schedule(
    seen: list[float], weights: list[float], courses: list[float]
) -> None:
    """In thresholds; two images side by side, the other always in the dead band."""
    weight, course, threshold = torch.ones(2), torch.ones(2), 2.0**-6
    found = []
    for dissimilar in seen:
        weight, course = rescheduled(torch.tensor([dissimilar, 1.0]) * threshold, threshold, weight, course)
        found.append((float(weight[0]), float(course[0])))
        assert (float(weight[1]), float(course[1])) == (1.0, 0.0)
    assert found == list(zip(map(float, weights), map(float, courses), strict=True))


def test_that_tanh_space_gives_images_back_and_holds_black_and_white() -> None:
    levels = torch.arange(256) / 255
    assert torch.allclose(from_tanh(to_tanh(levels)), levels, atol=2e-7)
    moved = from_tanh(to_tanh(levels) + 0.5) - levels
    assert moved[0] < 1e-5
    assert moved[128] > 0.2


def test_that_a_file_truncates_or_rounds_to_whole_levels() -> None:
    images = torch.tensor([-1.0, 0.0, 0.999, 10.4, 10.6, 254.9, 255.0, 300.0]) / 255
    assert (quantize(images, "truncate") * 255).round().tolist() == [0, 0, 0, 10, 10, 254, 255, 255]
    assert (quantize(images, "nearest") * 255).round().tolist() == [0, 0, 1, 10, 11, 255, 255, 255]
    assert torch.equal(quantize(images, "none"), images.clamp(0, 1))


@pytest.mark.parametrize(
    "attack",
    [Fawkes(steps=25, rounding="none"), FawkesTargeted(steps=15, rounding="none")],
    ids=["v1.0", "v0.3"],
)
def test_that_a_photo_is_cloaked_alike_in_any_company(attack: Fawkes | FawkesTargeted) -> None:
    pairs, look = cloaking(photos(5)), through(TINY)
    together = attack(look, pairs, Cloak(), Unbounded())
    alone = [attack(look, pairs[slice(i, i + 1)], Cloak(), Unbounded()).images for i in range(5)]
    assert torch.allclose(together.images, torch.cat(alone), atol=1e-4)
    assert not bool(together.achieved.any())
    assert together.iterations.tolist() == [attack.steps] * 5


def test_that_images_end_at_the_budget_under_the_cap_in_whole_levels_and_further_off_than_by_noise() -> None:
    pairs, attack = cloaking(photos(3)), Fawkes(threshold=0.004, steps=40, lr=25.0)
    found = attack(through(TINY), pairs, Cloak(), Unbounded()).images
    levels = (found - pairs.probe) * 255
    assert torch.allclose(levels, levels.round(), atol=1e-3)
    assert levels.abs().max() <= 16.001
    assert levels.abs().max() > 10
    dissimilar = StructuralSimilarity(pairs.probe).dssim(found)
    assert bool((dissimilar < 1.15 * 0.004).all())
    assert bool((dissimilar > 0.5 * 0.004).all())
    signs = torch.randn(levels.shape, generator=torch.Generator().manual_seed(0)).sign()
    noisy = pairs.probe + signs * levels.abs().mean(dim=(1, 2, 3), keepdim=True) / 255
    assert bool((1 - cosines(TINY, found, pairs.probe) > 5 * (1 - cosines(TINY, noisy, pairs.probe))).all())


def test_that_a_view_of_nothing_keeps_the_photo_but_for_what_truncation_takes(saturated: Any) -> None:
    pairs = cloaking(photos(2, 16))
    found = Fawkes(steps=5)(through(saturated), pairs, Cloak(), Unbounded())
    assert (found.images - pairs.probe).abs().max() <= 1.01 / 255


def test_that_a_pixel_at_the_cap_stays_but_where_its_gradient_is_let_through(linear: Callable) -> None:
    pairs, options = (
        cloaking(photos(2, 16)),
        {"steps": 30, "penalty_weight": 0.0, "max_pixel_change": 1.0, "rounding": "none"},
    )
    held, let = (
        Fawkes(straight_through=through_cap, **options)(through(linear(16)), pairs, Cloak(), Unbounded()).images
        for through_cap in (False, True)
    )
    for found in (held, let):
        assert (found - pairs.probe).abs().max() <= 1.001 / 255
    assert bool((cosines(linear(16), let, pairs.probe) < cosines(linear(16), held, pairs.probe)).all())


def test_that_patience_lets_images_leave_one_by_one_and_keeps_what_they_had() -> None:
    pairs, look = cloaking(photos(4)), through(TINY)
    whole = Fawkes(steps=60, rounding="none")
    brief = replace(whole, patience=6)
    found = brief(look, pairs, Cloak(), Unbounded())
    assert int(found.iterations.min()) < 60
    assert bool((found.iterations % 6 == 0).all())
    for row, steps in enumerate(found.iterations.tolist()):
        alone = replace(whole, steps=steps)(look, pairs[slice(row, row + 1)], Cloak(), Unbounded()).images
        assert torch.allclose(found.images[row], alone[0], atol=1e-4)


def test_that_the_last_image_is_kept_where_the_best_is_hardly_moved() -> None:
    """Where the best distance is under 0.3, the last DSSIM under 0.015 and the last distance greater."""
    active = SimpleNamespace(
        best=torch.tensor([0.2, 0.2, 0.2, 0.4]),
        dissimilar=torch.tensor([0.014, 0.016, 0.014, 0.014]),
        distance=torch.tensor([0.5, 0.5, 0.1, 0.5]),
        last=torch.ones(4, 3, 2, 2),
        furthest=torch.zeros(4, 3, 2, 2),
    )
    found = Fawkes(0.017, 150, 15.0)._chosen(active)  # type: ignore[arg-type]
    assert found[:, 0, 0, 0].tolist() == [1, 0, 0, 0]


def test_that_the_targeted_cloak_slows_down_in_thirds(linear: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    rates, step = [], Adadelta.step

    def noted(self: Adadelta, place: torch.Tensor, slope: torch.Tensor, rate: float) -> None:
        rates.append(rate)
        step(self, place, slope, rate)

    monkeypatch.setattr(Adadelta, "step", noted)
    FawkesTargeted(steps=6, lr=10.0)(through(linear(16)), cloaking(photos(2, 16)), Cloak(), Unbounded())
    assert rates == pytest.approx([10, 10, 8, 8, 6.4, 6.4])


def test_that_nobody_to_aim_at_is_refused(linear: Callable) -> None:
    images = photos(4, 16)
    alone = cloaking(images, images)
    for pairs in (alone, alone[torch.tensor([0, 2])]):
        with pytest.raises(Refused, match="resemble another person's, and there is none here"):
            FawkesTargeted(steps=2)(through(linear(16)), pairs, Cloak(), Unbounded())


def test_that_two_extractors_weigh_twice_as_much_against_the_penalty(linear: Callable) -> None:
    pairs, look = cloaking(photos(2, 16)), through(linear(16))
    one, two, half = (
        Fawkes(steps=20, extractors=count, penalty_weight=sd, rounding="none")(look, pairs, Cloak(), Unbounded()).images
        for count, sd in ((1, 1e4), (2, 1e4), (2, 2e4))
    )
    assert not torch.allclose(one, two, atol=1e-3)
    assert (one - half).abs().mean() < (one - two).abs().mean()


def test_that_the_targeted_cloak_comes_nearer_to_its_decoy_and_leaves_itself(linear: Callable) -> None:
    recognizer, pairs = linear(16), cloaking(photos(3, 16), photos(3, 16, seed=5))
    found = FawkesTargeted(threshold=1.0, steps=300, rounding="none")(through(recognizer), pairs, Cloak(), Unbounded())
    own, decoy = recognizer.embed(pairs.probe), recognizer.embed(pairs.decoy)
    target = torch.nn.functional.normalize(2 * decoy - own)
    aimed = (recognizer.embed(found.images) * target).sum(dim=1)
    assert bool((aimed > 0.95).all()), aimed
    assert bool((cosines(recognizer, found.images, pairs.probe) < cosines(recognizer, pairs.decoy, pairs.probe)).all())


def test_that_the_gap_from_cosines_is_the_gap_between_features(linear: Callable) -> None:
    from frbench.attacks.fawkes_v03 import _TargetDistance

    recognizer, pairs = linear(16), cloaking(photos(3, 16), photos(3, 16, seed=5))
    images = photos(3, 16, seed=7)
    gap = _TargetDistance.between(through(recognizer), pairs, Dodging().target(pairs)).of(images, 0)
    target = 2 * recognizer.embed(pairs.decoy) - recognizer.embed(pairs.probe)
    assert torch.allclose(gap, (target - recognizer.embed(images)).norm(dim=1) / target.norm(dim=1), atol=1e-5)


def test_that_the_target_is_uniform_among_the_farthest_classes() -> None:
    """Classes on a line, photos at 0 and 10: from 0 to 100, the farthest three are 98, 99 and 100."""
    means, generator = torch.arange(101.0)[:, None], torch.Generator().manual_seed(0)
    drawn = [distant_target(torch.tensor([[0.0], [10.0]]), means, generator, top_k=3) for _ in range(300)]
    assert set(drawn) == {98, 99, 100}
    assert min(drawn.count(each) for each in (98, 99, 100)) > 70
    assert distant_target(torch.zeros(1, 1), means[:2], generator) in (0, 1)


def spectrum(change: Images) -> tuple[float, float]:
    """Median shares of energy below a quarter and above a half of the highest frequency."""
    power = torch.fft.fft2(change).abs().square().sum(dim=1)
    line = torch.fft.fftfreq(change.shape[-1]).abs() * 2
    radius = (line[:, None].square() + line[None, :].square()).sqrt()
    whole = power.sum(dim=(1, 2))
    return tuple(float(((power * part).sum(dim=(1, 2)) / whole).median()) for part in (radius < 0.25, radius > 0.5))  # type: ignore[return-value]


@pytest.mark.realdata
def test_that_mode_high_on_real_faces_has_the_figures_of_the_published_cloaks(real_data: Path) -> None:
    """Of 185 cloaks made with the original weights: DSSIM .0155 to .0212, L-inf 16, RMS 6.7, shares .29 and .39."""
    files = [real_data / f"cfp/aligned_112/{person:03d}/frontal/01.jpg" for person in range(1, 4)]
    faces = torch.stack([torch.from_numpy(cv2.imread(str(file))[:, :, ::-1].copy()) for file in files])
    pairs = cloaking(faces.permute(0, 3, 1, 2).float() / 255)
    weights = str(real_data / "models/foamliu_mobilefacenet.pt")
    network = TorchRecognizer("f", MobileFaceNet, weights, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    found = Fawkes()(through(network), pairs, Cloak(), Unbounded()).images
    dissimilar = StructuralSimilarity(pairs.probe).dssim(found)
    assert float(((dissimilar >= 0.9 * 0.017) & (dissimilar <= 1.1 * 0.017)).float().mean()) >= 0.95
    assert float((found - pairs.probe).abs().max()) * 255 <= 16.001
    low, high = spectrum(found - pairs.probe)
    assert 0.2 < low < 0.45
    assert 0.25 < high < 0.5
    assert float(cosines(network, found, pairs.probe).median()) < 0
