"""All flags of records, with their meanings.

docs/audit.md describes each flag. A flag does not say that a figure is wrong: it says what must be explained before the
figure is believed.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Self


class Flag(StrEnum):
    """A flag, as its name in records.

    Attributes:
        meaning: one line for reports.
        doubt: whether the flag casts doubt on the figure of the cell; others are notes.
    """

    meaning: str
    doubt: bool

    def __new__(cls, name: str, meaning: str, doubt: bool = True) -> Self:
        flag = str.__new__(cls, name)
        flag._value_, flag.meaning, flag.doubt = name, meaning, doubt
        return flag

    ZERO_GRADIENTS = "zero_gradients", "gradients were zero in every pixel"
    NONFINITE_GRADIENTS = "nonfinite_gradients", "gradients were NaN or infinite"
    FROZEN_PIXELS = "frozen_pixels", "pixel values of 0 and 1 hardly change"
    NOT_CONVERGED = "not_converged", "the attack failed while its loss was still falling: more steps would help"
    NO_BETTER_THAN_NOISE = "no_better_than_noise", "random noise of the same size is as effective"
    BUDGET_VIOLATED = "budget_violated", "the attack returned images outside its budget or [0, 1]; they were projected"
    UNSTABLE_UNDER_REDRAW = "unstable_under_redraw", "the decisions of a random victim differ between draws"
    NOT_REPRODUCIBLE = "not_reproducible", "the same images get different scores on the same draw"
    FAILS_UNBOUNDED = "fails_unbounded", "below 99 % success with a practically unbounded budget (audit=full)"
    GRADIENT_MISMATCH = "gradient_mismatch", "the view's gradient disagrees with finite differences (audit=full)"
    BROKEN_IMAGES = "broken_images", "the attack returned NaN or infinity; such images count as failed attacks"
    BOUNDARY_ATTACK = "boundary_attack", "the attack stops at success: compare its sizes, not its success rate", False
    LOW_CLEAN_ACCURACY = "low_clean_accuracy", "clean accuracy is too low for a recognizer with the right preprocessing"
    PREPROCESSING_TUNED = "preprocessing_tuned", "mean, std, scale and bgr were chosen on clean pairs", False
    OVERLAPPING_IDENTITIES = "overlapping_identities", "fitted or trained on people or images of the test set"
    IMAGES_LEFT_OUT = (
        "images_left_out",
        "images or pairs of the dataset could not be read; the record counts them",
        False,
    )
    PHOTO_WITH_ITSELF = "photo_with_itself", "more than 1 % of the pairs consist of one image twice"
    LEFT_NATURAL = "left_natural", "more than a tenth of the photos have no cloak"
    TRACKER_DID_NOT_LEARN = "tracker_did_not_learn", "the tracker misclassifies its own training photos"
    GEOMETRY_LEAK = "geometry_leak", "the border of a photo alone distinguishes cloaked from natural photos"
    WEAKER_THAN_BLACK_BOX = (
        "weaker_than_black_box",
        "a black-box attack succeeds more often on these pairs (in the report)",
    )
    ADAPTIVE_WEAKER_THAN_OBLIVIOUS = (
        "adaptive_weaker_than_oblivious",
        "the oblivious attacker succeeds more often on these pairs (in the report)",
    )


def flag_named(name: str) -> Flag:
    """The flag with this name in records."""
    return next(flag for flag in Flag if flag.value == name)


_HARMLESS = frozenset(flag.value for flag in Flag if not flag.doubt)


def doubtful(flags: Iterable[str]) -> list[str]:
    """Those of ``flags`` that cast doubt on a figure, among them unknown flags of other frbench versions."""
    return [flag for flag in flags if flag not in _HARMLESS]
