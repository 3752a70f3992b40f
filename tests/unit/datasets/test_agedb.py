"""AgeDB-30: a pair list where there is one, else pairs of our own, exactly as far apart in age and named as ours."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frbench.datasets.agedb import AgeDB, Face, make_pairs
from frbench.datasets.io.image_store import SIDE
from frbench.datasets.io.pair_lists import NamedPair
from frbench.harness.core.errors import FrbenchError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Eight people photographed at 20, 21, 50 and 51, so that two pairs of each are 30 years apart."""
    faces = [(name, age) for name in "ABCDEFGH" for age in (20, 21, 50, 51)]
    rows = ["person_id,person_name,age,sex,filepath"]
    (tmp_path / "agedb" / "aligned_112").mkdir(parents=True)
    for number, (name, age) in enumerate(faces):
        file = f"{number}_{name}é_x_{age}_f.jpg"
        rows.append(f"{number},{name}é_x,{age},f,{file}")
        colour = (age * 4, ord(name), number)
        Image.new("RGB", (SIDE, SIDE), colour).save(tmp_path / "agedb" / "aligned_112" / file, quality=100)
    (tmp_path / "agedb" / "agedb_file_list.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path / "agedb"


def ours(root: Path) -> AgeDB:
    return AgeDB(name="agedb_30", root=str(root), folds=2, each=4)


def check_ours(pairs: Sequence[NamedPair], faces: dict[str, Face], folds: int, each: int, gap: int) -> None:
    """All that our own list promises."""
    people_of_fold: list[set[str]] = [set() for _ in range(folds)]
    for pair in pairs:
        older, younger = faces[pair.probe], faces[pair.reference]
        assert older.age - younger.age == gap
        assert pair.same == (older.person == younger.person)
        people_of_fold[pair.fold] |= {older.person, younger.person}
    assert sum(map(len, people_of_fold)) == len(set.union(*people_of_fold)), "a person is in two folds"
    for fold in range(folds):
        for kind in (True, False):
            here = [(pair.probe, pair.reference) for pair in pairs if pair.fold == fold and pair.same == kind]
            assert len(here) == len(set(here)) == each
        assert len({image for pair in here for image in pair}) == 2 * each, "an impostor image is used twice"


def test_that_our_own_pairs_are_30_years_apart_in_disjoint_folds_and_named_as_ours(root: Path, tmp_path: Path) -> None:
    opened = ours(root).open(tmp_path / "cache")
    assert opened.name == "agedb_30_ours"
    assert len(opened) == 16
    age = opened.images[:, 50, 50, 0] / 4
    np.testing.assert_allclose(age[opened.probe] - age[opened.reference], 30, atol=0.6)
    np.testing.assert_array_equal(opened.identity[opened.probe] == opened.identity[opened.reference], opened.same)
    people = [set(opened.identity[np.r_[opened.probe, opened.reference][np.tile(opened.fold == f, 2)]]) for f in (0, 1)]
    assert not people[0] & people[1]


def test_that_our_pairs_need_no_csv_and_do_not_hang_on_the_seed(root: Path, tmp_path: Path) -> None:
    first = ours(root).open(tmp_path / "cache")
    (root / "agedb_file_list.csv").unlink()
    second = AgeDB(name="agedb_30", root=root, folds=2, each=4, seed=5).open(tmp_path / "cache")
    np.testing.assert_array_equal(first.probe, second.probe)
    np.testing.assert_array_equal(first.reference, second.reference)
    np.testing.assert_array_equal(first.identity, second.identity)


def test_that_absent_images_are_told_and_left_out_of_our_pairs(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "aligned_112" / "0_Aé_x_20_f.jpg").unlink()
    with pytest.raises(FrbenchError, match="30 years apart, expected 8 each"):
        AgeDB(name="agedb_30", root=root, folds=2, each=8).open(tmp_path / "cache")
    assert "1 of 32 listed images are absent, first 0_Aé_x_20_f.jpg" in capsys.readouterr().err
    opened = AgeDB(name="agedb_30", root=root, folds=2, each=3).open(tmp_path / "cache")
    assert len(opened) == 12
    assert opened.remarks["images_absent"] == 1


def test_that_a_pair_list_is_followed_where_there_is_one(root: Path, tmp_path: Path) -> None:
    lines = [
        "# probe reference same fold",
        "2_Aé_x_50_f.jpg 0_Aé_x_20_f.jpg 1 1",
        "",
        "2_Aé_x_50_f.jpg\t4_Bé_x_20_f.jpg\t0\t1  # mixed",
        "10_Cé_x_50_f.jpg 8_Cé_x_20_f.jpg 1 2",
        "10_Cé_x_50_f.jpg 12_Dé_x_20_f.jpg 0 2",
    ]
    (root / "pairs_30.txt").write_text("\n".join(lines), encoding="utf-8")
    opened = ours(root).open(tmp_path / "cache")
    assert opened.name == "agedb_30"
    assert opened.same.tolist() == [True, False, True, False]
    assert opened.fold.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(opened.images[opened.probe].mean((1, 2))[:, 0], 200, atol=2)
    np.testing.assert_allclose(opened.images[opened.reference].mean((1, 2))[:, 0], 80, atol=2)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("2_Aé_x_50_f.jpg 99_Z_20_f.jpg 1 1", r"pairs_30\.txt:1: names the image 99_Z_20_f\.jpg"),
        ("2_Aé_x_50_f.jpg 0_Aé_x_20_f.jpg 1", r"pairs_30\.txt:1: .* expected 'probe reference same"),
        ("2_Aé_x_50_f.jpg 0_Aé_x_20_f.jpg yes 1", r"pairs_30\.txt:1: .* expected 'probe reference same"),
        ("2_Aé_x_50_f.jpg 0_Aé_x_20_f.jpg 1 0", r"pairs_30\.txt:1: .* expected 'probe reference same"),
        ("2_Aé_x_50_f.jpg 0_Aé_x_20_f.jpg 0 1", r"pairs_30\.txt:1: .* cannot be an impostor pair"),
        ("# nothing", r"pairs_30\.txt: holds no pair"),
    ],
)
def test_that_a_wrong_pair_list_is_one_line_with_file_and_line(
    root: Path, tmp_path: Path, line: str, expected: str
) -> None:
    (root / "pairs_30.txt").write_text(line, encoding="utf-8")
    with pytest.raises(FrbenchError, match=expected) as error:
        ours(root).open(tmp_path / "cache")
    assert "\n" not in str(error.value)


