"""Training sets of InsightFace: written here by the published framing, read whole, in parts, in threads; what is wrong
is named."""

from __future__ import annotations

import struct
import tracemalloc
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from frbench.datasets.recordio import RecordFaces, RecordStack, _read
from frbench.harness.cli.main import main
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import FaceSet
from frbench.harness.evaluation import identity_overlap as overlap

MAGIC = 0xCED7230A
WORD = struct.pack("<I", MAGIC)


def framed(data: bytes) -> bytes:
    """A record as dmlc-core writes it: cut at each magic number that stands at a multiple of four."""
    cuts = [at for at in range(0, len(data) // 4 * 4, 4) if data[at : at + 4] == WORD]
    bounds = list(pairwise([-4, *cuts, len(data)]))
    out = b""
    for number, (before, end) in enumerate(bounds):
        part = data[before + 4 : end]
        last = number == len(bounds) - 1
        kind = (0 if last else 1) if number == 0 else (3 if last else 2)
        out += WORD + struct.pack("<I", kind << 29 | len(part)) + part + bytes(-len(part) % 4)
    return out


def record(labels: float | list[float], image: bytes, key: int = 0) -> bytes:
    """A header as MXNet packs it, and the bytes behind it."""
    if isinstance(labels, list):
        return struct.pack("<IfQQ", len(labels), 0.0, key, 0) + struct.pack(f"<{len(labels)}f", *labels) + image
    return struct.pack("<IfQQ", 0, labels, key, 0) + image


def jpeg(seed: int, side: int = 112, kind: str = "JPEG") -> bytes:
    file = BytesIO()
    low = np.random.default_rng(seed).integers(0, 256, (7, 7, 3)).astype(np.uint8)
    Image.fromarray(low).resize((side, side)).save(file, kind)
    return file.getvalue()


def write(path: Path, records: dict[int, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines, whole = [], b""
    for key, data in records.items():
        lines.append(f"{key}\t{len(whole)}\n")
        whole += framed(data)
    path.write_bytes(whole)
    path.with_suffix(".idx").write_text("".join(lines))
    return path


PEOPLE = [4, 4, 0, 0, 0, 9]
IMAGES = [jpeg(seed) for seed in range(6)]


def insightface(path: Path) -> Path:
    """Six images of three people as face2rec2 lays them out: record 0 says where the people's ranges begin and end."""
    records = {0: record([7.0, 10.0], b"")}
    for key, (person, image) in enumerate(zip(PEOPLE, IMAGES, strict=True), 1):
        records[key] = record(float(person) if key % 2 else [float(person), 1.0], image, key)
    ranges = [(1, 3), (3, 6), (6, 7)]
    records |= {7 + number: record([float(a), float(b)], b"") for number, (a, b) in enumerate(ranges)}
    return write(path, records)


def opened(path: Path, **options: int) -> FaceSet:
    return RecordFaces(name="ms", path=path, **options).open(path.parent / "cache")


def pixels(image: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(image)).convert("RGB"))


def test_images_people_and_shapes_are_those_that_were_written(tmp_path: Path) -> None:
    faces = opened(insightface(tmp_path / "train.rec"))
    assert faces.people == ("ms/0", "ms/4", "ms/9")
    assert faces.identity.tolist() == [1, 1, 0, 0, 0, 2] and faces.identity.dtype == np.int64
    assert faces.images.shape == (6, 112, 112, 3) and faces.images.dtype == np.uint8 and len(faces.images) == 6
    expected = np.stack([pixels(each) for each in IMAGES])
    for rows in (np.arange(6), np.array([5, 0, 0, 3]), slice(1, 4), np.array([], int), np.arange(6) % 2 == 0):
        np.testing.assert_array_equal(faces.images[rows], expected[rows])
    assert faces.load(np.array([2])).shape == (1, 3, 112, 112)


def test_a_file_without_a_record_on_records_has_an_image_in_each(tmp_path: Path) -> None:
    faces = opened(write(tmp_path / "x.rec", {key: record(float(key), IMAGES[key]) for key in (3, 0, 1)}))
    assert faces.identity.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(faces.images[np.array([2])][0], pixels(IMAGES[3]))


def test_a_magic_number_within_an_image_is_cut_out_and_put_back(tmp_path: Path) -> None:
    """A JPEG may hold anything in a comment; the second magic number is not at a multiple of four and stays."""
    plain = IMAGES[0]
    pad = b"\0" * (-(24 + 2 + 4) % 4)
    comment = pad + WORD + WORD + b"abcd" + WORD + b"x" + WORD
    odd = plain[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + plain[2:]
    data = framed(record(1.0, odd))
    assert data.count(WORD) == 5 and len(data) % 4 == 0, "four parts, and one magic number that is data"
    faces = opened(write(tmp_path / "x.rec", {0: record(0.0, plain), 1: record(1.0, odd), 2: record(2.0, plain)}))
    assert faces.identity.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(faces.images[np.arange(3)], np.stack([pixels(plain)] * 3))


@settings(max_examples=200)
@given(st.lists(st.sampled_from([WORD, b"a", b"bcde", WORD[:2], WORD[2:], bytes(4)]), max_size=12).map(b"".join))
def test_any_bytes_come_back(data: bytes) -> None:
    file = BytesIO(b"before" + framed(record(3.0, data)) + framed(record(4.0, b"after")))
    found = _read(file, Path("x"), 1, len(b"before"))
    assert found.image == data and found.labels.tolist() == [3.0]


def test_the_first_people_alone(tmp_path: Path) -> None:
    path = insightface(tmp_path / "train.rec")
    faces, whole = opened(path, limit_people=2), opened(path)
    assert faces.people == ("ms/0", "ms/4") and faces.identity.tolist() == [1, 1, 0, 0, 0]
    np.testing.assert_array_equal(faces.images[np.array([4])][0], pixels(IMAGES[4]))
    assert faces.digest != whole.digest
    with pytest.raises(FrbenchError, match="limit_people=0, expected at least 1"):
        opened(path, limit_people=0)


def test_the_digest_is_of_images_and_people_and_not_of_where_they_lie(tmp_path: Path) -> None:
    usual = opened(insightface(tmp_path / "a" / "train.rec"))
    assert opened(insightface(tmp_path / "b" / "other.rec")).digest == usual.digest
    same = {key: record(float(person), image) for key, (person, image) in enumerate(zip(PEOPLE, IMAGES, strict=True))}
    others = [same | {1: record(0.0, IMAGES[1])}, same | {1: record(4.0, IMAGES[2])}]
    found = {opened(write(tmp_path / str(i) / "x.rec", each)).digest for i, each in enumerate((same, *others))}
    assert len(found) == 3


def test_the_file_is_scanned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = insightface(tmp_path / "train.rec")
    first = opened(path)
    monkeypatch.setattr("frbench.datasets.recordio._scanned", None)
    again = opened(path)
    assert again.digest == first.digest and again.people == first.people
    monkeypatch.undo()
    write(path, {0: record(1.0, IMAGES[0])})
    assert len(opened(path).images) == 1, "another file is scanned again"


def test_memory_does_not_grow_with_the_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking for overlap asks for all images: decoded at once they would be 23 MB, and 2 MB are at hand."""
    faces = opened(write(tmp_path / "x.rec", {key: record(0.0, IMAGES[key % 6], key) for key in range(600)}))
    monkeypatch.setattr(overlap, "_BLOCK", 50)
    tracemalloc.start()
    digests = overlap._digests(faces)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(set(digests.tolist())) == 6
    assert peak < 6e6, f"{peak / 1e6:.1f} MB"


def refused(path: Path, *words: str) -> None:
    with pytest.raises(FrbenchError) as told:
        opened(path).images[:]
    assert "\n" not in str(told.value)
    assert all(word in str(told.value) for word in words), str(told.value)


def test_a_file_cut_short_is_told_by_its_last_record(tmp_path: Path) -> None:
    path = insightface(tmp_path / "train.rec")
    lines = [line.split("\t") for line in path.with_suffix(".idx").read_text().splitlines()]
    place = int(dict(lines)["6"])
    whole = path.read_bytes()
    for end in (place + 100, place + 9):
        path.write_bytes(whole[:end])
        path.with_suffix(".idx").write_text("".join(f"{k}\t{p}\n" for k, p in lines if int(k) < 7))
        refused(path, f"record 6 (byte {place})", "the file ends within it", "whole copy")


def test_an_index_that_points_beyond_the_end_names_the_record(tmp_path: Path) -> None:
    path = insightface(tmp_path / "train.rec")
    path.write_bytes(path.read_bytes()[:4000])
    size, index = path.stat().st_size, path.with_suffix(".idx")
    beyond = next(line.split("\t") for line in index.read_text().splitlines() if int(line.split("\t")[1]) > size)
    refused(
        path,
        "train.idx",
        f"record {beyond[0]} at byte {beyond[1]}",
        "train.rec ends at 4000",
        "take both from one copy",
    )


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (None, ("train.idx", "is not there", "put it there")),
        ("", ("train.idx", "expected a key and a byte")),
        ("0\t0\n1", ("train.idx", "expected a key and a byte")),
        ("zero\t0\n", ("train.idx", "expected a key and a byte")),
        ("0\t0\n1\t0\n1\t4\n", ("names record 1 twice",)),
        ("1\t8\n", ("record 1 (byte 8)", "no record begins there")),
        ("0\t0\n1\t40\n", ("train.idx", "has 1 of the 6 images that record 0", "announces")),
        ("0\n1\n", ("1 numbers in a line",)),
    ],
)
def test_an_index_that_is_wrong_or_missing(index: str | None, words: tuple[str, ...], tmp_path: Path) -> None:
    path = insightface(tmp_path / "train.rec")
    path.with_suffix(".idx").unlink()
    if index is not None:
        path.with_suffix(".idx").write_text(index)
    refused(path, *words)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (record(1.0, b"GIF89a no face"), ("neither a JPEG nor a PNG",)),
        (record(1.0, b""), ("neither a JPEG nor a PNG",)),
        (record(1.0, IMAGES[0][:300]), ("cannot be decoded",)),
        (record(1.0, jpeg(1, side=96)), ("96x96", "112x112")),
        (record(0.5, IMAGES[0]), ("label 0.5", "number of a person")),
        (record(-1.0, IMAGES[0]), ("label -1",)),
        (record(float("nan"), IMAGES[0]), ("label nan",)),
        (b"short", ("too few for a header",)),
        (struct.pack("<IfQQ", 9, 0.0, 0, 0) + b"abcd", ("announces 9 labels",)),
    ],
    ids=lambda each: each[0] if isinstance(each, tuple) else "",
)
def test_a_record_that_is_wrong_is_named(bad: bytes, words: tuple[str, ...], tmp_path: Path) -> None:
    path = write(tmp_path / "x.rec", {0: record(0.0, IMAGES[0]), 17: bad})
    refused(path, "record 17 (byte ", *words)


def test_png_is_read_too(tmp_path: Path) -> None:
    png = jpeg(3, kind="PNG")
    np.testing.assert_array_equal(
        opened(write(tmp_path / "x.rec", {0: record(0.0, png)})).images[np.array([0])][0], pixels(png)
    )


def test_a_file_that_is_not_there_is_told_with_what_to_do(tmp_path: Path) -> None:
    refused(tmp_path / "train.rec", "train.rec", "not found", "identities.path=")


# MXNet 1.9.1 of pack(IRHeader(0, [1, 2], 0, 0), ...) with the bytes of ``CUT``: three cuts, the last part empty.
CUT = WORD + b"xy" + WORD + WORD + b"qq" + WORD
MXNET = """0a23d7ce200000200200000000000000000000000000000000000000000000000000803f00000040
0a23d7ce0c00004078790a23d7ce0a23d7ce71710a23d7ce00000060"""


def test_a_record_is_framed_and_read_as_mxnet_has_it() -> None:
    known = bytes.fromhex("".join(MXNET.split()))
    assert framed(record([1.0, 2.0], CUT)) == known
    found = _read(BytesIO(known), Path("x"), 0, 0)
    assert found.image == CUT and found.labels.tolist() == [1.0, 2.0]


def test_a_defense_is_fitted_on_a_training_set(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    people = {key: record(float(key // 4), jpeg(key), key) for key in range(16)}
    path = write(tmp_path / "train.rec", people)
    words = ["defense=pca", "defense.components=4", "identities=recordio", f"identities.path={path}"]
    words += [f"paths.{name}={tmp_path / name}" for name in ("results", "cache")]
    assert main(["fit", *words, "device=cpu"]) == 0, capfd.readouterr().err
    assert len(list((tmp_path / "results" / "artifacts").glob("*.safetensors"))) == 1


def test_a_stack_is_known_by_what_it_is_and_not_by_its_pixels(tmp_path: Path) -> None:
    stack = opened(insightface(tmp_path / "train.rec")).images
    assert isinstance(stack, RecordStack) and stack == stack
    assert len(repr(stack)) < 2000
