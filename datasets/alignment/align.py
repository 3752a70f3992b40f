"""Aligns photographs to 112x112 crops: detects five landmarks, fits a similarity transform, and warps.

The geometry is InsightFace's (``face_align.norm_crop``), so crops made here and there are interchangeable. Images
in this module are what OpenCV reads: uint8 (H, W, 3), BGR. Landmarks are (5, 2), x then y in pixels, in the order of
the template: the eye on the left of the image, the eye on its right, nose, left and right corner of the mouth.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from typing_extensions import TypedDict  # pydantic reads no other before Python 3.12

from frbench.harness.core.atomic import write_atomically
from frbench.harness.core.domains import Fraction, NonNegativeInt
from frbench.harness.core.errors import ConfigError, CorruptFile, DataMissing, FrbenchError

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where the five landmarks lie in an aligned 112x112 crop (ArcFace, arXiv 1801.07698)."""

JPEG_QUALITY = 95
CANVAS = 640
"""Pixels a side of YuNet's input."""


class Faces(NamedTuple):
    """F detected faces. boxes: (F, 4), left, top, width, height; landmarks: (F, 5, 2); all in pixels."""

    boxes: np.ndarray
    landmarks: np.ndarray


Detect = Callable[[np.ndarray], Faces]


def template(size: int = 112) -> np.ndarray:
    """The template (5, 2) for crops of ``size``: a multiple of 112, or of 128 (then centred 8/128 to the right)."""
    if size % 112 == 0:
        return TEMPLATE * (size / 112)
    if size % 128 == 0:
        return TEMPLATE * (size / 128) + np.array([8 * size / 128, 0])
    raise ConfigError(f"crop size {size} is not a multiple of 112 or 128: choose one that is, such as 112")


def estimate(landmarks: np.ndarray, size: int = 112) -> np.ndarray:
    """Least-squares similarities (N, 2, 3) that map landmarks (N, 5, 2) onto the template.

    Read as complex numbers, a similarity without reflection is ``z -> a z + b``, so that the fit is one complex
    regression; its optimum is that of Umeyama (PAMI 1991). A row is NaN where the five points coincide.
    """
    points = np.asarray(landmarks, np.float64)
    if points.ndim != 3 or points.shape[1:] != (5, 2):
        raise FrbenchError(f"landmarks of shape {points.shape}: expected (N, 5, 2), x then y in pixels")
    source = points[..., 0] + 1j * points[..., 1]
    goal = template(size) @ np.array([1, 1j])
    centre = source.mean(1, keepdims=True)
    offset = source - centre
    with np.errstate(invalid="ignore", divide="ignore"):
        a = (offset.conj() * (goal - goal.mean())).sum(1) / (np.abs(offset) ** 2).sum(1)
    b = goal.mean() - a * centre[:, 0]
    return np.stack([np.stack([a.real, -a.imag, b.real], -1), np.stack([a.imag, a.real, b.imag], -1)], 1)


def norm_crop(image: np.ndarray, landmarks: np.ndarray, size: int = 112) -> np.ndarray:
    """The aligned crop (size, size, 3) of the face with ``landmarks`` (5, 2); outside the image is black."""
    matrix = estimate(np.asarray(landmarks)[None], size)[0]
    return opencv().warpAffine(image, matrix, (size, size), borderValue=0.0)


def most_prominent(faces: Faces, height: int, width: int) -> np.ndarray | None:
    """Landmarks (5, 2) of the largest, most central face, or None where there is none.

    Area in square pixels less twice the squared distance of its centre from that of the image: in a crowd around
    the person portrayed, a slightly larger face at the edge loses.
    """
    if not len(faces.boxes):
        return None
    x, y, w, h = faces.boxes.T
    off_centre = (x + w / 2 - width / 2) ** 2 + (y + h / 2 - height / 2) ** 2
    return faces.landmarks[int(np.argmax(w * h - 2 * off_centre))]


class DetectionPass(TypedDict):
    """One detection: ``max_side`` is the longest side in pixels, 0 for the image's own where it fits into 640."""

    max_side: NonNegativeInt
    min_score: Fraction


@dataclass(frozen=True)
class YuNet:
    """The YuNet detector through OpenCV (Wu et al., 2023).

    Images are never cropped, only scaled and padded. Small, dark or turned faces need the later passes.

    Args:
        model: the ONNX file with a fixed input of 640x640.
        passes: tried in turn until a face is found.
    """

    identity = "detector.yunet"
    version = 1

    model: str | Path
    passes: Sequence[DetectionPass] = (
        {"max_side": 0, "min_score": 0.6},
        {"max_side": 640, "min_score": 0.6},
        {"max_side": 320, "min_score": 0.6},
        {"max_side": 0, "min_score": 0.3},
        {"max_side": 640, "min_score": 0.3},
        {"max_side": 320, "min_score": 0.3},
    )

    def fingerprint(self) -> dict[str, Any]:
        """The model and the passes, not the path; the model is null while the file or OpenCV is missing."""
        usable = Path(self.model).is_file() and importlib.util.find_spec("cv2") is not None
        digest = hashlib.sha256(Path(self.model).read_bytes()).hexdigest() if usable else None
        return {"model": digest, "passes": self.passes}

    def load(self) -> Detect:
        network = face_detector(self.model)

        def detect(image: np.ndarray) -> Faces:
            for each in self.passes:
                longest = max(image.shape[:2])
                scale = min(each["max_side"] or longest, CANVAS) / longest
                network.setScoreThreshold(each["min_score"])
                rows = network.detect(on_canvas(resized(image, scale)))[1]
                if rows is not None:
                    return Faces(rows[:, :4] / scale, rows[:, 4:14].reshape(-1, 5, 2) / scale)
            return Faces(np.zeros((0, 4)), np.zeros((0, 5, 2)))

        return detect


