"""The colour, marker and dashes of each line, the same for a defense in every figure and page. Pure.

The defenses of frbench have fixed places in the palette; those of others get a place from their name. Changed settings
keep the colour of the defense and change the marker and the dashes. The first six colours are those of Okabe and Ito
(2008). Any two colours of ``PALETTE`` and ``UNDEFENDED`` have a CIELAB distance of at least 16, also with protanopia,
deuteranopia and tritanopia (simulated after Machado et al., 2009).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from zlib import crc32

from frbench.harness.reporting.words import split_label
from frbench.harness.storage.records import NULL

PALETTE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#40004B",
    "#84994F",
    "#B2182B",
    "#AA3377",
)
UNDEFENDED = "#444444"  # the line without a defense
CLEAN, ATTACKED = "#56B4E9", "#D55E00"  # the same data before and after an attack

# Markers and dashes by their names in matplotlib, with the names in plotly.
MARKERS = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "P": "cross"}
DASHES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}

_NAMES = """
    blur pca tiny_diverse jpeg bitdepth gray tv quilting wavelet nl_means
    pin ais lowpass threshold random_mask pin_paper ais_paper pin_full ais_warmup pca_pin
    naive_ensemble adp mter diverse_ensemble shared_head_ensemble zoo_ensemble
    diverse_residual_cos_ensemble diverse_separate_heads_ensemble trained_ensemble ais_full
    puface robust_extractor autoencoder puface_dev puface_image_only puface_full puface_mixed
    bilateral tv_chambolle wavelet_calibrated
"""  # a place each, by order; defenses that one experiment compares differ in colour
_PLACE = {name: place for place, name in enumerate(_NAMES.split())}


@dataclass(frozen=True)
class Look:
    """The look of a line.

    Attributes:
        colour: as ``#rrggbb``.
        marker: a key of ``MARKERS``.
        dash: a key of ``DASHES``.
    """

    colour: str
    marker: str = "o"
    dash: str = "-"


def defense_look(label: str) -> Look:
    """The look of the defense ``label``, such as ``jpeg(quality=50)``, whatever else is in the figure."""
    name, settings = split_label(label)
    if name == NULL:
        return Look(UNDEFENDED)
    place = _PLACE.get(name, crc32(name.encode()))
    return _at(place, crc32(", ".join(settings).encode()) if settings else 0)


def defense_looks(labels: Iterable[str]) -> dict[str, Look]:
    """The looks of the defenses of one figure.

    Each has its ``defense_look``. Where two are the same, the later one gets the next free marker and dashes, and keeps
    its colour.
    """
    found: dict[str, Look] = {}
    for label in dict.fromkeys(labels):
        first = defense_look(label)
        others = (Look(first.colour, marker, dash) for dash in DASHES for marker in MARKERS)
        taken = set(found.values())
        found[label] = first if first not in taken else next((each for each in others if each not in taken), first)
    return found


def numbered_looks(names: Iterable[str]) -> dict[str, Look]:
    """Looks of lines of another kind, such as attacks, by their order in the figure."""
    return {name: _at(number) for number, name in enumerate(dict.fromkeys(names))}


def looks(noun: str, names: Iterable[str]) -> dict[str, Look]:
    """The looks of the lines of one figure: ``defense_looks`` for the noun ``defense``, else ``numbered_looks``."""
    return defense_looks(names) if noun == "defense" else numbered_looks(names)


def _at(place: int, variant: int = 0) -> Look:
    """The look at a place: a colour, and a marker and dashes that differ between places of the same colour."""
    row, markers, dashes = place // len(PALETTE), tuple(MARKERS), tuple(DASHES)
    marker = (place + row + variant) % len(markers)
    dash = (row + variant // len(markers)) % len(dashes)
    return Look(PALETTE[place % len(PALETTE)], markers[marker], dashes[dash])
