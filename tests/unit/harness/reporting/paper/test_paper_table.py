from __future__ import annotations

import pytest
from support.paper_values import CELL, values

from frbench.harness.core.errors import ConfigError
from frbench.harness.reporting.paper.paper_table import Size, paper_table, reasons_of


def test_that_a_table_has_a_place_for_each_row_and_column() -> None:
    places = list(paper_table(values(), "some").places())
    assert [(place.cell.row, place.cell.column) for place in places] == [
        ("one", "lfw"),
        ("one", "psnr"),
        ("two", "lfw"),
        ("two", "psnr"),
    ]
    assert [place.cell.published for place in places] == [99.3, None, None, None]
    assert [place.unit.name for place in places[:2]] == ["percent", "dB"]


def test_that_a_row_goes_before_a_column_and_a_column_before_the_table() -> None:
    median = {"median": "l2"}
    rows = {"one": {"label": "One"}, "two": {"label": "Two", "measure": median, "size": "full"}}
    columns = {"lfw": {"label": "LFW", "measure": {"path": "attack.asr"}}, "other": {"label": "Other"}}
    one, other, two, _ = paper_table(values(rows=rows, columns=columns), "some").places()
    assert (one.measure.path, other.measure.path, two.measure.median) == ("attack.asr", "clean.accuracy", "l2")
    assert (one.size, two.size) == (None, Size.FULL)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cells": [{**CELL, "source": None}]}, "needs source and checked"),
        ({"cells": [{**CELL, "ours": None}]}, "a reason if and only if"),
        ({"cells": [{**CELL, "reason": "pairs"}]}, "a reason if and only if"),
        ({"cells": [CELL, CELL]}, "two cells have the same row and column"),
        ({"cells": [{**CELL, "row": "three"}]}, "no such row or column"),
        ({"measure": {"path": "clean.accuracy", "median": "l2"}}, "either path or median"),
        ({"units": {}}, "units"),
        ({"rows": {"one": {"label": "One", "unit": "meter"}}}, "unknown unit meter"),
        ({"titel": "Accuracy"}, "titel"),
        ({"cells": [{**CELL, "published": "a lot"}]}, "published"),
    ],
)
def test_that_a_wrong_table_is_refused_with_its_name(changes: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=r"^paper=some: ") as caught:
        paper_table(values(**changes), "some")
    assert said in str(caught.value)


def test_that_a_reason_needs_words_and_a_sentence() -> None:
    assert reasons_of({"pairs": {"short": "other pairs", "text": "Other pairs."}})["pairs"].short == "other pairs"
    with pytest.raises(ConfigError, match="reason pairs: text: Field required"):
        reasons_of({"pairs": {"short": "other pairs"}})
