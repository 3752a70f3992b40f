"""Identity folders: a folder is a person."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frbench.datasets.identity_folders import IdentityFolders
from frbench.harness.core.errors import FrbenchError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for person, files in {
        "b": ["2.jpg", "1.JPG"],
        "a": ["x.png", "frontal/01.jpg"],
        "c": ["1.jpg"],
        "empty": [],
    }.items():
        (tmp_path / "faces" / person).mkdir(parents=True)
        for i, file in enumerate(files):
            path = tmp_path / "faces" / person / file
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", (112, 112), (ord(person), 100 * i, 0)).save(path)
    (tmp_path / "faces" / "b" / "notes.txt").write_text("no image")
    (tmp_path / "faces" / ".hidden").mkdir()
    return tmp_path / "faces"


def test_that_people_are_folders_and_images_know_their_person(root: Path, tmp_path: Path) -> None:
    faces = IdentityFolders(name="celeba", root=root).open(tmp_path / "cache")
    assert faces.people == ("a", "b", "c")
    assert faces.identity.tolist() == [0, 0, 1, 1, 2]
    reds = faces.images[:, 0, 0, 0]
    np.testing.assert_allclose(reds, [ord("abc"[i]) for i in faces.identity], atol=3)


def test_that_limit_people_takes_the_first_by_name(root: Path, tmp_path: Path) -> None:
    faces = IdentityFolders(name="celeba", root=root, limit_people=2).open(tmp_path / "cache")
    assert faces.people == ("a", "b")
    assert len(faces.images) == 4


def test_that_the_same_pixels_in_other_folders_are_another_set(root: Path, tmp_path: Path) -> None:
    before = IdentityFolders(name="celeba", root=root).open(tmp_path / "cache").digest
    (root / "c" / "1.jpg").rename(root / "b" / "3.jpg")
    assert IdentityFolders(name="celeba", root=root).open(tmp_path / "cache").digest != before


def test_that_a_missing_or_empty_folder_is_one_clear_line(root: Path, tmp_path: Path) -> None:
    with pytest.raises(FrbenchError, match=r"nowhere: not found.*frbench data prepare celeba"):
        IdentityFolders(name="celeba", root=root / "nowhere").open(tmp_path)
    with pytest.raises(FrbenchError, match="expected one folder per person"):
        IdentityFolders(name="celeba", root=root / "empty").open(tmp_path)
    with pytest.raises(FrbenchError, match="limit_people=0"):
        IdentityFolders(name="celeba", root=root, limit_people=0).open(tmp_path)


def test_that_what_is_left_out_is_counted_and_told(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (112, 112)).save(root / "of nobody.jpg")
    Image.new("RGB", (112, 112)).save(root / "a" / "moving.gif")
    for person in ("phone", "web"):
        (root / person).mkdir()
    (root / "phone" / "1.heic").write_bytes(b"....ftypheic")
    Image.new("RGB", (112, 112)).save(root / "web" / "1.webp")
    faces = IdentityFolders(name="celeba", root=root).open(tmp_path / "cache")
    assert faces.people == ("a", "b", "c", "web")
    found = {name: count for name, count in faces.remarks.items() if count}
    assert found == {
        "files_of_other_kinds": 1,
        "images_of_other_formats": 2,
        "images_outside_people": 1,
        "people_without_images": 2,
    }
    told = capsys.readouterr().err
    assert "1 images in no person's folder, 2 images of formats that are not read" in told
    assert "2 folders without an image" in told


def test_that_linked_folders_are_followed_and_circles_are_not(root: Path, tmp_path: Path) -> None:
    (root / "c" / "more").symlink_to(root / "b", target_is_directory=True)
    (root / "c" / "circle").symlink_to(root, target_is_directory=True)
    faces = IdentityFolders(name="celeba", root=root).open(tmp_path / "cache")
    assert (faces.identity == 2).sum() == 3


@pytest.mark.realdata
def test_that_the_real_celeba_crops_open(real_data: Path, image_cache: Path) -> None:
    faces = IdentityFolders(name="celeba", root=real_data / "celeba" / "aligned_112").open(image_cache)
    assert len(faces.images) == 5201
    assert len(faces.people) == len(np.unique(faces.identity)) == 277
