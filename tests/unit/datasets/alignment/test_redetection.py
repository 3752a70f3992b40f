"""Faces detected and aligned anew: with a detector whose answers are known, and with YuNet on real faces."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from frbench.datasets.alignment.align import TEMPLATE, Detect, Faces, YuNet
from frbench.datasets.alignment.redetection import Redetected
from frbench.datasets.identity_folders import IdentityFolders
from frbench.harness.config import build
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.fingerprints import describe, fingerprint
from frbench.harness.images.postprocessing import Png
from frbench.harness.recognizers.architectures.mobilefacenet import MobileFaceNet
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer

pytest.importorskip("cv2")
PASSES = [{"max_side": side, "min_score": 0.6} for side in (0, 640, 320)]  # those of conf/protocol/verification.yaml


@dataclass(frozen=True)
class Pointing:
    """A detector that sees what it is told: ``see(canvas)`` gives landmarks or None."""

    see: Callable[[np.ndarray], np.ndarray | None]

    def load(self) -> Detect:
        def detect(canvas: np.ndarray) -> Faces:
            landmarks = self.see(canvas)
            if landmarks is None:
                return Faces(np.zeros((0, 4)), np.zeros((0, 5, 2)))
            return Faces(np.array([[60.0, 60.0, 90.0, 90.0]]), landmarks[None])

        return detect


def pictures(count: int = 3) -> torch.Tensor:
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(count, 3, 112, 112)), (0, 0, 3, 3))
    return torch.from_numpy((noise - noise.min()) / (noise.max() - noise.min())).float()


def redetected(see: Callable[[np.ndarray], np.ndarray | None], margin: float = 0.5) -> Redetected:
    return Redetected(Pointing(see), margin)  # type: ignore[arg-type]


@pytest.mark.parametrize("margin", [0.0, 0.25, 0.5])
def test_that_a_face_seen_where_it_is_comes_back_as_it_was_with_eight_bits(margin: float) -> None:
    around = round(112 * margin)
    arrived = redetected(lambda canvas: TEMPLATE + around, margin)(pictures())
    assert arrived.found.tolist() == [True] * 3
    assert torch.equal(arrived.images, Png()(pictures()).images)


def test_that_the_detector_sees_the_crop_in_bgr_inside_its_own_repeated_border() -> None:
    seen = []
    redetected(lambda canvas: seen.append(canvas.copy()))(pictures())  # type: ignore[func-returns-value]
    pixels = (Png()(pictures()).images[1] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()[:, :, ::-1]
    assert seen[1].shape == (224, 224, 3)
    assert np.array_equal(seen[1][56:168, 56:168], pixels)
    assert (seen[1][:56, :56] == pixels[0, 0]).all()
    assert np.array_equal(seen[1][56:168, 200], pixels[:, -1])


def test_that_a_face_seen_elsewhere_is_brought_to_its_place() -> None:
    arrived = redetected(lambda canvas: TEMPLATE + 56 + np.array([5, 8]))(pictures()).images
    assert torch.equal(arrived[:, :, :104, :107], Png()(pictures()).images[:, :, 8:, 5:])


def test_that_images_without_a_face_are_counted_and_stay_as_they_were() -> None:
    calls = iter([TEMPLATE + 56 + 3, None, TEMPLATE + 56])
    arrived = redetected(lambda canvas: next(calls))(pictures())
    assert arrived.found.tolist() == [True, False, True]
    assert torch.equal(arrived.images[1], pictures()[1])
    assert not torch.equal(arrived.images[0], pictures()[0])


def test_that_of_several_faces_the_most_prominent_is_taken() -> None:
    @dataclass(frozen=True)
    class Crowd:
        def load(self) -> Detect:
            boxes = np.array([[0.0, 0.0, 50.0, 50.0], [62.0, 62.0, 100.0, 100.0]])
            return lambda canvas: Faces(boxes, np.stack([TEMPLATE, TEMPLATE + 56]))

    arrived = Redetected(Crowd())(pictures())  # type: ignore[arg-type]
    assert torch.equal(arrived.images, Png()(pictures()).images)


def test_that_a_missing_detector_is_told_in_one_line_when_it_is_asked(tmp_path: Path) -> None:
    way = Redetected(YuNet(tmp_path / "absent.onnx"))
    with pytest.raises(FrbenchError, match=r"absent\.onnx: the face detector is not there; run: frbench data") as error:
        way(pictures())
    assert "\n" not in str(error.value)


def test_that_missing_opencv_is_told_in_one_line_when_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(FrbenchError, match=r"needs OpenCV .* pip install"):
        Redetected(YuNet("any.onnx"))(pictures())


def test_that_it_is_known_by_the_detector_and_the_margin_and_not_by_paths(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").write_bytes(b"weights")
    (tmp_path / "else.onnx").write_bytes(b"other weights")
    way = Redetected(YuNet(tmp_path / "one" / "model.onnx"))
    assert fingerprint(way) == fingerprint(Redetected(YuNet(str(tmp_path / "other" / "model.onnx"))))
    assert str(tmp_path) not in str(describe(way))
    others = [
        Redetected(YuNet(tmp_path / "else.onnx")),
        Redetected(YuNet(tmp_path / "absent.onnx")),
        Redetected(YuNet(tmp_path / "one" / "model.onnx", passes=[{"max_side": 0, "min_score": 0.5}])),
        Redetected(way.detector, margin=0.25),
    ]
    assert len({fingerprint(each) for each in [way, *others]}) == 5


def test_that_it_is_built_from_a_config_as_the_protocol_has_it() -> None:
    model = "no_data/models/yunet_n_640_640.onnx"
    detector = {"_target_": "frbench.datasets.alignment.align.YuNet", "model": model, "passes": PASSES}
    config = {"_target_": "frbench.datasets.alignment.redetection.Redetected", "detector": detector, "margin": 0.5}
    way, again = (build.instantiate(config, "protocol.postprocessing.redetected") for _ in range(2))
    assert way == again
    assert fingerprint(way) == fingerprint(again) == fingerprint(Redetected(YuNet(model, PASSES), 0.5))


@pytest.fixture(scope="module")
def real(real_data: Path, image_cache: Path) -> tuple[Redetected, torch.Tensor]:
    people = IdentityFolders(name="celeba", root=real_data / "celeba" / "aligned_112", limit_people=40)
    faces = people.open(image_cache)
    rows = np.linspace(0, len(faces.images) - 1, 40).astype(int)
    return Redetected(YuNet(real_data / "models" / "yunet_n_640_640.onnx", PASSES)), faces.load(rows)


@pytest.mark.realdata
def test_that_real_faces_are_found_again_and_are_still_themselves(
    real: tuple[Redetected, torch.Tensor], real_data: Path
) -> None:
    way, images = real
    weights = str(real_data / "models" / "foamliu_mobilefacenet.pt")
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    recognizer = TorchRecognizer("foamliu", MobileFaceNet, weights, mean=mean, std=std)
    arrived = way(images)
    assert arrived.found.float().mean() >= 0.97
    with torch.no_grad():
        cosines = (recognizer.embed(arrived.images) * recognizer.embed(images)).sum(dim=1)
    assert cosines.mean() > 0.9
    assert cosines.quantile(0.1) > 0.8


@pytest.mark.realdata
def test_that_real_faces_are_found_alike_alone_and_in_company(real: tuple[Redetected, torch.Tensor]) -> None:
    way, images = real[0], real[1][:4]
    together: Any = way(images)
    alone = [way(images[i : i + 1]) for i in (3, 2, 1, 0)]
    assert torch.equal(together.images, torch.cat([each.images for each in reversed(alone)]))
    assert torch.equal(together.found, torch.cat([each.found for each in reversed(alone)]))


@pytest.mark.realdata
def test_that_no_face_is_found_where_there_is_none(real: tuple[Redetected, torch.Tensor], tmp_path: Path) -> None:
    way = real[0]
    noise = torch.rand(1, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    images = torch.cat([torch.full((1, 3, 112, 112), 0.5), noise])
    arrived = way(images)
    assert not arrived.found.any()
    assert torch.equal(arrived.images, images)
    shutil.copyfile(way.detector.model, tmp_path / "elsewhere.onnx")
    assert fingerprint(way) == fingerprint(Redetected(YuNet(tmp_path / "elsewhere.onnx", PASSES)))