def test_that_a_wrong_csv_is_one_line_with_its_number(root: Path, tmp_path: Path) -> None:
    with (root / "agedb_file_list.csv").open("a", encoding="utf-8") as file:
        file.write("99,Z,old,f,99_Z_old_f.jpg\n")
    with pytest.raises(FrbenchError, match=r"agedb_file_list\.csv:34: expected the columns"):
        ours(root).open(tmp_path / "cache")


def test_that_a_missing_folder_says_what_to_run(root: Path, tmp_path: Path) -> None:
    (root / "aligned_112").rename(tmp_path / "elsewhere")
    with pytest.raises(FrbenchError, match="frbench data prepare agedb_30"):
        ours(root).open(tmp_path / "cache")


def test_that_a_listed_pair_whose_image_is_absent_is_named_with_its_line(root: Path, tmp_path: Path) -> None:
    (root / "pairs_30.txt").write_text("2_Aé_x_50_f.jpg 0_Aé_x_20_f.jpg 1 1\n", encoding="utf-8")
    (root / "aligned_112" / "0_Aé_x_20_f.jpg").unlink()
    with pytest.raises(FrbenchError, match=r"pairs_30\.txt:1: names the image 0_Aé_x_20_f\.jpg, which is not in"):
        ours(root).open(tmp_path / "cache")


@pytest.mark.realdata
def test_that_the_real_list_of_names_gives_6000_pairs_of_ours(real_data: Path) -> None:
    from frbench.datasets.agedb import _read_list

    faces = _read_list(real_data / "agedb" / "agedb_file_list.csv")
    assert len(faces) == 16488
    assert len({face.person for face in faces.values()}) == 567
    pairs = make_pairs(faces.values(), faces, gap=30, folds=10, each=300, where="agedb")
    check_ours(pairs, faces, folds=10, each=300, gap=30)
    shuffled = make_pairs(list(faces.values())[::-1], faces, gap=30, folds=10, each=300, where="agedb")
    assert shuffled == pairs, "the order of the list has no part in the choice"
    present = set(faces) - {pair.probe for pair in pairs[:3000:60]}
    fewer = make_pairs(faces.values(), present, gap=30, folds=10, each=300, where="agedb")
    check_ours(fewer, faces, folds=10, each=300, gap=30)
    assert {image for pair in fewer for image in (pair.probe, pair.reference)} <= present
    assert len(set(pairs) & set(fewer)) > 5700, "fifty absent images must not change the whole list"
