"""Files as people have them: every loader of files reads them, refuses them by name, or counts what it leaves out.

For every option of conf/dataset and conf/identities of which ``small_trees`` writes a tree.
"""

from __future__ import annotations

import os
import pickle
import shutil
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from PIL import Image
from support.small_trees import FEWER, TREES, composed

import frbench.conf
from frbench.datasets.io import file_states
from frbench.datasets.io import image_store as imagestore
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import FaceSet, PairSet, remark_flags

DATASETS = {path.stem for path in (Path(frbench.conf.__file__).parent / "dataset").glob("*.yaml")}
Change = Callable[[int, Image.Image], tuple[bytes, str]]  # of an image: its bytes and suffix


@pytest.fixture(params=sorted(TREES))
def option(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    (tmp_path / "data").mkdir()
    TREES[request.param](tmp_path / "data")
    return request.param


def opened(option: str, tmp_path: Path, cache: str = "cache", **changes: object) -> PairSet | FaceSet:
    group = "dataset" if option in DATASETS else "identities"
    source = instantiate(composed(group, option, tmp_path / "data"), **(FEWER.get(option, {}) | changes))
    return source.open(tmp_path / cache)


def packs(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "data").rglob("*.bin"))


def pictures(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "data").rglob("*") if path.suffix in (".jpg", ".bmp"))


def change_all(tmp_path: Path, change: Change) -> None:
    """Every image of the tree, in files or in a pack, as ``change`` makes it of a picture of its own."""
    for pack in packs(tmp_path):
        images, same = pickle.loads(pack.read_bytes())  # noqa: S301 - the test's own
        pack.write_bytes(pickle.dumps(([change(i, picture(i))[0] for i in range(len(images))], same)))
    for i, path in enumerate(pictures(tmp_path)):
        data, suffix = change(i, picture(i))
        path.unlink()
        path.with_suffix(suffix).write_bytes(data)


def picture(number: int) -> Image.Image:
    """Nobody's face; no two are alike, and none is symmetrical."""
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (112, 112, 3), dtype=np.uint8))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def as_bmp(number: int, image: Image.Image) -> tuple[bytes, str]:
    return saved(image, "BMP"), ".bmp"


def turned(number: int, image: Image.Image) -> tuple[bytes, str]:
    """The first image lies on its side, and EXIF says so."""
    if number:
        return saved(image, "PNG"), ".png"
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(image.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif), ".png"


def damaged(number: int, image: Image.Image) -> tuple[bytes, str]:
    return saved(image, "PNG")[: None if number else 2000], ".png"


def assert_alike(one: PairSet | FaceSet, other: PairSet | FaceSet) -> None:
    assert one.digest == other.digest
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.identity, other.identity)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_every_usual_format_and_suffix_is_read(option: str, tmp_path: Path, kind: str) -> None:
    suffix, options = {"JPEG": (".JPG", {}), "PNG": (".png", {}), "WEBP": (".webp", {"lossless": True, "method": 0})}[
        kind
    ]
    before = len(opened(option, tmp_path).images)
    change_all(tmp_path, lambda number, image: (saved(image, kind, **options), suffix))
    found = opened(option, tmp_path)
    assert not remark_flags(found.remarks, 100)
    if not packs(tmp_path):
        assert len(found.images) == before
    if kind != "JPEG":
        change_all(tmp_path, as_bmp)
        for path in (tmp_path / "data").rglob(f"*{suffix}"):
            path.rename(path.with_suffix(".bmp"))
            path.with_suffix(".bmp").write_bytes(saved(Image.open(path.with_suffix(".bmp")), "BMP"))
        assert_alike(opened(option, tmp_path, "another cache"), found)


