from __future__ import annotations

from support.paper_values import record, values

from frbench.harness.reporting.paper.comparison_table import comparison_table, signed, verdicts
from frbench.harness.reporting.paper.paper_table import Reason, paper_table
from frbench.harness.reporting.paper.readings import readings
from frbench.harness.reporting.tables.rendering import Table, latex, markdown, table_csv

REASONS = {"small_size": Reason(short="small size", text="Few pairs.")}


def shown(small: bool = True) -> Table:
    table = paper_table(values(), "some")
    settings = {"dataset.limit": 8} if small else {}
    return comparison_table(
        "some", table, readings(table, [record("a", settings=settings)], lambda name: None, REASONS)
    )


def test_that_published_and_ours_stand_side_by_side_in_all_formats() -> None:
    table = shown()
    row = [cell.text for cell in table.rows[0]]
    assert row == ["One", "LFW", "99.30", "98.00 [96.50, 99.00] (600)", "−1.30", "not comparable: small size"]
    assert [cell.text for cell in table.rows[2]][2:5] == ["–", "–", "–"]
    for text in (markdown(table), latex(table), table_csv(table)):
        assert "98.00" in text and "not comparable: small size" in text
        assert "Source: table 1 of the paper, checked 2026-11-30." in text and "Few pairs." in text


def test_that_nothing_is_bold_or_marked_as_better() -> None:
    texts = [markdown(shown(small)) + latex(shown(small)) for small in (True, False)]
    assert not [word for text in texts for word in ("**", r"\textbf", r"\color") if word in text]


def test_that_the_caption_says_whether_ours_are_of_the_small_size() -> None:
    assert "small size" in shown().caption
    assert "small size" not in shown(small=False).caption


def test_that_a_difference_has_its_sign() -> None:
    assert [signed(value, 1) for value in (1.25, -1.25, float("inf"))] == ["+1.2", "−1.2", "+∞"]


def test_that_verdicts_are_counted() -> None:
    table = paper_table(values(), "some")
    assert verdicts(readings(table, [record("a")], lambda name: None, REASONS)) == "1 apart, 2 not run, 1 ours alone"
