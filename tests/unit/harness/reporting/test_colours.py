"""A defense has one colour in all figures and pages, and readers with colour blindness can distinguish the colours."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import frbench.conf
from frbench.harness.reporting.colours import (
    DASHES,
    MARKERS,
    PALETTE,
    UNDEFENDED,
    defense_look,
    defense_looks,
    looks,
    numbered_looks,
)

CONF = Path(frbench.conf.__file__).parent
NAMES = st.text("abcdefgh_", min_size=1, max_size=12).filter(lambda name: name != "none")
# Machado, Oliveira and Fernandes, IEEE TVCG 15(6), 2009: severity 1.0.
VISIONS = {
    "full": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(colour: str, vision: str) -> np.ndarray:
    """CIELAB coordinates (D65) of an sRGB colour."""
    rgb = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(VISIONS[vision]) @ linear, 0, 1)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    x, y, z = (
        np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in np.asarray(to_xyz) @ seen / [0.95047, 1, 1.08883]
    )
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISIONS)
def test_any_two_colours_differ_for_every_kind_of_vision(vision: str) -> None:
    places = [lab(colour, vision) for colour in (*PALETTE, UNDEFENDED)]
    assert min(float(np.linalg.norm(a - b)) for a, b in combinations(places, 2)) >= 16


def test_that_shipped_defenses_have_looks_of_their_own() -> None:
    shipped = [defense_look(path.stem) for path in (CONF / "defense").glob("*.yaml")]
    assert len(set(shipped)) == len(shipped) > 35


def test_that_defenses_of_one_experiment_differ_in_colour() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (CONF / "experiment").rglob("*.yaml")]
    compared = [found.split(",") for text in texts for found in re.findall(r"defense: (\w+(?:,\w+)+)", text)]
    assert max(map(len, compared)) <= len(PALETTE) + 1
    for names in compared:
        assert len({defense_look(name).colour for name in names}) == len(names)


@given(NAMES, st.lists(NAMES, max_size=8))
def test_that_the_colour_of_a_defense_does_not_depend_on_the_others(name: str, others: list[str]) -> None:
    assert defense_looks([*others, name, "none"])[name].colour == defense_looks([name])[name].colour
    assert defense_look(f"{name}(steps=3)").colour == defense_look(name).colour
    assert defense_looks(["none", *others])["none"].colour == UNDEFENDED not in PALETTE


@given(st.sets(st.integers(0, 99), max_size=len(MARKERS) * len(DASHES)))
def test_that_settings_of_one_defense_differ_in_marker_or_dashes(qualities: set[int]) -> None:
    found = defense_looks(f"jpeg(quality={quality})" for quality in sorted(qualities))
    assert len(set(found.values())) == len(qualities)


def test_that_many_lines_of_another_noun_differ() -> None:
    assert len(set(numbered_looks(map(str, range(40))).values())) == 40


def test_that_only_defenses_have_fixed_looks() -> None:
    assert looks("defense", ["pca"])["pca"] == defense_look("pca") != looks("attack", ["pca"])["pca"]
