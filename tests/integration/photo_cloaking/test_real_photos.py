"""``frbench cloak`` on real faces, found by YuNet and cloaked on a real recognizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.photo_folders import lines, snapshot

from frbench.datasets.alignment.face_finder import FaceFinder
from frbench.datasets.alignment.tiled_yunet import TiledYuNet
from frbench.harness.cli.main import main
from frbench.harness.core.face_data import load_images
from frbench.harness.photo_cloaking.photo_files import decode
from frbench.harness.recognizers.architectures.mobilefacenet import MobileFaceNet
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer

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
    words = ["cloak", str(real_photos), "attack=pgd", "attack.steps=10", "attack.restarts=1", "budget=linf_16"]
    words += [f"paths.data={real_data}", "device=cpu"]
    before = snapshot(real_photos)
    assert main(words) == 1
    out, err = capfd.readouterr()
    printed = lines(out)
    assert printed["portrait.jpg"].startswith("1 face cloaked in portrait_cloaked.jpg")
    assert printed["group.png"].startswith("3 faces cloaked in group_cloaked.png")
    assert printed["landscape.jpg"] == "failed, no face found"
    assert printed["damaged.jpg"] == "failed, damaged or truncated"
    assert printed["notes.txt"] == "not a photo"
    assert "Traceback" not in err
    first = snapshot(real_photos)
    assert {name: first[name] for name in before} == before
    assert main(words) == 1
    assert snapshot(real_photos) == first, "a second run does nothing"
    for name, likeness in likenesses(real_photos, real_data).items():
        assert max(likeness) < 0.45, f"{name}: detected and aligned anew, its faces are less like themselves"


def likenesses(root: Path, real_data: Path) -> dict[str, list[float]]:
    """Cosine of each natural face to the one in the photo's copy, detected anew, before the surrogate."""
    detector = TiledYuNet(real_data / "models" / "yunet_n_640_640.onnx")
    weights, mean, std = real_data / "models" / "foamliu_mobilefacenet.pt", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    recognizer = TorchRecognizer("foamliu", MobileFaceNet, str(weights), mean=mean, std=std)
    found = {}
    for name, (height, width) in CANVAS.items():
        natural, cloaked = (root / each for each in (name, name.replace(".", "_cloaked.")))
        pair = [decode(path.read_bytes()) for path in (natural, cloaked)]
        assert [photo.pixels.shape for photo in pair] == [(height, width, 3)] * 2, "upright"
        assert pair[0].kind == pair[1].kind
        faces = [FaceFinder(detector).load()(photo.pixels) for photo in pair]
        crops = [each.crops[np.argsort(each.centres[:, 0])] for each in faces]
        assert len(crops[0]) == len(crops[1])
        with torch.no_grad():
            ours, theirs = (recognizer.embed(load_images(each, np.arange(len(each)))) for each in crops)
        found[name] = (ours * theirs).sum(dim=1).tolist()
    return found
