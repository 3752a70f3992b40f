"""CFP: official splits; in frontal-profile the profile is the probe."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frbench.datasets.cfp import CFP
from frbench.harness.core.errors import FrbenchError

VIEWS = {"frontal": 3, "profile": 2}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four people, two splits of two people. The colour of an image says (person, view, number)."""
    root = tmp_path / "cfp"
    for view, count in VIEWS.items():
        lines = []
        for person in range(1, 5):
            for number in range(1, count + 1):
                path = root / "aligned_112" / f"{person:03d}" / view / f"{number:02d}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (112, 112), colour(person, view, number)).save(path, quality=100)
                lines.append(f"{len(lines) + 1} ../Data/Images/{person:03d}/{view}/{number:02d}.jpg ")
        (root / "Protocol").mkdir(exist_ok=True)
        (root / "Protocol" / f"Pair_list_{view[0].upper()}.txt").write_text("\n".join(lines) + "\n")
    for split, same, diff in (("01", "1,2\n3,1\n", "2,3\n\n4,2\n"), ("02", "7,5\n12,8\n", "8,7\n10,6\n")):
        for kind, text in (("same", same), ("diff", diff)):
            path = root / "Protocol" / "Split" / "FP" / split / f"{kind}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for kind, text in (("same", "1,3\n"), ("diff", "2,5\n")):
        path = root / "Protocol" / "Split" / "FF" / "01" / f"{kind}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "Protocol" / "Split" / "FF" / "02").mkdir()
    (root / "Protocol" / "Split" / "FF" / "02" / "same.txt").write_text("7,8")
    (root / "Protocol" / "Split" / "FF" / "02" / "diff.txt").write_text("9,10")
    return root


def colour(person: int, view: str, number: int) -> tuple[int, int, int]:
    return 60 * person, 200 if view == "profile" else 20, 50 * number


def assert_shows(image: np.ndarray, person: int, view: str, number: int) -> None:
    np.testing.assert_allclose(image.mean((0, 1)), colour(person, view, number), atol=4)


def test_that_the_profile_is_the_probe_and_the_frontal_photo_the_reference(root: Path, tmp_path: Path) -> None:
    opened = CFP(name="cfp_fp", root=root, protocol="FP").open(tmp_path / "cache")
    assert opened.same.tolist() == [True, True, False, False] * 2
    assert opened.fold.tolist() == [0] * 4 + [1] * 4
    assert_shows(opened.images[opened.probe[0]], 1, "profile", 2)
    assert_shows(opened.images[opened.reference[0]], 1, "frontal", 1)
    assert_shows(opened.images[opened.probe[3]], 1, "profile", 2)  # 4,2: person 2's first frontal photo
    assert_shows(opened.images[opened.reference[3]], 2, "frontal", 1)
    assert (opened.identity[opened.decoy] != opened.identity[opened.probe]).all()


def test_that_frontal_frontal_uses_the_frontal_list_twice(root: Path, tmp_path: Path) -> None:
    opened = CFP(name="cfp_ff", root=root, protocol="FF").open(tmp_path / "cache")
    assert_shows(opened.images[opened.reference[0]], 1, "frontal", 1)
    assert_shows(opened.images[opened.probe[0]], 1, "frontal", 3)
    assert opened.fold.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("Split/FP/01/same.txt", "1,2\n3,99\n", r"same\.txt:2: is '3,99', expected two numbers that Pair_list_F"),
        ("Split/FP/01/same.txt", "1;2\n", r"same\.txt:1: is '1;2'"),
        ("Split/FP/01/diff.txt", "1,1\n4,2\n", r"diff\.txt:1: .* cannot be an impostor pair"),
        ("Pair_list_P.txt", "one ../Data/001/profile/01.jpg\n", r"Pair_list_P\.txt:1: .* expected a number and a path"),
    ],
)
def test_that_a_wrong_protocol_is_one_line_with_file_and_line(
    root: Path, tmp_path: Path, file: str, text: str, expected: str
) -> None:
    (root / "Protocol" / file).write_text(text)
    with pytest.raises(FrbenchError, match=expected) as error:
        CFP(name="cfp_fp", root=root, protocol="FP").open(tmp_path / "cache")
    assert "\n" not in str(error.value)


