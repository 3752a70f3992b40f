"""``frbench cloak``: photos are cloaked, others fail with a reason, no file is overwritten; exit codes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from support.photo_folders import FACES, find, lines, photo_folder, picture, snapshot, toy_cloaker

from frbench.attacks.fawkes import Fawkes
from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.harness.core.contracts import Attack
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.images.pasting import Aligned
from frbench.harness.photo_cloaking import batch_job
from frbench.harness.photo_cloaking.batch_job import CloakingJob
from frbench.harness.photo_cloaking.cloaker import Cloaker
from frbench.harness.photo_cloaking.photo_files import BadPhoto, Copies, decode
from frbench.harness.recognizers.architectures.tiny import TinyNet
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer


@pytest.fixture
def cloaker(linear: Callable) -> Cloaker:
    return toy_cloaker(linear(size=112))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return photo_folder(tmp_path / "photos")


def test_that_photos_are_cloaked_and_the_others_have_a_reason(
    folder: Path, cloaker: Cloaker, capfd: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(folder)
    assert CloakingJob().run(folder, cloaker, lambda: find) == 1
    printed = lines(capfd.readouterr().out)
    assert printed["portrait.jpg"].startswith("1 face cloaked in portrait_cloaked.jpg, similarity to the original ")
    assert printed["group.png"].startswith("3 faces cloaked in group_cloaked.png, similarity to the original ")
    assert printed["group.png"].endswith("weak cloak of 1 face under 64 pixels")
    assert printed["landscape.webp"] == "failed, no face found"
    assert printed["damaged.JPG"] == "failed, damaged or truncated"
    assert printed["letter.bmp"].startswith("failed, not an image but a text file that begins with 'dear friend'")
    assert printed["notes.txt"] == "not a photo"
    assert printed[""].startswith("2 photos cloaked, ")
    assert printed[""].endswith("; 0 skipped, 3 failed, 1 other file")
    after = snapshot(folder)
    assert {name: after.pop(name) for name in before} == before
    assert sorted(after) == ["group_cloaked.png", "portrait_cloaked.jpg"]


def test_that_a_second_run_skips_existing_copies(
    folder: Path, cloaker: Cloaker, capfd: pytest.CaptureFixture[str]
) -> None:
    CloakingJob().run(folder, cloaker, lambda: find)
    before = snapshot(folder)
    (folder / "group_cloaked.png").write_bytes(b"somebody's own")
    capfd.readouterr()
    assert CloakingJob().run(folder, cloaker, lambda: find) == 1, "some still have no copy"
    printed = lines(capfd.readouterr().out)
    assert printed["portrait.jpg"] == "skipped, portrait_cloaked.jpg exists"
    assert printed[""] == "0 photos cloaked; 2 skipped, 3 failed, 1 other file"
    assert "portrait_cloaked.jpg" not in printed
    after = snapshot(folder)
    assert after.pop("group_cloaked.png")[0] == b"somebody's own"
    assert after == {name: each for name, each in before.items() if name in after}


def test_that_the_exit_code_is_0_where_every_photo_has_its_copy(folder: Path, cloaker: Cloaker) -> None:
    for name in ("landscape.webp", "damaged.JPG", "letter.bmp"):
        (folder / name).unlink()
    assert [CloakingJob().run(folder, cloaker, lambda: find) for _ in range(2)] == [0, 0]


def test_that_a_killed_run_resumes_with_the_same_copies(tmp_path: Path, cloaker: Cloaker) -> None:
    for place in ("whole", "killed"):
        (tmp_path / place).mkdir()
        for number in range(5):
            picture(240, number).save(tmp_path / place / f"{number}.png")
    one = replace(cloaker, batch_size=1)
    CloakingJob().run(tmp_path / "whole", one, lambda: find)
    calls = iter(range(100))

    def killed(photo: np.ndarray) -> Aligned:
        if next(calls) == 5:  # each photo is looked at twice, so this one is the third
            raise KeyboardInterrupt
        return find(photo)

    with pytest.raises(KeyboardInterrupt):
        CloakingJob().run(tmp_path / "killed", one, lambda: killed)
    assert sorted(path.name for path in (tmp_path / "killed").glob("*_cloaked.png")) == [
        "0_cloaked.png",
        "1_cloaked.png",
    ]
    CloakingJob().run(tmp_path / "killed", one, lambda: find)
    contents = [{name: data for name, (data, _) in snapshot(tmp_path / place).items()} for place in ("whole", "killed")]
    assert contents[0] == contents[1]


def test_that_a_cloak_does_not_depend_on_file_names_other_photos_or_batches(
    folder: Path, tmp_path: Path, cloaker: Cloaker
) -> None:
    tiny = TorchRecognizer("tiny", TinyNet, "pkg:tiny.safetensors", mean=0.5, std=0.5)
    cloaker = replace(cloaker, verifier=CosineVerifier(tiny))
    CloakingJob().run(folder, cloaker, lambda: find)
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.png").write_bytes((folder / "group.png").read_bytes())
    picture(240, 5).save(other / "z.png")
    CloakingJob().run(other, replace(cloaker, batch_size=2), lambda: find)
    assert (other / "a_cloaked.png").read_bytes() == (folder / "group_cloaked.png").read_bytes()
    another = CloakingJob(suffix="_2").run(other, replace(cloaker, seed=1), lambda: find)
    assert another == 0
    assert (other / "a_2.png").read_bytes() != (other / "a_cloaked.png").read_bytes(), "another seed, another cloak"


def test_that_only_the_faces_change_and_look_less_like_themselves(folder: Path, cloaker: Cloaker) -> None:
    CloakingJob().run(folder, cloaker, lambda: find)
    before, after = (decode((folder / name).read_bytes()).pixels for name in ("group.png", "group_cloaked.png"))
    y, x = np.mgrid[0:220, 0:320]
    away = np.ones((220, 320), bool)
    for matrix in FACES[320]:
        mapped = np.stack([x, y], -1) @ matrix[:, :2].T + matrix[:, 2]
        away &= ~((mapped > -1) & (mapped < 112)).all(-1)
    assert away.mean() > 0.4
    assert np.array_equal(before[away], after[away])
    assert np.abs(before.astype(int) - after).max() <= 2 * 8 + 1, "the budget, twice where two faces overlap"
    assert max(cloaker.similarities(find(after).crops, find(before).crops)) < 0.97


def test_that_photos_are_cloaked_in_batches(tmp_path: Path, cloaker: Cloaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays flat: no more is open than a batch of faces needs, or than the limit of pixels allows."""
    for number in range(7):
        picture(240, number).save(tmp_path / f"{number}.png")
    sizes: list[int] = []
    changes = Cloaker.perturbations
    monkeypatch.setattr(
        Cloaker, "perturbations", lambda self, crops: (sizes.append(len(crops)), changes(self, crops))[1]
    )
    CloakingJob(suffix="_a").run(tmp_path, replace(cloaker, batch_size=3), lambda: find)
    assert sizes == [3, 3, 1]
    monkeypatch.setattr(batch_job, "_MEMORY", 240 * 220 * 3)
    CloakingJob(suffix="_b", out=str(tmp_path / "out")).run(tmp_path, replace(cloaker, batch_size=3), lambda: find)
    assert sizes[3:] == [2] * 7, "photos and their copies of before, two at a time"


