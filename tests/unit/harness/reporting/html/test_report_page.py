"""The report as a page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.browser import DESKTOP, PHONE, OfflineBrowser
from support.fake_records import NAMES, FakeStore, sweep, with_pictures

from frbench.harness.core.errors import ConfigError, DataMissing
from frbench.harness.reporting.html import report_page
from frbench.harness.reporting.report import report


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = with_pictures(sweep())
    store.add(NAMES | {"attack": "square"}, status="refused", reason="no scores <b>here</b>")
    (written,) = report(store, tmp_path_factory.mktemp("report"), "html")
    return written


def test_a_report_is_one_file_with_tables_plots_pictures_and_run_cards(page: Path) -> None:
    text = page.read_text("utf-8")
    assert page.name == "report.html"
    assert list(page.parent.iterdir()) == [page]
    assert re.findall(r"<h2>(.*?)</h2>", text)[:3] == ["Main results", "Curves", "Clean accuracy"]
    assert re.findall(r"<h2>(.*?)</h2>", text)[-3:] == ["Sample images", "Cells without a result", "Runs"]
    assert "no scores &lt;b&gt;here&lt;/b&gt;" in text
    assert text.count('<details class="card">') == 50
    assert text.count("data:image/webp") == 4 * 48


def test_the_file_may_have_a_name_of_its_own(tmp_path: Path) -> None:
    (written,) = report(sweep(("pgd",), ("linf_8",)), tmp_path / "mail" / "results.html", "html", top=0)
    assert written == tmp_path / "mail" / "results.html"


def test_the_same_records_give_the_same_file(page: Path, tmp_path: Path) -> None:
    store = with_pictures(sweep())
    store.cells = dict(sorted(store.cells.items(), reverse=True))
    store.add(NAMES | {"attack": "square"}, status="refused", reason="no scores <b>here</b>")
    (written,) = report(store, tmp_path, "html")
    assert written.read_bytes() == page.read_bytes()


def test_a_report_needs_records_and_plotly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataMissing, match="no records"):
        report(FakeStore(), tmp_path, "html")
    monkeypatch.setattr("frbench.harness.reporting.html.scripts.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'frbench\[html\]'"):
        report(sweep(), tmp_path, "html")
    assert not list(tmp_path.iterdir())


def test_the_page_needs_neither_torch_nor_matplotlib_nor_plotly() -> None:
    code = "import sys, frbench.harness.reporting.html.report_page; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "jinja2" in loaded
    assert not loaded & {"torch", "matplotlib", "plotly", "hydra"}


def test_a_large_report_says_what_it_leaves_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("_MOST_TABLES", "_MOST_PLOTS", "_MOST_STRIPS", "_MOST_CARDS"):
        monkeypatch.setattr(report_page, limit, 1)
    (written,) = report(with_pictures(sweep()), tmp_path, "html")
    text = written.read_text("utf-8")
    assert "The first 1 of 2 plots." in text and "The first 1 of 49 runs." in text and "The first 1. Select" in text
    assert "The first 1 of 4 tables." in text
    assert text.count("data:image/webp") == 4 and text.count('<details class="card">') == 1


@pytest.mark.browser
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_a_report_opens_without_a_network(browser: OfflineBrowser, page: Path, width: int) -> None:
    with browser.open(page, width) as opened:
        shown = opened.page
        assert shown.locator(".canvas .main-svg").count() > 0
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        assert shown.evaluate("Array.from(document.images).every(i => i.alt && i.complete && i.naturalWidth > 0)")
        assert opened.requests == opened.complaints == []


@pytest.mark.browser
def test_a_reader_opens_a_run_card_and_a_folded_plot(browser: OfflineBrowser, page: Path) -> None:
    with browser.open(page) as opened:
        shown = opened.page
        card = shown.locator("details.card").first
        card.locator("summary").click()
        assert "frbench reproduce" in card.inner_text() and "fingerprint" in card.inner_text()
        folded = shown.locator("details:has(.canvas)").first
        assert folded.locator(".main-svg").count() == 0
        folded.locator("summary").first.click()
        box = folded.locator(".main-svg").first.bounding_box()
        assert box is not None and box["width"] > 600
        assert opened.complaints == []
