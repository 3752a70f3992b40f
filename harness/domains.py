"""Domains of numeric options, as types: ``steps: PositiveInt`` says which values a field accepts.

``check_fields`` in ``validation`` compares every field of every option with its annotation before anything runs. NaN
and infinity are outside every domain.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Interval

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
PositiveInt = Annotated[int, Gt(0)]
NonNegativeInt = Annotated[int, Ge(0)]
Fraction = Annotated[float, Interval(ge=0, le=1)]  # a share or probability, both ends included
PositiveFraction = Annotated[float, Interval(gt=0, le=1)]
OpenFraction = Annotated[float, Interval(gt=0, lt=1)]  # a rate such as FAR or a split, both ends excluded
Cosine = Annotated[float, Interval(ge=-1, le=1)]