def test_that_subfolders_are_cloaked_with_recursive(folder: Path, tmp_path: Path, cloaker: Cloaker) -> None:
    (folder / "trip").mkdir()
    picture(240, 3).save(folder / "trip" / "us.png")
    out = folder / "safe"
    for _ in range(2):  # the second time what is in safe must not be taken for photos
        CloakingJob(out=str(out), suffix="", recursive=True).run(folder, cloaker, lambda: find)
    copies = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*"))
    assert copies == ["group.png", "portrait.jpg", "trip/us.png"]
    CloakingJob(out=str(tmp_path / "flat")).run(folder, cloaker, lambda: find)
    assert sorted(each.name for each in (tmp_path / "flat").iterdir()) == ["group_cloaked.png", "portrait_cloaked.jpg"]


def test_that_a_single_photo_can_be_cloaked(folder: Path, cloaker: Cloaker) -> None:
    assert CloakingJob().run(folder / "portrait.jpg", cloaker, lambda: find) == 0
    assert sorted(path.name for path in folder.glob("*_cloaked*")) == ["portrait_cloaked.jpg"]


def test_that_an_unsupported_format_counts_as_failed(
    tmp_path: Path, cloaker: Cloaker, capfd: pytest.CaptureFixture[str]
) -> None:
    picture(240).save(tmp_path / "a.jfif", "JPEG")
    (tmp_path / "b.TIFF").write_bytes(b"from a scanner")
    assert CloakingJob().run(tmp_path, cloaker, lambda: find) == 1
    printed = lines(capfd.readouterr().out)
    assert printed["a.jfif"].startswith("1 face cloaked in a_cloaked.jfif")
    assert printed["b.TIFF"] == "failed, .tiff is not supported; save it as JPEG or PNG"


def test_that_the_summary_shows_the_size_below_which_faces_were_not_searched_for(
    folder: Path, cloaker: Cloaker, capfd: pytest.CaptureFixture[str]
) -> None:
    smallest = {240: 20.0, 320: 31.5, 200: 24.0}

    def limited(photo: np.ndarray) -> Aligned:
        return find(photo)._replace(smallest=smallest[photo.shape[1]])

    CloakingJob().run(folder, cloaker, lambda: limited)
    out = lines(capfd.readouterr().out)[""]
    assert out.endswith("1 other file; faces under 32 pixels per side were not searched for")


