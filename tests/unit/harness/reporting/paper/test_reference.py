from __future__ import annotations

from support.paper_values import CELL, record, values

from frbench.harness.reporting.paper.paper_table import PaperTable, Reason, paper_table
from frbench.harness.reporting.paper.readings import Reading, readings
from frbench.harness.reporting.paper.reference import cells_text, paper_page, readings_of
from frbench.harness.reporting.reference_manifest import PaperRun

WORDS = ("small_size", "training_data", "no_counterpart")
REASONS = {key: Reason(short=key, text=f"Because of {key}.") for key in WORDS}
RUN = PaperRun(text="What it means.", full_plan="some-1: 4 cells", commands=["frbench run experiment=paper/some"])


def example() -> tuple[PaperTable, list[Reading]]:
    """A table with a measured cell of each kind, a refused one, a blank one and one that was not run."""
    blank = {**CELL, "row": "two", "ours": None, "reason": "no_counterpart"}
    comparable = {"training_data": {"settings": {"defense.faces.name": "ms1mv2"}}}
    table = paper_table(values(cells=[CELL, blank], comparable=comparable), "some")
    records = [record("a", settings={"dataset.limit": 8}), record("b", {"dataset": "x"}, status="refused", reason="no")]
    return table, readings(table, records, lambda fingerprint: None, REASONS)


def test_that_cells_written_and_read_again_are_the_same() -> None:
    table, before = example()
    after = readings_of(table, cells_text(before), REASONS)
    assert [(one.ours, one.text, one.notes) for one in after] == [(one.ours, one.text, one.notes) for one in before]
    assert cells_text(after) == cells_text(before)


def test_that_published_values_come_from_the_table_and_not_from_the_cells() -> None:
    table, before = example()
    changed = cells_text(before).replace("99.3", "12.3")
    assert readings_of(table, changed, REASONS)[0].place.cell.published == 99.3


def test_that_cells_that_the_text_lacks_are_not_run() -> None:
    table, before = example()
    header = cells_text(before).splitlines()[0]
    assert {one.text.split(":")[0] for one in readings_of(table, f"{header}\n", REASONS)} == {
        "not run",
        "not comparable",
    }


def test_that_a_page_has_the_text_the_table_the_cost_and_the_commands() -> None:
    table, found = example()
    page = paper_page("some", table, found, RUN)
    for part in ("# Accuracy\n", "What it means.", "| One ", "some-1: 4 cells", "frbench run experiment=paper/some"):
        assert part in page
    assert page.count("Accuracy") == 1
