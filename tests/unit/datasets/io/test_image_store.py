"""Images are decoded once, kept whole, shared between processes, and every bad image is one clear line."""

import hashlib
import json
import multiprocessing
import os
import platform
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.file_systems import dead_process, read_only

from frbench.datasets.io import image_store as imagestore
from frbench.datasets.io import stack_files
from frbench.datasets.io.image_store import Stack, combined_digest, open_files
from frbench.harness.core.errors import FrbenchError


def write_face(path: Path, seed: int, size: tuple[int, int] = (112, 112), mode: str = "RGB") -> np.ndarray:
    """Writes a JPEG (or PNG, by suffix) of noise and returns what Pillow decodes from it, as RGB."""
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise).convert(mode).save(path)
    return np.asarray(Image.open(path).convert("RGB"))


def open_all(root: Path, cache: Path) -> Stack:
    return open_files("some", root, {p.name: "the list" for p in root.iterdir()}, cache)


def test_that_a_stack_holds_what_pillow_decodes_in_the_order_of_names(tmp_path: Path) -> None:
    faces = {f"{i}.jpg": write_face(tmp_path / "in" / f"{i}.jpg", i) for i in (3, 1, 2)}
    faces["gray.jpg"] = write_face(tmp_path / "in" / "gray.jpg", 9, mode="L")
    faces["p.png"] = write_face(tmp_path / "in" / "p.png", 10)
    stack = open_all(tmp_path / "in", tmp_path / "cache")
    assert isinstance(stack.images, np.memmap)
    assert not stack.images.flags.writeable
    np.testing.assert_array_equal(stack.images, np.stack([faces[name] for name in sorted(faces)]))
    assert stack.digest == hashlib.sha256(np.ascontiguousarray(stack.images).tobytes()).hexdigest()


def test_that_a_later_open_reads_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(3):
        write_face(tmp_path / "in" / f"{i}.jpg", i)
    first = open_all(tmp_path / "in", tmp_path / "cache")
    monkeypatch.setattr(imagestore, "_decode", lambda encoded: pytest.fail("decoded again"))
    again = open_all(tmp_path / "in", tmp_path / "cache")
    assert again.digest == first.digest
    np.testing.assert_array_equal(again.images, first.images)


def test_that_a_changed_image_makes_a_new_stack(tmp_path: Path) -> None:
    write_face(tmp_path / "in" / "0.jpg", 0)
    first = open_all(tmp_path / "in", tmp_path / "cache")
    changed = write_face(tmp_path / "in" / "0.jpg", 1)
    os.utime(tmp_path / "in" / "0.jpg", ns=(1, 1))
    second = open_all(tmp_path / "in", tmp_path / "cache")
    assert second.digest != first.digest
    np.testing.assert_array_equal(second.images[0], changed)


def test_that_the_digest_knows_nothing_of_times_paths_and_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("here", "there"):
        for i in range(40):
            write_face(tmp_path / folder / f"{i}.jpg", i)
            os.utime(tmp_path / folder / f"{i}.jpg", (i, 10 * len(folder)))
    here = open_all(tmp_path / "here", tmp_path / "cache")
    decode = imagestore._decode

    def slow_for_some(encoded: imagestore.Encoded) -> tuple[bytes, bytes]:
        time.sleep(0.02 if encoded.label.endswith("0.jpg") else 0)
        return decode(encoded)

    monkeypatch.setattr(imagestore, "_decode", slow_for_some)
    monkeypatch.setattr(imagestore, "_CHUNK", 7)
    there = open_all(tmp_path / "there", tmp_path / "another cache")
    assert here.digest == there.digest
    sidecars = [json.loads(path.read_text()) for path in tmp_path.glob("*cache/*/stack.json")]
    assert len(sidecars) == 2
    assert sidecars[0] == sidecars[1]


def damaged_faces() -> dict[str, bytes]:
    def encoded(size: tuple[int, int] = (112, 112), mode: str = "RGB") -> bytes:
        file = BytesIO()
        Image.effect_noise(size, 80).convert(mode).save(file, "JPEG")
        return file.getvalue()

    whole = encoded()
    return {
        "is 250x250": encoded((250, 250)),
        "is 112x96": encoded((112, 96)),
        "mode CMYK": encoded(mode="CMYK"),
        "truncated": whole[: len(whole) // 2],
        "is a GIF; save it as PNG": b"GIF89a, or rather not",
        "is empty": b"",
        "is not a JPEG, PNG, WEBP or BMP image": b"neither",
    }


@pytest.mark.parametrize("expected", damaged_faces())
def test_that_a_damaged_image_is_one_line_that_names_it(tmp_path: Path, expected: str) -> None:
    for i in range(5):
        write_face(tmp_path / "in" / f"{i}.jpg", i)
    (tmp_path / "in" / "3.jpg").write_bytes(damaged_faces()[expected])
    with pytest.raises(FrbenchError, match=expected) as error:
        open_all(tmp_path / "in", tmp_path / "cache")
    assert str(tmp_path / "in" / "3.jpg") in str(error.value)
    assert "\n" not in str(error.value)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()], "half a stack was left behind"