def test_a_turned_image_is_turned_upright_and_counted(option: str, tmp_path: Path) -> None:
    change_all(tmp_path, turned)
    found = opened(option, tmp_path)
    assert found.remarks["images_turned_upright"] == 1
    for path in (tmp_path / "data").rglob("*.png"):
        path.rename(path.with_suffix(".jpg"))  # by its content, not by its name
    change_all(tmp_path, lambda number, image: (saved(image, "PNG"), ".png"))
    assert_alike(opened(option, tmp_path, "another cache"), found)


def test_hidden_files_and_folders_are_skipped(option: str, tmp_path: Path) -> None:
    before = opened(option, tmp_path)
    for path in pictures(tmp_path):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7 of macOS")
    for folder in [tmp_path / "data", *(each for each in (tmp_path / "data").rglob("*") if each.is_dir())]:
        (folder / ".DS_Store").write_bytes(b"Bud1")
        for hidden in (".thumbnails", "__MACOSX"):
            (folder / hidden).mkdir()
            (folder / hidden / "._01.jpg").write_bytes(b"no picture")
    assert_alike(opened(option, tmp_path), before)


def test_an_unreadable_image_of_few_is_refused_by_name(option: str, tmp_path: Path) -> None:
    change_all(tmp_path, damaged)
    with pytest.raises(FrbenchError, match=r"is damaged or cut off.*\(1 of \d+ images cannot be read\)") as error:
        opened(option, tmp_path)
    assert "\n" not in str(error.value)
    assert "fetch it" not in str(error.value), "the owner of a file cannot fetch it"


def test_an_unreadable_image_of_many_is_named_left_out_and_counted(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(imagestore, "TOLERATED", 0.4)  # so that few are many
    change_all(tmp_path, lambda number, image: (saved(image, "PNG"), ".png"))
    everybody = {"people": None} if option in FEWER else {}
    whole = opened(option, tmp_path, **everybody)
    for path in (tmp_path / "data").rglob("*.png"):
        path.rename(path.with_suffix(".jpg"))
    change_all(tmp_path, damaged)
    for cache in ("cache", "cache"):  # decoded, then found
        found = opened(option, tmp_path, cache, **everybody)
        assert (found.remarks["images_unreadable"], remark_flags(found.remarks, 100)) == (1, ["images_left_out"])
        assert len(found.images) < len(whole.images)
        assert set(found.identity) == set(range(len(found.people))) or not found.people
    if isinstance(found, PairSet):
        assert found.remarks.get("pairs_left_out", 0) + len(found) >= len(whole) - 4
        assert len(found) < len(whole)
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("way", ["written over", "moved over"])
def test_an_image_replaced_with_equal_size_and_time_is_seen(
    option: str, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_states, "_SETTLED", -(10**18))  # trust states however young
    change_all(tmp_path, as_bmp)
    before = opened(option, tmp_path)
    time.sleep(0.05)  # more than a tick of the clock that stamps files
    place = (packs(tmp_path) or pictures(tmp_path))[0]
    status, other = place.stat(), place.with_name("other")
    other.write_bytes(place.read_bytes().replace(saved(picture(0), "BMP"), saved(picture(99), "BMP")))
    if way == "written over":
        shutil.copyfile(other, place)
        other.unlink()
    else:
        other.replace(place)
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (place.stat().st_size, place.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    after = opened(option, tmp_path)
    assert after.digest != before.digest
    assert (after.images == np.asarray(picture(99))).all(axis=(1, 2, 3)).sum() == 1


def test_a_file_changed_within_a_tick_of_the_clock_is_seen_too(tmp_path: Path) -> None:
    """A state so young that another change may not show in it is not remembered."""
    face, cache = tmp_path / "in" / "0.bmp", tmp_path / "cache"
    face.parent.mkdir()
    digests = set()
    for number in range(5):
        face.write_bytes(saved(picture(number), "BMP"))
        os.utime(face, ns=(1, 1))
        digests.add(imagestore.open_files("some", face.parent, {"0.bmp": "the list"}, cache).digest)
    assert len(digests) == 5
