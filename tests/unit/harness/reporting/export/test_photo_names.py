"""Names of exported images are those of the photos, and never leave the folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frbench.harness.reporting.export.photo_names import PairNames, safe_name

NAMES = st.text(max_size=40) | st.text(alphabet="./\\ a:\0~", max_size=20)


@pytest.mark.parametrize(
    ("photo", "name"),
    [
        ("Ann_Lee/Ann_Lee_0001.jpg", "Ann_Lee/Ann_Lee_0001"),
        ("001/frontal/01.jpg", "001/frontal/01"),
        ("person_3/photo_1", "person_3/photo_1"),
        ("Zoë (2).PNG", "Zoë (2)"),
    ],
)
def test_that_a_usual_name_stays(photo: str, name: str) -> None:
    assert str(safe_name(photo)) == name


@pytest.mark.parametrize(
    "photo", ["../../x.jpg", "/etc/passwd", "C:\\x.png", ".hidden", "", "a//b", "nul.jpg", "x" * 500]
)
def test_that_another_name_is_made_plain_and_stays_unique(photo: str) -> None:
    found = safe_name(photo)
    assert not found.is_absolute()
    assert ".." not in found.parts
    assert not any(part.startswith(".") for part in found.parts)
    assert found != safe_name(photo + "2")


@settings(deadline=None, max_examples=200)
@given(NAMES)
def test_that_no_name_leaves_its_folder(photo: str) -> None:
    root = Path("/export/run")
    assert (root / safe_name(photo)).resolve().is_relative_to(root)
    assert len(str(safe_name(photo))) < 500


@settings(deadline=None, max_examples=200)
@given(NAMES, NAMES)
def test_that_different_photos_have_different_names(one: str, other: str) -> None:
    if safe_name(one) == safe_name(other):
        assert one == other or Path(one).suffix or Path(other).suffix or "\\" in one + other


def test_that_a_photo_of_several_pairs_has_a_changed_copy_for_each() -> None:
    names = PairNames([3, 5, 8], {"probe": ["a.jpg", "b.jpg", "a.jpg"], "reference": ["c.jpg"] * 3})
    assert [str(names.changed(pair)) for pair in (3, 5, 8)] == ["a_pair_3", "b", "a_pair_8"]
    assert {str(names.natural(pair, "probe")) for pair in (3, 8)} == {"a"}
    assert str(names.natural(5, "reference")) == "c"


def test_that_pairs_without_names_have_numbers() -> None:
    assert str(PairNames([3], {}).changed(3)) == "pair_000003"
    assert str(PairNames([3], {}, "photo").natural(3, "probe")) == "photo_000003"
    assert str(PairNames([3], {"probe": ["a"]}).natural(4, "probe")) == "pair_000004"