@pytest.mark.parametrize("attack", [ProjectedDescent(steps=2, restarts=2), Fawkes(steps=4)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_that_gray_stays_gray(
    mode: str, attack: Attack, tmp_path: Path, cloaker: Cloaker, capfd: pytest.CaptureFixture[str]
) -> None:
    """One channel stays one, three equal ones stay equal, and a photo in colours beside them has a cloak in colours."""
    picture(240).convert("L").convert(mode).save(tmp_path / "gray.png")
    picture(240, 1).save(tmp_path / "colours.png")
    tiny = TorchRecognizer("tiny", TinyNet, "pkg:tiny.safetensors", mean=0.5, std=0.5)
    able = replace(cloaker, verifier=CosineVerifier(tiny), attack=attack)
    assert CloakingJob().run(tmp_path, able, lambda: find) == 0, capfd.readouterr().out
    copies = [Image.open(tmp_path / f"{name}_cloaked.png") for name in ("gray", "colours")]
    assert [copy.mode for copy in copies] == [mode, "RGB"]
    gray, colours = (np.asarray(copy.convert("RGB")).astype(int) for copy in copies)
    assert (gray == gray[:, :, :1]).all()
    before = [np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB")) for name in ("gray", "colours")]
    assert np.abs(gray - before[0]).max() > 2
    change = colours - before[1]
    assert (change != change[:, :, :1]).any()


def test_that_a_face_undetected_in_the_copy_is_reported(
    folder: Path, cloaker: Cloaker, capfd: pytest.CaptureFixture[str]
) -> None:
    original = np.asarray(Image.open(folder / "group.png"))

    def blinded(photo: np.ndarray) -> Aligned:
        faces = find(photo)
        same = photo.shape == original.shape and np.array_equal(photo, original)
        return faces if same else Aligned(faces.crops[:1], faces.matrices[:1])

    (folder / "portrait.jpg").unlink()
    CloakingJob().run(folder, cloaker, lambda: blinded)
    assert ", 2 not detected in the copy," in lines(capfd.readouterr().out)["group.png"]


def test_that_no_file_is_overwritten_whatever_its_name(
    folder: Path, cloaker: Cloaker, capfd: pytest.CaptureFixture[str]
) -> None:
    own = {".portrait_cloaked.jpg.part": b"half a letter", ".x.part": b"another"}
    for name, data in own.items():
        (folder / name).write_bytes(data)
    (folder / "group_cloaked.png").symlink_to(folder / "on a disk that is not there.png")
    CloakingJob().run(folder, cloaker, lambda: find)
    assert lines(capfd.readouterr().out)["group.png"] == "skipped, group_cloaked.png exists"
    assert (folder / "group_cloaked.png").is_symlink() and (folder / "portrait_cloaked.jpg").is_file()
    assert {path.name: path.read_bytes() for path in folder.glob(".*.part")} == own


def test_that_a_copy_created_in_the_meantime_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    copies = Copies(folder, None, "_cloaked")
    (folder / "portrait_cloaked.jpg").write_bytes(b"somebody's own")
    with pytest.raises(BadPhoto, match="portrait_cloaked.jpg was created in the meantime"):
        copies.write(folder / "portrait.jpg", b"ours")
    assert (folder / "portrait_cloaked.jpg").read_bytes() == b"somebody's own"
    assert not list(folder.glob(".*"))


def test_that_copies_are_atomic_on_file_systems_without_links(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    copies = Copies(folder, None, "_cloaked")
    assert copies.write(folder / "portrait.jpg", b"ours").read_bytes() == b"ours"
    with pytest.raises(BadPhoto, match="was created in the meantime"):
        copies.write(folder / "portrait.jpg", b"others")
    assert not list(folder.glob(".*"))


def test_that_unusual_file_names_do_not_stop_the_job(
    folder: Path, cloaker: Cloaker, capfd: pytest.CaptureFixture[str]
) -> None:
    photo = (folder / "portrait.jpg").read_bytes()
    long = "a" * 250 + ".jpg"
    (folder / long).write_bytes(photo)
    (folder / os.fsdecode(b"Andr\xe9.jpg")).write_bytes(photo)
    assert CloakingJob().run(folder, cloaker, lambda: find) == 1
    printed = lines(capfd.readouterr().out)
    assert printed[long].startswith("failed, cannot write") and printed[long].endswith("(File name too long)")
    assert printed["Andr\\udce9.jpg"].startswith("1 face cloaked in Andr\\udce9_cloaked.jpg")
    assert printed[""].startswith("3 photos cloaked")


def test_that_16_bit_photos_fail(folder: Path, cloaker: Cloaker, capfd: pytest.CaptureFixture[str]) -> None:
    deep = np.full((240, 240, 3), 40_000, np.uint16)
    assert cv2.imwrite(str(folder / "deep.png"), deep)
    CloakingJob().run(folder, cloaker, lambda: find)
    assert "16 bits per channel" in lines(capfd.readouterr().out)["deep.png"]
    assert not (folder / "deep_cloaked.png").exists()
