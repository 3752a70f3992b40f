"""A page in Chromium without a network: plots, sorting and filtering, no JavaScript, phones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.browser import DESKTOP, PHONE, OfflineBrowser

from frbench.harness.reporting.html.blocks import Folded, Picture, Pictures, Plot, RunCard, Section, TableBlock, Text
from frbench.harness.reporting.html.page import Page
from frbench.harness.reporting.tables.rendering import Cell, Table

pytestmark = pytest.mark.browser

EVIL = (
    "<img src=x onerror='window.ran=1'><script>window.ran=2</script><a href='javascript:window.ran=3'>link</a>"
    "<svg onload='window.ran=4'>"
)
VALUES = ("9.5", "−3.0", "100", "n/a", "20.1", "−12.5", "0", "7", "1e-5", "55")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = tuple(
        (Cell(EVIL if i == 3 else f"defense {i}"), Cell(value, "[1, 2] (3/4)")) for i, value in enumerate(VALUES)
    )
    table = Table("slug", "ASR", EVIL, ("defense", "pgd"), rows, stub=1)
    wide = Table("wide", "Wide", "Many columns.", tuple(f"column {i}" for i in range(30)), ((Cell("x" * 20),) * 30,), 1)
    lines = [
        {"type": "scatter", "x": [2, 4, 8], "y": [10, 50.5, 90], "name": name, "text": name} for name in ("a", EVIL)
    ]
    layout = {
        "xaxis": {"title": {"text": EVIL}},
        "title": {"text": EVIL},
        "annotations": [{"text": EVIL, "x": 4, "y": 20}],
    }
    picture = Picture(np.linspace(0, 1, 12 * 12 * 3).reshape(12, 12, 3), "a face " + EVIL, "score " + EVIL)
    sections = (
        Section("Tables", (Text((EVIL,)), TableBlock(table), TableBlock(wide))),
        Section("Plots", (Plot("Curve " + EVIL, EVIL, {"data": lines, "layout": layout}),)),
        Section("Pictures", (Pictures("pgd", (picture,) * 5),)),
        Section(
            "Runs", (RunCard(EVIL, {"a" * 90: EVIL, "path": "/x" * 200}, EVIL), Folded("More", (TableBlock(table),)))
        ),
    )
    folder = tmp_path_factory.mktemp("page")
    return Page("Report " + EVIL, sections, (EVIL,), EVIL).write(folder / "page.html")


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_a_page_fits_its_window_and_asks_for_nothing(browser: OfflineBrowser, path: Path, width: int) -> None:
    with browser.open(path, width) as opened:
        assert opened.page.locator(".canvas .main-svg").first.is_visible()
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.requests == []
        assert opened.complaints == []


def test_nothing_in_a_text_runs_or_becomes_a_link(browser: OfflineBrowser, path: Path) -> None:
    with browser.open(path) as opened:
        page = opened.page
        page.locator("details summary").first.click()
        page.mouse.move(*_middle(page.locator(".canvas .main-svg").first.bounding_box()))
        assert page.evaluate("window.ran") is None
        hrefs = page.evaluate("Array.from(document.querySelectorAll('a'), a => a.getAttribute('href'))")
        assert hrefs == [f"#section-{number}" for number in range(1, 5)]
        assert page.locator(".legendtext", has_text="onerror").count() == 1
        assert page.locator("img[alt='']").count() == page.locator("img:not([alt])").count() == 0
        assert opened.complaints == []


def test_a_reader_sorts_a_table_by_number(browser: OfflineBrowser, path: Path) -> None:
    with browser.open(path) as opened:
        figure = opened.page.locator("figure.table").first
        figure.get_by_role("button", name="pgd").click()
        assert _values(figure) == ["−12.5", "−3.0", "0", "1e-5", "7", "9.5", "20.1", "55", "100", "n/a"]
        assert figure.locator("th[aria-sort=ascending]").inner_text().startswith("pgd")
        figure.get_by_role("button", name="pgd").click()
        assert _values(figure)[:3] == ["n/a", "100", "55"]


def test_a_reader_filters_a_table(browser: OfflineBrowser, path: Path) -> None:
    with browser.open(path) as opened:
        figure = opened.page.locator("figure.table").first
        figure.get_by_label("Filter").fill("defense 7")
        assert _values(figure) == ["7"]
        assert f"1 of {len(VALUES)} rows" in figure.inner_text()
        figure.get_by_label("Filter").fill("")
        assert len(_values(figure)) == len(VALUES)


def test_a_plot_fits_the_sheet_while_it_is_printed(browser: OfflineBrowser, path: Path) -> None:
    with browser.open(path) as opened:
        plot = opened.page.locator(".canvas .main-svg").first
        before = plot.bounding_box()["width"]
        opened.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert plot.bounding_box()["width"] == 980 < before
        opened.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert plot.bounding_box()["width"] == before


def test_tables_and_pictures_need_no_javascript(browser: OfflineBrowser, path: Path) -> None:
    with browser.open(path, PHONE, scripts=False) as opened:
        page = opened.page
        assert len(_values(page.locator("figure.table").first)) == len(VALUES)
        assert page.get_by_text("This plot needs JavaScript").is_visible()
        assert page.locator(".canvas").bounding_box()["height"] == 0
        assert page.locator(".pictures img").first.is_visible()
        assert opened.requests == opened.complaints == []


def _values(figure) -> list[str]:  # type: ignore[no-untyped-def]
    """The shown values of the last column, without their details."""
    return [text.split(" ")[0].strip() for text in figure.locator("tbody tr:visible td").all_inner_texts()]


def _middle(box: dict[str, float]) -> tuple[float, float]:
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
