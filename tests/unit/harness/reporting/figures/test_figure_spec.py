"""A figure before it is drawn."""

from __future__ import annotations

from matplotlib.figure import Figure

from frbench.harness.reporting.figures.figure_spec import FigureSpec
from frbench.harness.reporting.file_names import FileName


def test_that_the_title_is_above_the_setting() -> None:
    titles: list[str] = []
    FigureSpec(
        FileName("scores"), "Title", "tiny on lfw", "Caption.", lambda title: titles.append(title) or Figure()
    ).figure()
    assert titles == ["Title\ntiny on lfw"]
