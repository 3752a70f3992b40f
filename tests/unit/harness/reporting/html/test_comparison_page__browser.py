"""The page of a comparison in Chromium without a network."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.browser import DESKTOP, PHONE, OfflineBrowser
from support.comparisons import compared, two_runs
from support.fake_records import FakeStore, with_pictures

from frbench.harness.reporting.html.comparison_page import comparison_page

pytestmark = pytest.mark.browser

EVIL = "<img src=x onerror='window.ran=1'><script>window.ran=2</script>"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = FakeStore()
    records = two_runs(store, "none", EVIL)
    for frame in store.frames.values():
        frame["probe"] = frame["reference"] = f"folder/{EVIL}.png"
    with_pictures(store)
    first, second = (store.sample_images(record["fingerprint"]) for record in records)
    page = comparison_page(compared(store, *records), (first, second))
    return page.write(tmp_path_factory.mktemp("page") / "diff.html")


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_that_the_page_fits_its_window_and_asks_for_nothing(browser: OfflineBrowser, path: Path, width: int) -> None:
    with browser.open(path, width) as opened:
        assert opened.page.locator(".canvas .main-svg").first.is_visible()
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.page.evaluate("window.ran") is None
        assert opened.requests == [] and opened.complaints == []


def test_that_flipped_pairs_are_sorted_by_a_click(browser: OfflineBrowser, path: Path) -> None:
    with browser.open(path) as opened:
        figure = opened.page.locator("figure.table", has_text="Flipped pairs").last
        figure.get_by_role("button", name="margin A").click()
        margins = [text.replace("−", "-") for text in figure.locator("tbody tr td:nth-child(5)").all_inner_texts()]
        assert len(margins) > 5 and list(map(float, margins)) == sorted(map(float, margins))
