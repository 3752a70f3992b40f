"""``frbench cloak``: good photos done, others named with reasons, nothing overwritten, and an exit code that tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from frbench.attacks.descent import ProjectedDescent
from frbench.datasets.alignment import YuNet
from frbench.datasets.portraits import FaceFinder
from frbench.harness import build, protecting
from frbench.harness.budgets import Linf
from frbench.harness.cli import main
from frbench.harness.cloaker import Cloaker
from frbench.harness.contracts import AttackResult, View
from frbench.harness.errors import FrbenchError, Refused
from frbench.harness.faces import PairBatch, load_images
from frbench.harness.goals import Cloak
from frbench.harness.pasting import Aligned
from frbench.harness.photos import decoded
from frbench.harness.protecting import Protecting
from frbench.harness.recognizers.mobilefacenet import MobileFaceNet
from frbench.harness.recognizers.tiny import TinyNet
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer
from frbench.harness.verifiers import CosineVerifier

cv2 = pytest.importorskip("cv2")

Snapshot = dict[str, tuple[bytes, int]]


def similarity(side: float, angle: float, middle: tuple[float, float]) -> np.ndarray:
    """Photo to crop, of a face whose crop spans ``side`` pixels of the photo, turned, with its middle there."""
    scale, turn = 112 / side, np.deg2rad(angle)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.concatenate([matrix, (55.5 - matrix @ np.array(middle))[:, None]], 1)


# Where the stand-in of a detector sees faces, by the width of the photo.
FACES = {
    240: [similarity(130, 8, (120, 110))],
    320: [similarity(90, -10, (70, 80)), similarity(60, 0, (200, 60)), similarity(100, 25, (230, 150))],
    200: [],
}


def find(photo: np.ndarray) -> Aligned:
    matrices = np.array(FACES[photo.shape[1]]).reshape(-1, 2, 3)
    crops = [cv2.warpAffine(photo, matrix, (112, 112)) for matrix in matrices]
    return Aligned(np.array(crops, np.uint8).reshape(-1, 112, 112, 3), matrices)


def picture(width: int, seed: int = 0) -> Image.Image:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(220, width, 3)), (8, 8, 0))
    return Image.fromarray(((noise - noise.min()) / np.ptp(noise) * 255).astype(np.uint8))


@pytest.fixture
def cloaker(linear: Callable) -> Cloaker:
    verifier, attack = CosineVerifier(linear(size=112)), ProjectedDescent(steps=3, stride=2.0)
    return Cloaker(verifier, attack, Cloak(), Linf(8 / 255), 0.02, 0, 4, torch.device("cpu"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A portrait, a group photo, a photo without a face, a damaged file, a letter, and a text file."""
    root = tmp_path / "photos"
    root.mkdir()
    picture(240).save(root / "portrait.jpg", quality=90)
    picture(320, 1).save(root / "group.png")
    picture(200).save(root / "landscape.webp")
    (root / "damaged.JPG").write_bytes((root / "portrait.jpg").read_bytes()[:2000])
    (root / "letter.bmp").write_text("dear friend")
    (root / "notes.txt").write_text("these are notes")
    return root


def snapshot(root: Path) -> Snapshot:
    found = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def lines(out: str) -> dict[str, str]:
    """What is told of each file, by name; the last line under nothing."""
    *each, last = out.splitlines()
    return {"": last} | dict(line.split(": ", 1) for line in each)