def test_that_a_missing_image_is_named_with_the_place_that_names_it(tmp_path: Path) -> None:
    write_face(tmp_path / "in" / "0.jpg", 0)
    with pytest.raises(FrbenchError, match=r"pairs.txt:7: names the image 1\.jpg"):
        open_files("some", tmp_path / "in", {"0.jpg": "pairs.txt:2", "1.jpg": "pairs.txt:7"}, tmp_path / "cache")


def test_that_an_unwritable_cache_is_one_line_that_says_what_to_set(tmp_path: Path) -> None:
    write_face(tmp_path / "in" / "0.jpg", 0)
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(FrbenchError, match=r"set paths\.cache"):
        open_all(tmp_path / "in", tmp_path / "cache")


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8 % len(data)] ^= 1 << bit % 8
    return bytes(changed)


DAMAGE = {
    "empty": lambda data: b"",
    "short": lambda data: data[:-1],
    "long": lambda data: data + b"x",
    "first": lambda data: flipped(data, 3),
    "middle": lambda data: flipped(data, 4 * len(data)),
    "last": lambda data: flipped(data, 8 * len(data) - 9),
}


@pytest.mark.parametrize("name", ["images.npy", "tables.npz", "stack.json"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_that_a_damaged_stack_is_named_set_aside_and_decoded_again(
    name: str, damage: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pixels = [write_face(tmp_path / "in" / f"{i}.png", i) for i in range(2)]
    digest = open_all(tmp_path / "in", tmp_path / "cache").digest
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    damaged = DAMAGE[damage]((folder / name).read_bytes())
    (folder / name).write_bytes(damaged)
    again = open_all(tmp_path / "in", tmp_path / "cache")
    assert again.digest == digest
    np.testing.assert_array_equal(again.images, pixels)
    line, *more = capfd.readouterr().err.splitlines()
    assert str(folder) in line and not more
    assert (tmp_path / "cache" / "quarantine" / folder.name / name).read_bytes() == damaged


def test_that_pixels_are_verified_once_and_after_a_change_of_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_face(tmp_path / "in" / "0.jpg", 0)
    cache = tmp_path / "cache"
    open_all(tmp_path / "in", cache)
    digests = []
    file_digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: (digests.append(1), file_digest(*given))[1])
    open_all(tmp_path / "in", cache)
    del digests[:]  # the source is read while its files are young
    (array,) = cache.glob("*/images.npy")
    sums = []
    for _ in range(2):
        stack_files.read(array.parent)
        sums.append(len(digests))
    os.utime(array, ns=(1, 1))
    for _ in range(2):
        stack_files.read(array.parent)
        sums.append(len(digests))
    assert sums == [0, 0, 1, 1]


def test_that_a_damaged_stack_in_a_read_only_cache_is_one_line_that_says_what_to_delete(tmp_path: Path) -> None:
    write_face(tmp_path / "in" / "0.jpg", 0)
    open_all(tmp_path / "in", tmp_path / "cache")
    (array,) = (tmp_path / "cache").glob("*/images.npy")
    array.write_bytes(array.read_bytes()[:1000])
    with read_only(tmp_path / "cache"), pytest.raises(FrbenchError, match="delete that folder") as error:
        open_all(tmp_path / "in", tmp_path / "cache")
    assert str(array.parent) in str(error.value)


def test_that_a_killed_decoding_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    write_face(tmp_path / "in" / "0.jpg", 0)
    first = open_all(tmp_path / "in", tmp_path / "cache")
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    (folder / "stack.json").unlink()
    folder.rename(folder.with_name(f".{platform.node()}-{dead_process()}-1.tmp"))
    assert open_all(tmp_path / "in", tmp_path / "cache").digest == first.digest
    assert not list((tmp_path / "cache").glob(".*"))


def _open_and_tell(root: Path, cache: Path, barrier, answers) -> None:  # type: ignore[no-untyped-def]
    decode, decoded = imagestore._decode, []
    imagestore._decode = lambda encoded: (decoded.append(1), time.sleep(0.005), decode(encoded))[2]  # type: ignore
    barrier.wait()
    answers.put((open_all(root, cache).digest, len(decoded)))


def test_that_processes_that_open_at_once_decode_once(tmp_path: Path) -> None:
    for i in range(30):
        write_face(tmp_path / "in" / f"{i}.jpg", i)
    fork = multiprocessing.get_context("fork")
    barrier, answers = fork.Barrier(3), fork.Queue()
    arguments = (tmp_path / "in", tmp_path / "cache", barrier, answers)
    processes = [fork.Process(target=_open_and_tell, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    told = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert len({digest for digest, _ in told}) == 1
    assert sorted(decoded for _, decoded in told) == [0, 0, 30]


def test_that_the_combined_digest_depends_on_values_names_and_shapes_but_not_on_integer_types() -> None:
    base = combined_digest("x", a=np.array([1, 0]), b=np.array([[2]]))
    assert base == combined_digest("x", b=np.array([[2]], np.int32), a=np.array([True, False]))
    others = [
        combined_digest("y", a=np.array([1, 0]), b=np.array([[2]])),
        combined_digest("x", a=np.array([1, 1]), b=np.array([[2]])),
        combined_digest("x", a=np.array([1, 0]), b=np.array([2])),
        combined_digest("x", a=np.array([1, 0]), c=np.array([[2]])),
    ]
    assert base not in others
    assert len(set(others)) == 4
