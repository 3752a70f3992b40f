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

from frbench.datasets.verification_bin import VerificationBin, read_pack
from frbench.harness.errors import FrbenchError


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


def test_that_a_later_open_reads_neither_pack_nor_images(pack: Path, tmp_path: Path) -> None:
    first = VerificationBin(name="lfw_bin", path=pack).open(tmp_path / "cache")
    status = pack.stat()
    pack.write_bytes(b"\0" * status.st_size)
    os.utime(pack, ns=(status.st_atime_ns, status.st_mtime_ns))
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
        ([b"x"] * 22, [True] * 11, "22 images for 11 pairs, expected 2n images for n pairs in 10 equal folds"),
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


@pytest.mark.parametrize(("image", "expected"), [(face(1, 160), "is 160x160"), (face(1)[:300], "cannot be decoded")])
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