def test_that_the_good_ones_are_done_and_the_others_named_with_reasons(
    folder: Path, cloaker: Cloaker, capfd: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(folder)
    assert Protecting().run(folder, cloaker, lambda: find) == 1
    told = lines(capfd.readouterr().out)
    assert told["portrait.jpg"].startswith("1 face cloaked in portrait_cloaked.jpg, similarity to the natural ")
    assert told["group.png"].startswith("3 faces cloaked in group_cloaked.png, similarity to the natural ")
    assert told["group.png"].endswith("1 face under 64 pixels, weakly cloaked")
    assert told["landscape.webp"] == "failed, no face found"
    assert told["damaged.JPG"] == "failed, damaged or cut off"
    assert told["letter.bmp"] == "failed, not a picture, whatever its name says"
    assert told["notes.txt"] == "not a photo"
    assert told[""].startswith("2 photos cloaked, ")
    assert told[""].endswith("; 0 had a copy, 3 failed, 1 other file")
    after = snapshot(folder)
    assert {name: after.pop(name) for name in before} == before
    assert sorted(after) == ["group_cloaked.png", "portrait_cloaked.jpg"]


def test_that_a_second_run_does_nothing_again(
    folder: Path, cloaker: Cloaker, capfd: pytest.CaptureFixture[str]
) -> None:
    Protecting().run(folder, cloaker, lambda: find)
    before = snapshot(folder)
    (folder / "group_cloaked.png").write_bytes(b"somebody's own")
    capfd.readouterr()
    assert Protecting().run(folder, cloaker, lambda: find) == 1, "some still have no copy"
    told = lines(capfd.readouterr().out)
    assert told["portrait.jpg"] == "left alone, for portrait_cloaked.jpg is there already"
    assert told[""] == "0 photos cloaked; 2 had a copy, 3 failed, 1 other file"
    assert "portrait_cloaked.jpg" not in told
    after = snapshot(folder)
    assert after.pop("group_cloaked.png")[0] == b"somebody's own"
    assert after == {name: each for name, each in before.items() if name in after}


def test_that_the_exit_code_is_0_where_every_photo_has_its_copy(folder: Path, cloaker: Cloaker) -> None:
    for name in ("landscape.webp", "damaged.JPG", "letter.bmp"):
        (folder / name).unlink()
    assert [Protecting().run(folder, cloaker, lambda: find) for _ in range(2)] == [0, 0]


def test_that_a_killed_run_goes_on_to_the_same_copies(tmp_path: Path, cloaker: Cloaker) -> None:
    for place in ("whole", "killed"):
        (tmp_path / place).mkdir()
        for number in range(5):
            picture(240, number).save(tmp_path / place / f"{number}.png")
    one = replace(cloaker, batch_size=1)
    Protecting().run(tmp_path / "whole", one, lambda: find)
    calls = iter(range(100))

    def killed(photo: np.ndarray) -> Aligned:
        if next(calls) == 5:  # each photo is looked at twice, so this one is the third
            raise KeyboardInterrupt
        return find(photo)

    with pytest.raises(KeyboardInterrupt):
        Protecting().run(tmp_path / "killed", one, lambda: killed)
    assert sorted(path.name for path in (tmp_path / "killed").glob("*_cloaked.png")) == [
        "0_cloaked.png",
        "1_cloaked.png",
    ]
    Protecting().run(tmp_path / "killed", one, lambda: find)
    contents = [{name: data for name, (data, _) in snapshot(tmp_path / place).items()} for place in ("whole", "killed")]
    assert contents[0] == contents[1]


def test_that_a_cloak_does_not_depend_on_names_neighbours_or_batches(
    folder: Path, tmp_path: Path, cloaker: Cloaker
) -> None:
    tiny = TorchRecognizer("tiny", TinyNet, "pkg:tiny.safetensors", mean=0.5, std=0.5)
    cloaker = replace(cloaker, verifier=CosineVerifier(tiny))
    Protecting().run(folder, cloaker, lambda: find)
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.png").write_bytes((folder / "group.png").read_bytes())
    picture(240, 5).save(other / "z.png")
    Protecting().run(other, replace(cloaker, batch_size=2), lambda: find)
    assert (other / "a_cloaked.png").read_bytes() == (folder / "group_cloaked.png").read_bytes()
    another = Protecting(suffix="_2").run(other, replace(cloaker, seed=1), lambda: find)
    assert another == 0
    assert (other / "a_2.png").read_bytes() != (other / "a_cloaked.png").read_bytes(), "another seed, another cloak"


def test_that_only_the_faces_change_and_look_less_like_themselves(folder: Path, cloaker: Cloaker) -> None:
    Protecting().run(folder, cloaker, lambda: find)
    before, after = (decoded((folder / name).read_bytes()).pixels for name in ("group.png", "group_cloaked.png"))
    y, x = np.mgrid[0:220, 0:320]
    away = np.ones((220, 320), bool)
    for matrix in FACES[320]:
        mapped = np.stack([x, y], -1) @ matrix[:, :2].T + matrix[:, 2]
        away &= ~((mapped > -1) & (mapped < 112)).all(-1)
    assert away.mean() > 0.4
    assert np.array_equal(before[away], after[away])
    assert np.abs(before.astype(int) - after).max() <= 2 * 8 + 1, "the budget, twice where two faces overlap"
    assert max(cloaker.similarities(find(after).crops, find(before).crops)) < 0.97


def test_that_photos_are_done_in_parts_that_fill_a_batch(
    tmp_path: Path, cloaker: Cloaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory stays flat: no more is open than a batch of faces needs, or than the limit of pixels allows."""
    for number in range(7):
        picture(240, number).save(tmp_path / f"{number}.png")
    sizes: list[int] = []
    changes = Cloaker.changes
    monkeypatch.setattr(Cloaker, "changes", lambda self, crops: (sizes.append(len(crops)), changes(self, crops))[1])
    Protecting(suffix="_a").run(tmp_path, replace(cloaker, batch_size=3), lambda: find)
    assert sizes == [3, 3, 1]
    monkeypatch.setattr(protecting, "_HELD", 240 * 220 * 3)
    Protecting(suffix="_b", out=str(tmp_path / "out")).run(tmp_path, replace(cloaker, batch_size=3), lambda: find)
    assert sizes[3:] == [2] * 7, "photos and their copies of before, two at a time"


def test_that_folders_inside_are_done_where_asked_and_their_copies_lie_alike(
    folder: Path, tmp_path: Path, cloaker: Cloaker
) -> None:
    (folder / "trip").mkdir()
    picture(240, 3).save(folder / "trip" / "us.png")
    out = folder / "safe"
    for _ in range(2):  # the second time what is in safe must not be taken for photos
        Protecting(out=str(out), suffix="", recursive=True).run(folder, cloaker, lambda: find)
    copies = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*"))
    assert copies == ["group.png", "portrait.jpg", "trip/us.png"]
    Protecting(out=str(tmp_path / "flat")).run(folder, cloaker, lambda: find)
    assert sorted(each.name for each in (tmp_path / "flat").iterdir()) == ["group_cloaked.png", "portrait_cloaked.jpg"]


def test_that_a_single_photo_may_be_named(folder: Path, cloaker: Cloaker) -> None:
    assert Protecting().run(folder / "portrait.jpg", cloaker, lambda: find) == 0
    assert sorted(path.name for path in folder.glob("*_cloaked*")) == ["portrait_cloaked.jpg"]


def test_that_a_picture_of_a_format_that_is_not_read_counts_as_not_done(
    tmp_path: Path, cloaker: Cloaker, capfd: pytest.CaptureFixture[str]
) -> None:
    picture(240).save(tmp_path / "a.png")
    (tmp_path / "b.HEIC").write_bytes(b"from a telephone")
    assert Protecting().run(tmp_path, cloaker, lambda: find) == 1
    assert lines(capfd.readouterr().out)["b.HEIC"].startswith("failed, .HEIC pictures are not read; save it as one of")


def test_that_a_face_that_a_detector_finds_no_more_is_told(
    folder: Path, cloaker: Cloaker, capfd: pytest.CaptureFixture[str]
) -> None:
    original = np.asarray(Image.open(folder / "group.png"))

    def blinded(photo: np.ndarray) -> Aligned:
        faces = find(photo)
        same = photo.shape == original.shape and np.array_equal(photo, original)
        return faces if same else Aligned(faces.crops[:1], faces.matrices[:1])

    (folder / "portrait.jpg").unlink()
    Protecting().run(folder, cloaker, lambda: blinded)
    assert ", 2 not found any more," in lines(capfd.readouterr().out)["group.png"]


@dataclass(frozen=True)
class Lazy:
    """An attack that gives back what it gets, or NaN."""

    worth: float = 0.0

    needs_gradient = bounded = stops_early = batch_dependent = False

    def __call__(self, view: View, pairs: PairBatch, goal: object, budget: object) -> AttackResult:
        return AttackResult(pairs.probe + self.worth, pairs.same, pairs.index)


@pytest.mark.parametrize("worth", [0.0, float("nan")])
def test_that_an_unprotected_face_is_never_passed_off_as_cloaked(
    worth: float, folder: Path, cloaker: Cloaker, capfd: pytest.CaptureFixture[str]
) -> None:
    lazy = replace(cloaker, attack=Lazy(worth))  # type: ignore[arg-type]
    assert Protecting().run(folder, lazy, lambda: find) == 1
    assert "failed, the attack changed nothing in 3 faces" in lines(capfd.readouterr().out)["group.png"]
    assert not list(folder.glob("*_cloaked*"))


@dataclass(frozen=True)
class Refusing(Lazy):
    """An attack that finds out late that it cannot."""

    def __call__(self, view: View, pairs: PairBatch, goal: object, budget: object) -> AttackResult:
        raise Refused("this cannot be")


def test_that_a_black_box_a_late_refusal_and_senseless_numbers_are_one_line(
    folder: Path, cloaker: Cloaker, linear: Callable
) -> None:
    blind = CosineVerifier(replace(linear(size=112), differentiable=False))
    wrong: Iterator[tuple[Cloaker, str]] = iter(
        [
            (replace(cloaker, verifier=blind), "ProjectedDescent needs gradients and this recognizer is a black box"),
            (replace(cloaker, attack=Refusing()), "this cannot be"),  # type: ignore[arg-type]
            (replace(cloaker, batch_size=0), "batch_size=0"),
            (replace(cloaker, spread=-0.1), "spread=-0.1"),
        ]
    )
    for each, told in wrong:
        with pytest.raises(FrbenchError, match=told):
            Protecting().run(folder, each, lambda: find)
    for options in ({"quality": 0}, {"quality": 101}, {"suffix": ""}):
        with pytest.raises(FrbenchError):
            Protecting(**options).run(folder, cloaker, lambda: find)
    assert not list(folder.glob("*_cloaked*"))


def test_that_a_black_box_may_be_asked_by_an_attack_that_needs_no_gradient(
    folder: Path, cloaker: Cloaker, linear: Callable
) -> None:
    blind = CosineVerifier(replace(linear(size=112), differentiable=False))
    asking = replace(cloaker, verifier=blind, attack=Lazy(4 / 255))  # type: ignore[arg-type]
    Protecting().run(folder, asking, lambda: find)
    assert len(list(folder.glob("*_cloaked*"))) == 2


def test_that_a_place_without_photos_is_bad_usage(folder: Path, cloaker: Cloaker) -> None:
    empty = folder / "empty"
    empty.mkdir()
    (empty / "notes.txt").touch()
    (empty / "a_cloaked.jpg").touch()
    for place, told in (
        (empty, "holds no photos"),
        (folder / "absent", "is not there"),
        (folder / "notes.txt", "no ph"),
    ):
        with pytest.raises(FrbenchError, match=told):
            Protecting().run(place, cloaker, lambda: find)


def one_line(words: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """What ``frbench cloak`` says of bad usage, once it is known to be all that it says."""
    assert main(["cloak", *words]) == 2
    out, err = capfd.readouterr()
    assert not out and err.startswith("frbench: ") and err.count("\n") == 1 and "Traceback" not in err, out + err
    return err


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["attack=fawks"], "did you mean fawkes"),
        (["recognizer=foamliu"], "foamliu_mobilefacenet"),
        (["qualty=90"], "did you mean quality?"),
        (["attack=pgd", "attack.stepz=3"], "did you mean attack.steps?"),
        (["defense=jpeg"], "defense is not something"),
        (["quality=high"], "quality=high is not int"),
        (["attack=none"], "attack that changes nothing"),
        (["recognizer=face_reid_0095"], "black box"),
        (["finder._target_=os.system"], "trust=[os]"),
        (["recognizer=iresnet18"], "iresnet18.pth"),
        (["-m", "attack=pgd,fgsm"], "takes no sweep"),
        (["another"], "one folder or photo"),
    ],
)
def test_that_bad_usage_is_one_line(
    typed: list[str], told: str, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [str(folder), *typed, f"paths.data={tmp_path}", f"paths.cache={tmp_path}", "device=cpu"]
    assert told in one_line(words, capfd)
    assert not list(folder.glob("*_cloaked*"))


def test_that_a_missing_detector_is_told_before_anything_is_done(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [str(folder), "recognizer=tiny", f"paths.data={tmp_path}", "device=cpu"]
    assert "run: frbench data prepare yunet" in one_line(words, capfd)


def test_that_help_of_the_verb_names_options_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cloak", "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: frbench cloak FOLDER")
    assert "Exit code: 0" in out and "recognizer=" in out and max(map(len, out.splitlines())) <= 120


# Real faces, found by YuNet and cloaked on a real recognizer.

CANVAS = {"portrait.jpg": (520, 620), "group.png": (420, 1000)}


def scene(height: int, width: int, faces: list[tuple[Path, int, int, int]]) -> np.ndarray:
    """Aligned crops, enlarged to a side and put with their corners at x, y of a plain background."""
    canvas = np.full((height, width, 3), (96, 120, 140), np.uint8)
    for path, side, x, y in faces:
        crop = Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
        canvas[y : y + side, x : x + side] = np.asarray(crop)
    return canvas


@pytest.fixture
def real_photos(real_data: Path, tmp_path: Path) -> Path:
    people = sorted((real_data / "celeba" / "aligned_112").iterdir())[10:50:10]
    one, two, three, four = (sorted(person.glob("*.jpg"))[0] for person in people)
    root = tmp_path / "photos"
    root.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 8  # stored turned: upright it has to be turned back by 90 degrees
    portrait = np.rot90(scene(520, 620, [(one, 380, 120, 70)]), -1)
    Image.fromarray(portrait).save(root / "portrait.jpg", quality=95, exif=exif)
    group = scene(420, 1000, [(two, 260, 40, 60), (three, 200, 400, 150), (four, 240, 700, 90)])
    Image.fromarray(group).save(root / "group.png")
    Image.fromarray(scene(300, 400, [])).save(root / "landscape.jpg")
    (root / "damaged.jpg").write_bytes((root / "portrait.jpg").read_bytes()[:20_000])
    (root / "notes.txt").write_text("these are notes")
    return root


@pytest.mark.realdata
def test_that_a_users_folder_is_protected(
    real_photos: Path, real_data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["cloak", str(real_photos), "attack=pgd", "attack.steps=10", "attack.starts=1", "budget=linf_16"]
    words += [f"paths.data={real_data}", "device=cpu"]
    before = snapshot(real_photos)
    assert main(words) == 1
    out, err = capfd.readouterr()
    told = lines(out)
    assert told["portrait.jpg"].startswith("1 face cloaked in portrait_cloaked.jpg")
    assert told["group.png"].startswith("3 faces cloaked in group_cloaked.png")
    assert told["landscape.jpg"] == "failed, no face found"
    assert told["damaged.jpg"] == "failed, damaged or cut off"
    assert told["notes.txt"] == "not a photo"
    assert "Traceback" not in err
    first = snapshot(real_photos)
    assert {name: first[name] for name in before} == before
    assert main(words) == 1
    assert snapshot(real_photos) == first, "a second run does nothing"
    for name, likeness in likenesses(real_photos, real_data).items():
        assert max(likeness) < 0.45, f"{name}: detected and aligned anew, its faces are less like themselves"


def likenesses(root: Path, real_data: Path) -> dict[str, list[float]]:
    """Cosine of each natural face to the one in the photo's copy, detected anew, before the surrogate."""
    detector = YuNet(real_data / "models" / "yunet_n_640_640.onnx", ((0, 0.6), (640, 0.6), (320, 0.6)))
    weights, mean, std = real_data / "models" / "foamliu_mobilefacenet.pt", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    recognizer = TorchRecognizer("foamliu", MobileFaceNet, str(weights), mean=mean, std=std)
    found = {}
    for name, (height, width) in CANVAS.items():
        natural, cloaked = (root / each for each in (name, name.replace(".", "_cloaked.")))
        pair = [decoded(path.read_bytes()) for path in (natural, cloaked)]
        assert [photo.pixels.shape for photo in pair] == [(height, width, 3)] * 2, "upright"
        assert pair[0].kind == pair[1].kind
        faces = [FaceFinder(detector).load()(photo.pixels) for photo in pair]
        crops = [each.crops[np.argsort(each.centres[:, 0])] for each in faces]
        assert len(crops[0]) == len(crops[1])
        with torch.no_grad():
            ours, theirs = (recognizer.embed(load_images(each, np.arange(len(each)))) for each in crops)
        found[name] = (ours * theirs).sum(dim=1).tolist()
    return found


def test_that_the_default_is_fawkes_and_yunet_and_a_goal_of_leaving_oneself() -> None:
    with hydra.initialize_config_module("frbench.conf", version_base="1.3"):
        config = build.plain(hydra.compose("cloak"))
    assert build.instantiate(config["attack"], "attack").cap == 15
    assert build.instantiate(config["goal"], "goal") == Cloak()
    assert build.instantiate(config["protecting"], "cloak") == Protecting()