def cut(splits: Path) -> None:
    (splits / "02" / "diff.txt").write_text("8,7\n")


def missing_last(splits: Path) -> None:
    shutil.rmtree(splits / "02")


def missing_first(splits: Path) -> None:
    shutil.rmtree(splits / "01")


def twice_by_another_name(splits: Path) -> None:
    shutil.copytree(splits / "01", splits / "01 copy")


def twice_by_number(splits: Path) -> None:
    shutil.copytree(splits / "01", splits / "03")


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (cut, r"02/diff\.txt: has 1 of the 2 pairs that other splits have"),
        (missing_last, r"FP: 2 of the 4 people of the photo lists are in none of its 1 splits, such as 003"),
        (missing_first, r"FP: holds the folders 02, expected splits numbered from 01 without a gap"),
        (twice_by_another_name, r"FP: holds the folders 01, 01 copy, 02, expected splits numbered"),
        (twice_by_number, r"FP/03: holds the same pairs as 01; remove it"),
    ],
)
def test_that_splits_cut_missing_or_doubled_are_refused(
    root: Path, tmp_path: Path, harm: Callable[[Path], None], expected: str
) -> None:
    harm(root / "Protocol" / "Split" / "FP")
    with pytest.raises(FrbenchError, match=expected) as error:
        CFP(name="cfp_fp", root=root, protocol="FP").open(tmp_path / "cache")
    assert "\n" not in str(error.value)


def test_that_a_number_given_to_two_photos_is_refused(root: Path, tmp_path: Path) -> None:
    with (root / "Protocol" / "Pair_list_F.txt").open("a") as file:
        file.write("3 ../Data/Images/004/frontal/01.jpg\n")
    with pytest.raises(FrbenchError, match=r"Pair_list_F\.txt:13: numbers a second photo 3"):
        CFP(name="cfp_fp", root=root, protocol="FP").open(tmp_path / "cache")


def test_that_a_photo_that_is_not_there_is_named_with_the_pair(root: Path, tmp_path: Path) -> None:
    (root / "aligned_112" / "003" / "profile" / "01.jpg").unlink()
    with pytest.raises(FrbenchError, match=r"02/same\.txt:1: names the image 003/profile/01\.jpg"):
        CFP(name="cfp_fp", root=root, protocol="FP").open(tmp_path / "cache")


@pytest.mark.parametrize("gone", ["Protocol", "Protocol/Pair_list_F.txt", "aligned_112", "Protocol/Split/FP"])
def test_that_a_missing_dataset_says_what_to_run(root: Path, tmp_path: Path, gone: str) -> None:
    (root / gone).rename(tmp_path / "elsewhere")
    with pytest.raises(FrbenchError, match="run: frbench data prepare cfp_fp"):
        CFP(name="cfp_fp", root=root, protocol="FP").open(tmp_path / "cache")


@pytest.mark.realdata
@pytest.mark.parametrize("protocol", ["FP", "FF"])
def test_that_the_real_cfp_has_its_official_shape(real_data: Path, image_cache: Path, protocol: str) -> None:
    opened = CFP(name="cfp", root=real_data / "cfp", protocol=protocol).open(image_cache)
    assert len(opened) == 7000
    assert len(np.unique(opened.identity)) == 500
    people = [set(opened.identity[opened.probe[opened.fold == fold]].tolist()) for fold in range(10)]
    for fold in range(10):
        same = opened.same[opened.fold == fold]
        assert (same.sum(), (~same).sum()) == (350, 350)
        assert not people[fold] & people[fold - 1], "the official splits share no person"
