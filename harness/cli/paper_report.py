"""``frbench report paper=NAME``: tables of papers with published and our values side by side."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from frbench.harness.config import folders, paper_files, resolution
from frbench.harness.config.compose import compose
from frbench.harness.reporting.paper.comparison_table import comparison_table, verdicts
from frbench.harness.reporting.paper.paper_table import PaperTable, Reason, paper_table, reasons_of
from frbench.harness.reporting.paper.readings import readings
from frbench.harness.reporting.tables.rendering import latex, markdown, table_csv
from frbench.harness.storage.output_folders import check_writable
from frbench.harness.storage.records import select


def report_papers(names: Sequence[str], words: Sequence[str]) -> int:
    """Print the tables ``names`` and write each in three formats. words: the other overrides of the command."""
    config = resolution.plain(compose("report", words).config)
    out = Path(config["out"]).expanduser()
    check_writable(out, "out")
    store, reasons = folders.store(config), packaged_reasons(words)
    records = select(store.records(), config["where"])
    folder, counts = out / "tables", []
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        found = packaged_table(name, words)
        read = readings(found, records, store.scores, reasons)
        table = comparison_table(name, found, read)
        for ending, text in (("md", markdown(table)), ("tex", latex(table)), ("csv", table_csv(table))):
            (folder / f"{table.slug}.{ending}").write_text(text, encoding="utf-8", newline="\n")
        sys.stdout.write(f"{markdown(table)}\n")
        counts.append(f"{name}: {verdicts(read)}; {folder / str(table.slug)}.md, .tex and .csv")
    print(*counts, sep="\n")
    return 0


def packaged_table(name: str, words: Sequence[str] = ()) -> PaperTable:
    """The table ``name`` of ``conf/paper``, or of the folder that ``words`` name with ``--config-dir``."""
    return paper_table(paper_files.paper_values(name, words), name)


def packaged_reasons(words: Sequence[str] = ()) -> dict[str, Reason]:
    """The reasons of ``conf/paper/reasons.yaml``, and of a user's own folder."""
    return reasons_of(paper_files.reason_values(words))
