"""Names of budgets as numbers and as words; other names stay as they are."""

from __future__ import annotations

import pytest

from frbench.harness.reporting.budget_axis import budget_words, norm_and_radius


@pytest.mark.parametrize(
    ("budget", "numbers", "words"),
    [
        ("linf_8", ("linf", 8.0), "L∞ ≤ 8/255"),
        ("linf_5p1", ("linf", 5.1), "L∞ ≤ 5.1/255"),
        ("l2_0p5", ("l2", 0.5), "L2 ≤ 0.5"),
        ("dssim_1", ("dssim", 1.0), "dssim_1"),
        ("unbounded", None, "unbounded"),
        ("linf_8(radius=0.1)", None, "linf_8(radius=0.1)"),
    ],
)
def test_that_norm_and_radius_are_read_from_the_name(
    budget: str, numbers: tuple[str, float] | None, words: str
) -> None:
    assert (norm_and_radius(budget), budget_words(budget)) == (numbers, words)
