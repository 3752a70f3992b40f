"""Every flag that a record can carry, and what each one says.

The audit, the protocols, the checks for overlapping people, the report and the command line take their flags from
here, and README documents each of them. A flag does not say that a figure is wrong: it says what must be explained
before the figure is believed.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Self


class Flag(StrEnum):
    """The name of a flag, as records hold it. ``meaning``: one line for people.

    ``doubt``: whether the flag casts doubt on the cell's figure, or only says how the attack works.
    """

    meaning: str
    doubt: bool

    def __new__(cls, name: str, meaning: str, doubt: bool = True) -> Self:
        flag = str.__new__(cls, name)
        flag._value_, flag.meaning, flag.doubt = name, meaning, doubt
        return flag

    ZERO_GRADIENTS = "zero_gradients", "gradients were zero throughout"
    NONFINITE_GRADIENTS = "nonfinite_gradients", "gradients were NaN or infinite"
    FROZEN_PIXELS = "frozen_pixels", "black and white pixels never move"
    STILL_RISING = "still_rising", "the loss of pairs not won fell to the end: more steps would have won more"
    NO_BETTER_THAN_NOISE = "no_better_than_noise", "random noise of the same size does as well"
    BUDGET_VIOLATED = "budget_violated", "the attack returned images beyond its budget or outside [0, 1]; they were cut"
    UNSTABLE_UNDER_REDRAW = "unstable_under_redraw", "draws of a random victim disagree"
    NOT_REPRODUCIBLE = "not_reproducible", "the same images get different scores on the same draw"
    WEAK_WITHOUT_LIMIT = "weak_without_limit", "below 99 % success with a radius as good as none (audit=full)"
    MISLEADING_GRADIENT = "misleading_gradient", "the view's gradient disagrees with finite differences (audit=full)"
    BROKEN_IMAGES = "broken_images", "the attack returned NaN or infinity; such images count as failed attacks"
    BOUNDARY_ATTACK = "boundary_attack", "the attack stops at success, so read its sizes and not its rate", False
    LOW_CLEAN_ACCURACY = "low_clean_accuracy", "clean accuracy is too low for a recognizer that is fed as it should be"
    PREPROCESSING_TUNED = "preprocessing_tuned", "mean, std, scale and bgr were chosen on clean pairs", False
    OVERLAPPING_IDENTITIES = "overlapping_identities", "fitted or trained on people or images of the test set"
    IMAGES_LEFT_OUT = (
        "images_left_out",
        "images or pairs of the data set could not be read; the record counts them",
        False,
    )
    PHOTO_WITH_ITSELF = "photo_with_itself", "more than 1 % of the pairs hold one and the same image twice"
    LEFT_NATURAL = "left_natural", "more than a tenth of the photos got no cloak"
    TRACKER_DID_NOT_LEARN = "tracker_did_not_learn", "the tracker misnames photos that it was trained on"
    GEOMETRY_LEAK = "geometry_leak", "the border of a photo alone tells cloaked from natural"
    WEAKER_THAN_BLACK_BOX = "weaker_than_black_box", "a black-box attack does better on the same pairs (in the report)"
    ADAPTIVE_WEAKER_THAN_OBLIVIOUS = (
        "adaptive_weaker_than_oblivious",
        "the attacker who ignores the defense does better on the same pairs (in the report)",
    )


def flag_named(name: str) -> Flag:
    """The flag that records call ``name``."""
    return next(flag for flag in Flag if flag.value == name)


_HARMLESS = frozenset(flag.value for flag in Flag if not flag.doubt)


def doubtful(flags: Iterable[str]) -> list[str]:
    """Those of ``flags`` that cast doubt on a figure; a flag of another version of frbench does."""
    return [flag for flag in flags if flag not in _HARMLESS]
