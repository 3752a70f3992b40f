"""LFW: the official folds, and one clear line for each way in which the files can be wrong."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frbench.datasets.lfw import LFW
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import remark_flags


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two folds of 2 + 2 pairs; in fold f the people are Af, Bf and Cf with two images each, and one unnamed."""
    lines = ["2\t2"]
    for fold in range(2):
        a, b, c = (f"{letter}_{fold}" for letter in "ABC")
        lines += [f"{a}\t1\t2", f"{b}\t2\t1", f"{a}\t1\t{b}\t2", f"{c}\t1\t{a}\t2"]
        for k, person in enumerate((a, b, c, "Unnamed")):
            for number in (1, 2):
                path = tmp_path / "lfw" / "aligned_112" / person / f"{person}_{number:04d}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (112, 112), (80 * fold, 60 * k, 100 * number)).save(path)
    (tmp_path / "lfw" / "pairs.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "lfw"


def test_that_pairs_folds_people_and_images_are_those_of_the_list(root: Path, tmp_path: Path) -> None:
    opened = LFW(name="lfw", root=str(root)).open(tmp_path / "cache")
    assert opened.same.tolist() == [True, True, False, False] * 2
    assert opened.fold.tolist() == [0] * 4 + [1] * 4
    assert len(opened.images) == 10, "only images that pairs name are decoded"
    assert len(set(opened.identity.tolist())) == 6
    np.testing.assert_array_equal(opened.identity[opened.probe] == opened.identity[opened.reference], opened.same)
    assert opened.photo_names(np.array([6])) == {
        "probe": ["A_1/A_1_0001.jpg"],
        "reference": ["B_1/B_1_0002.jpg"],
    }
    # the third pair of fold 1: A_1's first image (k=0) with B_1's second (k=1)
    np.testing.assert_allclose(opened.images[opened.probe[6]].mean((0, 1)), (80, 0, 100), atol=3)
    np.testing.assert_allclose(opened.images[opened.reference[6]].mean((0, 1)), (80, 60, 200), atol=3)


@pytest.mark.parametrize(
    ("line", "replacement", "expected"),
    [
        ("2\t2\n", "10 300 5\n", r"pairs\.txt:1: .* expected 'folds<TAB>pairs of either kind"),
        ("2\t2\n", "10\t300\n", r"pairs\.txt: has 8 pairs and its first line says 10 folds of 300"),
        ("A_0\t1\t2\n", "A_0\t1\t7\n", r"pairs\.txt:2: names the image A_0/A_0_0007\.jpg"),
        ("A_1\t1\tB_1\t2\n", "A_1\t1\tNobody\t2\n", r"pairs\.txt:8: names the image Nobody/Nobody_0002\.jpg"),
        ("A_0\t1\t2\n", "A_0\t1\ttwo\n", r"pairs\.txt:2: .* expected 'name<TAB>i<TAB>j' \(genuine\)"),
        ("A_0\t1\t2\n", "A_0\t1\tB_0\t2\n", r"pairs\.txt:2: .* expected 'name<TAB>i<TAB>j' \(genuine\)"),
        ("A_1\t1\tB_1\t2\n", "A_1\t1\tA_1\t2\n", r"pairs\.txt:8: .* cannot be an impostor pair"),
    ],
)
def test_that_a_wrong_list_is_one_line_with_file_and_line(
    root: Path, tmp_path: Path, line: str, replacement: str, expected: str
) -> None:
    text = (root / "pairs.txt").read_text()
    assert line in text
    (root / "pairs.txt").write_text(text.replace(line, replacement, 1))
    with pytest.raises(FrbenchError, match=expected) as error:
        LFW(name="lfw", root=root).open(tmp_path / "cache")
    assert "\n" not in str(error.value)


def test_that_names_may_hold_blanks_where_tabs_separate(root: Path, tmp_path: Path) -> None:
    """A list has blanks where the folders have underscores, or both have blanks."""
    plain = LFW(name="lfw", root=root).open(tmp_path / "cache")
    text = (root / "pairs.txt").read_text()
    (root / "pairs.txt").write_text(text.replace("_", " "))
    underscores = LFW(name="lfw", root=root).open(tmp_path / "cache")
    for person in list((root / "aligned_112").iterdir()):
        for photo in list(person.iterdir()):
            photo.rename(person / photo.name.replace("_", " ").replace(" 000", "_000"))
        person.rename(person.with_name(person.name.replace("_", " ")))
    blanks = LFW(name="lfw", root=root).open(tmp_path / "cache")
    for other in (underscores, blanks):
        assert (other.digest, other.people) == (plain.digest, plain.people)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_that_a_byte_order_mark_is_no_part_of_the_list(root: Path, tmp_path: Path, encoding: str) -> None:
    plain = LFW(name="lfw", root=root).open(tmp_path / "cache")
    text = (root / "pairs.txt").read_text()
    (root / "pairs.txt").write_text(text.replace("\n", "\r\n"), encoding=encoding)
    assert LFW(name="lfw", root=root).open(tmp_path / "cache").digest == plain.digest


def test_that_a_list_of_view_1_is_called_so(root: Path, tmp_path: Path) -> None:
    (root / "pairs.txt").write_text("1\nA_0\t1\t2\nA_0\t1\tB_0\t2\n")
    with pytest.raises(FrbenchError, match=r"pairs\.txt:1: is '1', the first line of a list of LFW's View 1"):
        LFW(name="lfw", root=root).open(tmp_path / "cache")


def test_that_a_photo_paired_with_itself_is_counted_and_flagged(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By name in one pair, by its pixels under two names in another."""
    text = (root / "pairs.txt").read_text()
    (root / "pairs.txt").write_text(text.replace("A_0\t1\t2", "A_0\t1\t1"))
    people = root / "aligned_112"
    shutil.copy(people / "A_1" / "A_1_0001.jpg", people / "A_1" / "A_1_0002.jpg")
    opened = LFW(name="lfw", root=root).open(tmp_path / "cache")
    assert opened.remarks["pairs_of_one_image"] == 2
    assert remark_flags(opened.remarks, len(opened)) == ["photo_with_itself"]
    assert not remark_flags(opened.remarks, 200), "CFP-FF has 3 such pairs of 7,000"
    assert "2 of 8 pairs hold one and the same image twice" in capsys.readouterr().err


def test_that_two_files_for_one_image_are_refused_by_name(root: Path, tmp_path: Path) -> None:
    folder = root / "aligned_112" / "A_0"
    (folder / "A_0_0001.jpg").rename(folder / "A_0_0001.jpeg")
    shutil.copy(folder / "A_0_0001.jpeg", folder / "A_0_0001.JPG")
    with pytest.raises(FrbenchError, match=r"A_0: holds A_0_0001\.JPG and A_0_0001\.jpeg, and a list names one image"):
        LFW(name="lfw", root=root).open(tmp_path / "cache")


@pytest.mark.parametrize("gone", ["pairs.txt", "aligned_112", ""])
def test_that_a_missing_dataset_says_what_to_run(root: Path, tmp_path: Path, gone: str) -> None:
    (root / gone).rename(tmp_path / "elsewhere")
    with pytest.raises(FrbenchError, match="run: frbench data prepare lfw"):
        LFW(name="lfw", root=root).open(tmp_path / "cache")


def test_that_unaligned_photographs_are_refused_with_the_way_to_align_them(root: Path, tmp_path: Path) -> None:
    Image.new("RGB", (250, 250)).save(root / "aligned_112" / "C_0" / "C_0_0001.jpg")
    with pytest.raises(FrbenchError, match=r"C_0_0001\.jpg: is 250x250, expected .* frbench data prepare"):
        LFW(name="lfw", root=root).open(tmp_path / "cache")


@pytest.mark.realdata
def test_that_the_real_lfw_has_its_official_shape(real_data: Path, image_cache: Path) -> None:
    opened = LFW(name="lfw", root=real_data / "lfw", limit=600).open(image_cache)
    assert opened.images.shape == (7701, 112, 112, 3)
    assert len(opened) == 6000
    assert len(np.unique(opened.identity)) == 4281
    for fold in range(10):
        here = opened.fold == fold
        assert (opened.same[here].sum(), (~opened.same[here]).sum()) == (300, 300)
        assert opened.same[opened.attacked][here[opened.attacked]].sum() == 30
    assert len(opened.attacked) == 600