@dataclass(frozen=True)
class InsightFace:
    """The detector of an InsightFace pack, which InsightFace itself downloads (research use only)."""

    identity = "detector.insightface"
    version = 1

    pack: str = "buffalo_l"
    root: str = "~/.insightface"

    def load(self) -> Detect:
        try:
            from insightface.app import FaceAnalysis
        except ImportError:
            raise FrbenchError(
                'InsightFace is not installed: pip install "frbench[insightface]", or use detector yunet'
            ) from None
        try:
            analysis = FaceAnalysis(name=self.pack, root=self.root, allowed_modules=["detection"])
        except OSError as error:  # requests' ConnectionError is one
            raise DataMissing(
                f"InsightFace could not fetch its pack {self.pack} ({_first_line(error)}): unpack it by hand "
                f"into {self.root}/models/{self.pack}, or use detector yunet"
            ) from None
        analysis.prepare(ctx_id=-1, det_size=(640, 640))

        def detect(image: np.ndarray) -> Faces:
            found = analysis.get(image)
            boxes = np.array([face.bbox for face in found], np.float64).reshape(-1, 4)
            boxes[:, 2:] -= boxes[:, :2]
            return Faces(boxes, np.array([face.kps for face in found], np.float64).reshape(-1, 5, 2))

        return detect


class Missed(NamedTuple):
    """Originals without a crop: no face was found in them, or they cannot be read."""

    faceless: list[str]
    unreadable: list[str]


def align_folder(
    originals: Path, aligned: Path, names: Sequence[str], detect: Detect, progress: Callable[[int, int], None]
) -> Missed:
    """Align the images ``names`` (relative to ``originals``) to the same names under ``aligned``.

    Existing crops are kept, so that an interrupted run continues. ``progress`` counts images.

    Returns:
        The names in which no face was found, and those that cannot be read.

    Raises:
        FrbenchError: two originals would have the same crop, such as ``a.jpg`` and ``a.png``.
    """
    cv2 = opencv()
    missed = Missed([], [])
    _check_targets(names)
    for done, name in enumerate(names, 1):
        target = (aligned / name).with_suffix(".jpg")
        if not target.exists():
            image = cv2.imread(str(originals / name), cv2.IMREAD_COLOR)
            landmarks = None if image is None else most_prominent(detect(image), *image.shape[:2])
            if image is None:
                missed.unreadable.append(name)
            elif landmarks is None:
                missed.faceless.append(name)
            else:
                crop = cv2.imencode(".jpg", norm_crop(image, landmarks), _jpeg(cv2))[1].tobytes()
                write_atomically(target, partial(Path.write_bytes, data=crop))
        progress(done, len(names))
    return missed


def _check_targets(names: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(str(Path(name).with_suffix("")), name)
        if other != name:
            raise CorruptFile(f"{name} and {other} would have the same aligned crop; remove one of them")


def face_detector(model: str | Path) -> Any:
    """OpenCV's ``FaceDetectorYN`` of the ONNX file ``model``, for inputs of 640x640.

    Raises FrbenchError: OpenCV or the file is missing, or the file is another model.
    """
    cv2 = opencv()
    if not Path(model).is_file():
        raise DataMissing(f"{model}: the face detector is not there; run: frbench data prepare yunet")
    log = cv2.utils.logging
    level = log.setLogLevel(log.LOG_LEVEL_ERROR)  # OpenCV 5 warns about targets on every creation
    try:
        return cv2.FaceDetectorYN.create(str(model), "", (CANVAS, CANVAS), 0.6, 0.3, 5000)
    except cv2.error as error:
        raise CorruptFile(f"{model} is not a YuNet model that OpenCV reads: {_first_line(error)}") from None
    finally:
        log.setLogLevel(level)


def resized(image: np.ndarray, scale: float) -> np.ndarray:
    """``image`` with its sides multiplied by ``scale``."""
    if scale == 1:
        return image
    cv2 = opencv()
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    scaled: np.ndarray = cv2.resize(image, (width, height), interpolation=way)
    return scaled


def on_canvas(image: np.ndarray) -> np.ndarray:
    """``image`` in the upper left of a black square: the only input size that YuNet's model was exported for."""
    canvas = np.zeros((CANVAS, CANVAS, 3), np.uint8)
    canvas[: image.shape[0], : image.shape[1]] = image
    return canvas


def _jpeg(cv2: ModuleType) -> list[int]:
    return [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def opencv() -> ModuleType:
    """OpenCV. Raises FrbenchError: it is not installed."""
    try:
        import cv2
    except ImportError as error:
        raise FrbenchError(f'aligning photographs needs OpenCV ({error}): pip install "frbench[detect]"') from None
    return cv2
