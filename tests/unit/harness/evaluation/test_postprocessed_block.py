"""Blocks of images after post-processing: equal to the transforms themselves, with faces located once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from frbench.datasets.alignment.align import TEMPLATE, Detect, Faces
from frbench.datasets.alignment.redetection import Redetected
from frbench.harness.core.contracts import Images
from frbench.harness.core.errors import FrbenchError
from frbench.harness.evaluation.execution import Execution
from frbench.harness.evaluation.postprocessed_block import available, postprocessed
from frbench.harness.images.postprocessing import JpegFile, Png, Postprocessed, Postprocessing, Resized
from frbench.harness.storage.result_store import ResultStore

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Shifting:
    """A detector that sees a face off the centre of bright images, and counts images."""

    seen: list[int] = field(default_factory=list, compare=False)

    def load(self) -> Detect:
        def detect(canvas: np.ndarray) -> Faces:
            self.seen.append(1)
            if canvas.mean() < 100:
                return Faces(np.zeros((0, 4)), np.zeros((0, 5, 2)))
            return Faces(np.array([[60.0, 60.0, 90.0, 90.0]]), TEMPLATE[None] + 56 + canvas.mean() % 3)

        return detect


def images(seed: int = 0) -> Images:
    made = torch.rand(6, 3, 112, 112, generator=torch.Generator().manual_seed(seed))
    made[::3] *= 0.3
    return made


def transforms(detector: Shifting) -> dict[str, Postprocessing]:
    pytest.importorskip("cv2")
    redetected = Redetected(detector)  # type: ignore[arg-type]
    return {"png": Png(), "jpeg": JpegFile(80), "resized": Resized(160), "redetected": redetected}


@pytest.fixture
def run(tmp_path: Path) -> Execution:
    return Execution(ResultStore(tmp_path), 0, 4, CPU)


def test_that_a_block_holds_what_the_transforms_return(run: Execution) -> None:
    ways = transforms(Shifting())
    for _ in range(2):  # made, then from the cache
        block = postprocessed(images(), ways, run)
        for name, transform in ways.items():
            for rows in (slice(0, 4), slice(4, 6)):
                expected, found = transform(images()[rows]), block.rows(name, rows, CPU)
                assert torch.equal(found.images, expected.images)
                assert torch.equal(found.found, expected.found)
    assert block.rows("redetected", slice(0, 6), CPU).found.tolist() == [False, True, True] * 2


def test_that_faces_are_located_once_in_each_image(run: Execution) -> None:
    detector = Shifting()
    ways = transforms(detector)
    for _ in range(6):  # defenses
        postprocessed(images(), ways, run).rows("redetected", slice(0, 6), CPU)
    assert len(detector.seen) == 6
    postprocessed(images(seed=1), ways, run)
    assert len(detector.seen) == 12


def test_that_landmarks_take_few_bytes(run: Execution) -> None:
    postprocessed(images(), transforms(Shifting()), run)
    (file,) = (run.store.root / "cache" / "landmarks").rglob("*.zst")
    assert file.stat().st_size < 6 * 200


@dataclass(frozen=True)
class Missing:
    calls: list[int] = field(default_factory=list, compare=False)

    def __call__(self, images: Images) -> Postprocessed:
        self.calls.append(1)
        raise FrbenchError("no detector")


def test_that_a_transform_that_does_not_work_is_tried_again_and_named(run: Execution) -> None:
    missing = Missing()
    for _ in range(2):
        working, reasons = available({"png": Png(), "missing": missing}, images())
        assert working == {"png": Png()}
        assert reasons == {"missing": "no detector"}
    assert len(missing.calls) == 2
