"""InsightFace's packs become pair sets; anything else is one clear line and runs nothing."""

import hashlib
import os
import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import KFold

from frbench.datasets.io import image_store as imagestore
from frbench.datasets.verification_bin import VerificationBin, read_pack
from frbench.harness.core.errors import FrbenchError


def face(number: int, size: int = 112) -> bytes:
    file = BytesIO()
    Image.new("RGB", (size, size), (number * 5 % 256, number * 11 % 256, number * 17 % 256)).save(file, "JPEG")
    return file.getvalue()


def write_pack(path: Path, images: list[Any], same: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps((images, same), protocol))
    return path


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """20 pairs, of which each genuine one holds the same photo twice."""
    images = [face(i // 2 * 2 if i // 2 % 2 == 0 else i) for i in range(40)]
    return write_pack(tmp_path / "lfw.bin", images, [k % 2 == 0 for k in range(20)])


def test_that_even_images_are_probes_and_repeated_photos_are_stored_once(pack: Path, tmp_path: Path) -> None:
    opened = VerificationBin(name="lfw_bin", path=str(pack)).open(tmp_path / "cache")
    assert len(opened.images) == 30
    images, same = read_pack(pack)
    for pair in range(20):
        for rows, image in ((opened.probe, images[2 * pair]), (opened.reference, images[2 * pair + 1])):
            np.testing.assert_array_equal(opened.images[rows[pair]], np.asarray(Image.open(BytesIO(image))))
    assert opened.same.tolist() == same
    np.testing.assert_array_equal(opened.fold, np.repeat(np.arange(10), 2))
    assert (opened.identity == -1).all()
    assert (opened.fold[[opened.reference.tolist().index(row) for row in opened.decoy]] != opened.fold).all()


def test_that_a_later_open_decodes_nothing(pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = VerificationBin(name="lfw_bin", path=pack).open(tmp_path / "cache")
    monkeypatch.setattr(imagestore, "_decode", lambda encoded: pytest.fail("decoded again"))
    again = VerificationBin(name="lfw_bin", path=pack, limit=4).open(tmp_path / "cache")
    assert again.digest == first.digest
    assert len(again.attacked) == 4


@pytest.mark.parametrize("labels", [list, np.array, lambda same: [np.bool_(x) for x in same], tuple])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_that_labels_may_be_python_or_numpy_booleans(tmp_path: Path, labels: Any, protocol: int) -> None:
    same = [True, False] * 5
    path = write_pack(tmp_path / "x.bin", [face(i) for i in range(20)], labels(same), protocol)
    images, read = read_pack(path)
    assert read == same
    assert images == [face(i) for i in range(20)]


def test_that_a_pack_of_python_2_by_protocol_0_is_read(tmp_path: Path) -> None:
    """As Python 2 wrote byte strings: quoted, every byte that is no printable letter escaped."""
    images, same = [face(i) for i in range(8)], [True, False] * 2
    quoted = b"".join(b"S" + repr(image)[1:].encode() + b"\np%d\na" % i for i, image in enumerate(images, 1))
    labels = b"".join(b"I01\na" if label else b"I00\na" for label in same)
    (tmp_path / "x.bin").write_bytes(b"((lp0\n" + quoted + b"(lp99\n" + labels + b"tp100\n.")
    assert read_pack(tmp_path / "x.bin") == (images, same)
    assert pickle.loads((tmp_path / "x.bin").read_bytes(), encoding="bytes") == (images, same)  # noqa: S301 - our own


@pytest.mark.parametrize("protocol", range(6))
def test_that_images_may_be_arrays_of_bytes(tmp_path: Path, protocol: int) -> None:
    images = [face(i) for i in range(8)]
    arrays = [np.frombuffer(image, np.uint8) for image in images]
    assert read_pack(write_pack(tmp_path / "x.bin", arrays, [True, False] * 2, protocol))[0] == images


@pytest.mark.parametrize("pairs", [4, 7, 23])
def test_that_any_number_of_pairs_is_read_in_the_folds_of_scikit_learn(tmp_path: Path, pairs: int) -> None:
    path = write_pack(tmp_path / "x.bin", [face(i) for i in range(2 * pairs)], [k % 2 == 0 for k in range(pairs)])
    opened = VerificationBin(name="x", path=path).open(tmp_path / "cache")
    expected = np.empty(pairs, int)
    for number, (_, rows) in enumerate(KFold(min(10, pairs)).split(np.arange(pairs))):
        expected[rows] = number
    np.testing.assert_array_equal(opened.fold, expected)


class Payload:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (self.command,)


def test_that_a_hostile_pack_is_refused_by_name_and_runs_nothing(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    images: list[Any] = [face(i) for i in range(20)]
    hostile = write_pack(tmp_path / "lfw.bin", [*images[:-1], Payload(f"touch {witness}")], [True] * 10)
    with pytest.raises(FrbenchError, match=r"lfw\.bin: refused, it asks for '(posix|nt)\.system'") as error:
        VerificationBin(name="lfw_bin", path=hostile).open(tmp_path / "cache")
    assert not witness.exists()
    assert "\n" not in str(error.value)
    pickle.loads(hostile.read_bytes())  # noqa: S301 - our own, and that is the point
    assert witness.exists(), "the payload was no live one"


@pytest.mark.parametrize(
    ("images", "same", "expected"),
    [
        ([b"x"] * 21, [True] * 11, "21 images for 11 pairs, expected 2n images for n pairs"),
        ([b"x"] * 6, [True] * 3, "6 images for 3 pairs, expected .* 4 pairs or more"),
        ([b"x"] * 19, [True] * 10, "19 images for 10 pairs"),
        ([], [], "0 images for 0 pairs"),
        ([b"x"] * 19 + [True], [True] * 10, "something else than byte strings"),
        ([b"x"] * 20, [True] * 9 + [2], "something else than booleans"),
        ([b"x"] * 20, [True] * 9 + [b"y"], "something else than booleans"),
        (b"xx", [True], "not a pickle of"),
    ],
)
def test_that_a_malformed_pack_is_one_clear_line(tmp_path: Path, images: Any, same: Any, expected: str) -> None:
    path = write_pack(tmp_path / "lfw.bin", images, same)
    with pytest.raises(FrbenchError, match=rf"lfw\.bin: refused, .*{expected}"):
        VerificationBin(name="lfw_bin", path=path).open(tmp_path / "cache")


@pytest.mark.parametrize("cut", [0, 1, 500, -40, -1])
def test_that_a_truncated_pack_is_one_clear_line(pack: Path, tmp_path: Path, cut: int) -> None:
    pack.write_bytes(pack.read_bytes()[:cut])
    with pytest.raises(FrbenchError, match=r"lfw\.bin: refused, it is no whole pickle"):
        VerificationBin(name="lfw_bin", path=pack).open(tmp_path / "cache")


@pytest.mark.parametrize(
    ("image", "expected"),
    [(face(1, 160), "is 160x160"), (face(1)[:300], "is damaged or cut off and cannot be decoded")],
)
def test_that_a_damaged_image_is_named_by_its_number(tmp_path: Path, image: bytes, expected: str) -> None:
    images = [face(i) for i in range(20)]
    path = write_pack(tmp_path / "lfw.bin", [*images[:13], image, *images[14:]], [True] * 10)
    with pytest.raises(FrbenchError, match=rf"lfw\.bin: image 13 \(pair 6\): {expected}"):
        VerificationBin(name="lfw_bin", path=path).open(tmp_path / "cache")


def test_that_a_digest_is_checked_where_one_is_given(pack: Path, tmp_path: Path) -> None:
    right = hashlib.sha256(pack.read_bytes()).hexdigest()
    assert len(VerificationBin(name="lfw_bin", path=pack, sha256=right.upper()).open(tmp_path / "cache")) == 20
    with pytest.raises(FrbenchError, match=rf"has SHA-256 {right}, expected 00"):
        VerificationBin(name="lfw_bin", path=pack, sha256="00").open(tmp_path / "cache")


def test_that_a_missing_pack_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(FrbenchError, match=r"no\.bin: not found.*frbench data prepare lfw_bin"):
        VerificationBin(name="lfw_bin", path=tmp_path / "no.bin").open(tmp_path / "cache")
