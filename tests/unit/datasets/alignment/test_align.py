"""Alignment against InsightFace's own, and detection on real faces turned and scaled by known amounts."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frbench.datasets.alignment.align import (
    TEMPLATE,
    Faces,
    InsightFace,
    YuNet,
    align_folder,
    estimate,
    most_prominent,
    norm_crop,
    template,
)
from frbench.harness.core.errors import FrbenchError

cv2 = pytest.importorskip("cv2")
CORNERS = np.array([[0, 0], [112, 0], [0, 112], [112, 112]])


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def similarity(scale: float, angle: float, x: float, y: float) -> np.ndarray:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, x], [s, c, y]])


def photograph(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (200, 260, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("size", [112, 224, 128])
def test_that_matrices_and_crops_are_those_of_insightface(size: int) -> None:
    face_align = pytest.importorskip("insightface.utils.face_align")
    rng = np.random.default_rng(0)
    wild = rng.uniform(0, 200, (60, 5, 2))
    faces = TEMPLATE * rng.uniform(0.3, 2, (60, 1, 1)) + rng.uniform(0, 60, (60, 1, 2)) + rng.normal(0, 3, (60, 5, 2))
    image = photograph()
    landmarks = np.concatenate([wild, faces]).astype(np.float32)
    for points, matrix in zip(landmarks, estimate(landmarks, size), strict=True):
        np.testing.assert_allclose(matrix, face_align.estimate_norm(points, size), atol=1e-3)
        theirs = face_align.norm_crop(image, points, size).astype(int)
        assert np.abs(theirs - norm_crop(image, points, size)).max() <= 1


@settings(max_examples=50)
@given(st.floats(0.1, 10), st.floats(-3.1, 3.1), st.floats(-500, 500), st.floats(-500, 500))
def test_that_a_similarity_is_found_again_exactly(scale: float, angle: float, x: float, y: float) -> None:
    matrix = similarity(scale, angle, x, y)
    back = estimate(moved(TEMPLATE, matrix)[None])[0]
    np.testing.assert_allclose(moved(moved(CORNERS, matrix), back), CORNERS, atol=1e-6)


def test_that_points_that_coincide_have_no_similarity() -> None:
    landmarks = np.stack([np.full((5, 2), 7.0), TEMPLATE])
    matrices = estimate(landmarks)
    assert np.isnan(matrices[0]).all()
    np.testing.assert_allclose(matrices[1], [[1, 0, 0], [0, 1, 0]], atol=1e-12)


def test_that_a_face_already_in_place_is_left_as_it_is_and_the_outside_is_black() -> None:
    image = photograph()[:112, :112]
    assert np.array_equal(norm_crop(image, TEMPLATE), image)
    shifted = norm_crop(image, TEMPLATE - 50)
    assert not shifted[:49].any()
    assert np.array_equal(shifted[50:, 50:], image[:62, :62])


def test_that_wrong_sizes_and_shapes_are_refused() -> None:
    with pytest.raises(FrbenchError, match="multiple of 112 or 128"):
        template(100)
    with pytest.raises(FrbenchError, match=r"\(5, 2\): expected \(N, 5, 2\)"):
        estimate(TEMPLATE)


def test_that_the_largest_most_central_face_is_taken() -> None:
    boxes = np.array([[0, 0, 60, 60], [70, 70, 50, 50], [95, 95, 10, 10]], float)
    landmarks = np.arange(30.0).reshape(3, 5, 2)
    chosen = most_prominent(Faces(boxes, landmarks), 200, 200)
    assert chosen is not None
    assert np.array_equal(chosen, landmarks[1])
    assert most_prominent(Faces(np.zeros((0, 4)), np.zeros((0, 5, 2))), 200, 200) is None


def test_that_a_folder_is_aligned_once_and_pictures_without_a_face_are_named(tmp_path: Path) -> None:
    originals, aligned = tmp_path / "original", tmp_path / "aligned_112"
    (originals / "A").mkdir(parents=True)
    names = ["A/1.jpg", "A/2.png", "A/none.jpg"]
    for name in names:
        cv2.imwrite(str(originals / name), photograph() * ("none" not in name))
    seen = []

    def detect(image: np.ndarray) -> Faces:
        seen.append(image)
        found = int(image.any())
        return Faces(np.array([[10, 10, 90, 90.0]])[:found], TEMPLATE[None][:found] + 5)

    told: list[tuple[int, int]] = []
    for _ in range(2):
        missed = align_folder(originals, aligned, names, detect, lambda *done: told.append(done))
        assert missed == (["A/none.jpg"], [])
        assert sorted(path.name for path in (aligned / "A").iterdir()) == ["1.jpg", "2.jpg"]
    assert len(seen) == 3 + 1  # the second time only the picture without a face
    assert told == [(1, 3), (2, 3), (3, 3)] * 2
    crop = cv2.imread(str(aligned / "A" / "2.jpg")).astype(int)
    assert np.abs(crop - photograph()[5:117, 5:117]).mean() < 4
    (originals / "A" / "broken.jpg").write_bytes(b"no picture")
    missed = align_folder(originals, aligned, ["A/broken.jpg", *names], detect, lambda *done: None)
    assert missed == (["A/none.jpg"], ["A/broken.jpg"]), "one broken file is not the end"
    with pytest.raises(FrbenchError, match=r"A/1\.png and A/1\.jpg would have the same aligned crop"):
        align_folder(originals, aligned, ["A/1.jpg", "A/1.png"], detect, lambda *done: None)


def test_that_a_file_that_is_no_detector_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(FrbenchError, match=r"text\.onnx is not a YuNet model") as error:
        YuNet(tmp_path / "text.onnx").load()
    assert "\n" not in str(error.value)


def test_that_insightface_is_asked_for_boxes_and_landmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    class FaceAnalysis:
        def __init__(self, name: str, root: str, allowed_modules: list[str]) -> None:
            if name == "absent":
                raise ConnectionError("no route")
            assert allowed_modules == ["detection"]

        def prepare(self, ctx_id: int, det_size: tuple[int, int]) -> None:
            pass

        def get(self, image: np.ndarray) -> list[types.SimpleNamespace]:
            return [types.SimpleNamespace(bbox=np.array([1, 2, 11, 22]), kps=TEMPLATE)] * int(image.any())

    monkeypatch.setitem(sys.modules, "insightface.app", types.SimpleNamespace(FaceAnalysis=FaceAnalysis))
    detect = InsightFace().load()
    faces = detect(photograph())
    assert faces.boxes.tolist() == [[1, 2, 10, 20]]
    assert np.array_equal(faces.landmarks[0], TEMPLATE)
    assert len(detect(np.zeros((9, 9, 3), np.uint8)).boxes) == 0
    with pytest.raises(FrbenchError, match=r"pack absent \(no route\): unpack it by hand"):
        InsightFace("absent").load()


@pytest.fixture(scope="module")
def yunet(real_data: Path) -> YuNet:
    return YuNet(real_data / "models" / "yunet_n_640_640.onnx")


@pytest.mark.realdata
def test_that_yunet_finds_the_six_people_of_a_group_photo_in_template_order(yunet: YuNet) -> None:
    photo = pytest.importorskip("insightface.data").get_image("t1")
    faces = yunet.load()(photo)
    assert len(faces.boxes) == 6
    left, right, nose, mouth_left, mouth_right = faces.landmarks.transpose(1, 2, 0)
    assert (left[0] < right[0]).all()
    assert (mouth_left[0] < mouth_right[0]).all()
    assert (np.maximum(left[1], right[1]) < nose[1]).all()
    assert (nose[1] < np.minimum(mouth_left[1], mouth_right[1])).all()
    crops = [norm_crop(photo, points) for points in faces.landmarks]
    assert all(len(yunet.load()(crop).boxes) == 1 for crop in crops)
    assert len(yunet.load()(np.zeros_like(photo)).boxes) == 0


@pytest.mark.realdata
def test_that_turned_and_scaled_faces_come_back_to_their_place(yunet: YuNet, real_data: Path) -> None:
    people = sorted((real_data / "lfw" / "aligned_112").iterdir())[::400]
    detect, off = yunet.load(), []
    for i, person in enumerate(people):
        crop = cv2.imread(str(sorted(person.iterdir())[0]))
        there = similarity((1, 1.5, 2)[i % 3], (-0.2, 0, 0.2)[i // 3 % 3], 150, 130)
        photo = cv2.warpAffine(crop, there, (520, 480), borderValue=(90, 90, 90))
        landmarks = most_prominent(detect(photo), 480, 520)
        assert landmarks is not None, person.name
        off.append(np.linalg.norm(moved(moved(CORNERS, there), estimate(landmarks[None])[0]) - CORNERS, axis=1).mean())
    # Another detector aligned LFW: upright, the two disagree by 4 pixels at the corners on average.
    assert np.mean(off) < 8
    assert np.max(off) < 20
