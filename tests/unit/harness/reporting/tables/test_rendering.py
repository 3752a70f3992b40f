"""Tables as text: no cell breaks Markdown, LaTeX or CSV; names sort in natural order."""

from __future__ import annotations

import pytest

from frbench.harness.reporting.file_names import FileName
from frbench.harness.reporting.tables.rendering import Cell, Table, latex, latex_escape, markdown, named, table_csv
from frbench.harness.storage.records import natural


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["linf_16", "linf_2", "linf_5p1", "linf_8", "l2_0p5"], ["l2_0p5", "linf_2", "linf_5p1", "linf_8", "linf_16"]),
        (["pca", "none", "jpeg(quality=75)", "jpeg"], ["none", "jpeg", "jpeg(quality=75)", "pca"]),
    ],
)
def test_that_names_sort_in_natural_order(names: list[str], expected: list[str]) -> None:
    assert sorted(names, key=natural) == expected


NASTY = Table(
    "x-y",
    "50 % of a_b & c",
    "~ $5",
    ("a_b", "c#"),
    ((Cell("p|q", notes=("n_1 < 2",)), Cell("1.0", "[0, 1] (1/1)")),),
    1,
)


def test_latex_is_escaped_and_balanced() -> None:
    text = latex(NASTY)
    assert r"50 \% of a\_b \& c. \textasciitilde{} \$5" in text
    assert r"\par\textsuperscript{a} n\_1 \textless{} 2" in text
    assert r"\shortstack[r]{1.0\\{\scriptsize [0, 1] (1/1)}}" in text
    assert text.count("{") == text.count("}")
    assert all(text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 1 for name in ("table", "tabular"))
    assert latex_escape("a\\b^{2}") == r"a\textbackslash{}b\textasciicircum{}\{2\}"


def test_that_markdown_keeps_its_columns_for_any_text() -> None:
    rows = [line for line in markdown(NASTY).splitlines() if line.startswith("|")]
    assert all(line.replace("\\|", "").count("|") == 3 for line in rows)
    assert table_csv(NASTY).splitlines()[1] == 'p|q,"1.0 [0, 1] (1/1)",n_1 < 2'


def test_that_tables_get_distinct_names_without_settings_that_all_share() -> None:
    files = [FileName("asr", ("lfw(limit=80)", "tiny"), ("verification", other)) for other in ("", "seed=1")]
    tables = [Table(slug, "Title", "Caption.", ("a",), (), 1) for slug in (*files, "audit", "audit")]
    assert [table.slug for table in named(tables)] == ["asr-lfw-tiny", "asr-lfw-tiny-seed_1", "audit", "audit-2"]
