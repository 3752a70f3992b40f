"""Tables of scores joined by their pairs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from frbench.harness.reporting.views.paired_rows import flipped, is_readable, paired_rows
from frbench.harness.storage.records import Kind


def scores(index: list[int], success: list[bool], score: list[float], **more: object) -> pd.DataFrame:
    frame = pd.DataFrame({"index": index, "success": success, "adversarial_score": score})
    return frame.assign(**{"correct": True, "threshold": 0.3, **more})


def test_that_rows_are_joined_by_their_numbers_and_counted() -> None:
    a = scores([1, 2, 3, 4], [True, True, False, False], [0.1, 0.2, 0.4, 0.5], correct=[True, True, False, True])
    b = scores([5, 4, 3, 2], [True, True, False, False], [0.1, 0.0, 0.4, 0.35])
    rows, overlap = paired_rows(Kind.VERIFICATION, a, b)
    assert rows["index"].tolist() == [2, 4]
    np.testing.assert_allclose(rows["margin_a"], [-0.1, 0.2])
    np.testing.assert_allclose(rows["margin_b"], [0.05, -0.3])
    assert (overlap.rows, overlap.common, overlap.compared) == ((4, 4), 3, 2)
    assert overlap.missing == (1, 1) and overlap.left_out == (0, 1)


def test_that_flipped_rows_begin_with_the_largest_difference_of_the_margins() -> None:
    a = scores([1, 2, 3], [True, True, True], [0.2, 0.0, 0.1])
    b = scores([1, 2, 3], [False, False, True], [0.4, 0.9, 0.1])
    assert flipped(paired_rows(Kind.VERIFICATION, a, b)[0])["index"].tolist() == [2, 1]


def test_that_a_pair_without_a_score_counts_only_where_images_have_distances() -> None:
    a = scores([1, 2], [True, False], [0.2, np.nan])
    assert paired_rows(Kind.VERIFICATION, a, a)[1].compared == 1
    near = a.assign(distance=0.5)
    assert paired_rows(Kind.FEATURE_DISTANCE, near, near)[1].compared == 2


def test_that_a_table_of_another_kind_or_with_a_pair_twice_is_not_readable() -> None:
    frame = scores([1, 2], [True, False], [0.2, 0.4])
    assert is_readable(Kind.VERIFICATION, frame)
    assert not is_readable(Kind.CLOAKING, frame) and not is_readable(Kind.FEATURE_DISTANCE, frame)
    assert not is_readable(Kind.VERIFICATION, pd.concat([frame, frame]))
    assert not is_readable(Kind.VERIFICATION, frame.assign(threshold="<script>"))
