"""Tables for a terminal."""

from __future__ import annotations

from frbench.harness.cli.terminal_tables import printable, terminal_text
from frbench.harness.reporting.tables.rendering import Cell, Table


def test_that_sentences_and_tables_are_one_text_without_styles_in_a_pipe() -> None:
    table = Table("slug", "Title", "caption", ("name", "value"), ((Cell("[bold]a[/bold]"), Cell("1", "[0, 2]")),), 1)
    text = terminal_text(["First.", table])
    assert text.splitlines()[:2] == ["First.", "Title"]
    assert "[bold]a[/bold]" in text and "1 [0, 2]" in text and "\x1b" not in text


def test_that_control_characters_are_shown_and_long_values_are_cut() -> None:
    assert printable("a\x1b[31mb\nc\x9b\u202e") == "a\\x1b[31mb\nc\\x9b\\u202e"
    assert len(printable("x" * 5_000)) == 2_002
