"""Domains of numeric options as annotated types, such as ``steps: PositiveInt``.

``check_fields`` in ``validation`` compares every field of every option with its annotation before anything runs. NaN
and infinity are outside every domain. A field that takes any number says so too: ``AnyFloat``, ``AnyInt``. The
``description`` of a domain stands in the error message in place of the words made from its bounds.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Interval, Len, MultipleOf, Predicate
from pydantic import Field


def _is_odd(value: int) -> bool:
    return value % 2 == 1


def _is_not_zero(value: float) -> bool:
    return value != 0


_GRAY = "; images are in [0, 1], so write gray levels as a ratio: 8/255"

AnyFloat = Annotated[float, Field(description="a finite number")]
AnyInt = Annotated[int, Field(description="an integer")]
NonZero = Annotated[float, Predicate(_is_not_zero), Field(description="a finite number other than 0")]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
AtLeastOne = Annotated[float, Ge(1)]
PositiveInt = Annotated[int, Gt(0)]
NonNegativeInt = Annotated[int, Ge(0)]
AtLeastTwo = Annotated[int, Ge(2)]
EvenCount = Annotated[int, Ge(2), MultipleOf(2)]
OddCount = Annotated[
    int, Ge(1), Predicate(_is_odd), Field(description="an odd integer above 0, so that a majority decides")
]
Seed = Annotated[int, Interval(ge=0, lt=2**32)]

Fraction = Annotated[float, Interval(ge=0, le=1)]  # a share or probability, both ends included
PositiveFraction = Annotated[float, Interval(gt=0, le=1)]
OpenFraction = Annotated[float, Interval(gt=0, lt=1)]  # a rate such as FAR or a split, both ends excluded
BelowOne = Annotated[float, Interval(ge=0, lt=1)]
Percent = Annotated[float, Interval(ge=0, le=100)]
Cosine = Annotated[float, Interval(ge=-1, le=1)]
CosineGap = Annotated[float, Interval(ge=0, le=2)]  # a difference of two cosines, or 1 - cosine
RelativeStep = Annotated[float, Interval(gt=0, le=1000)]  # a step, in radii of the budget
Decay = Annotated[float, Interval(ge=0, le=2)]  # of an accumulated gradient: the range that Dong et al. (2018) sweep

# Changes of an image, in units of its range [0, 1].
PixelChange = Annotated[float, Interval(gt=0, le=1), Field(description="a number above 0 and at most 1" + _GRAY)]
PixelNoise = Annotated[float, Interval(ge=0, le=1), Field(description="a number from 0 to 1" + _GRAY)]
L2Radius = Annotated[
    float,
    Interval(gt=0, le=194),
    Field(
        description="a number above 0 and at most 194, the L2 distance between a black and a white crop; images are "
        "in [0, 1], so 2 is 2.6 gray levels RMS"
    ),
]
Dissimilarity = Annotated[float, Interval(ge=0, le=1)]  # DSSIM, (1 - SSIM) / 2
GrayLevels = Annotated[float, Interval(gt=0, le=255)]

# Sizes within a 112x112 crop.
CropPixels = Annotated[int, Interval(ge=1, le=112)]
OddPixels = Annotated[
    int, Interval(ge=1, le=111), Predicate(_is_odd), Field(description="an odd number of pixels from 1 to 111")
]
BlurSigma = Annotated[float, Interval(ge=0.05, le=37)]  # pixels: three deviations fit into the crop
ShrinkFactor = Annotated[float, Interval(ge=0.1, le=1)]
Components = Annotated[int, Interval(ge=1, le=112 * 112)]  # eigenfaces of gray crops
JpegQuality = Annotated[int, Interval(ge=1, le=100)]
ImageSide = Annotated[int, Interval(ge=1, le=4096)]
NonEmpty = Len(1)
Bits = Annotated[int, Interval(ge=1, le=8)]
Levels = Annotated[int, Interval(ge=2, le=256)]
CanvasMargin = Annotated[float, Interval(ge=0, le=4)]  # sides of the crop

# Of single options.
AtLeastThree = Annotated[int, Ge(3)]
Angle = Annotated[float, Interval(ge=0, lt=1.57)]  # radians
Distance = Annotated[float, Interval(gt=0, le=2)]  # between unit vectors
Port = Annotated[int, Interval(ge=0, le=65535)]
SyntheticPeople = Annotated[int, Ge(30), MultipleOf(10)]
SyntheticPairs = Annotated[int, Ge(20), MultipleOf(20)]
CalibrationPairs = Annotated[int, Ge(4), MultipleOf(2)]
UserPhotos = Annotated[int, Ge(4)]
