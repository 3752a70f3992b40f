"""Records of somebody who means harm: reports show them as text, read nothing outside the folder, and end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from support.browser import DESKTOP, PHONE, OfflineBrowser
from support.hostile_records import TEXTS, hostile_store

from frbench.harness.cli.main import main
from frbench.harness.reporting.html.page import LONGEST
from frbench.harness.reporting.report import report
from frbench.harness.storage.result_store import ResultStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ResultStore:
    return hostile_store(tmp_path_factory.mktemp("hostile") / "results")


@contextmanager
def only_inside(store: ResultStore) -> Iterator[None]:
    """Fails where anything outside the folder of the store is read, or a file that is no record."""
    opened: list[Path] = []
    read = Path.read_bytes

    def noted(path: Path) -> bytes:
        opened.append(path)
        return read(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_bytes", noted)
        yield
    assert opened
    assert not [path for path in opened if not path.resolve().is_relative_to(store.root.resolve())]
    assert not [path for path in opened if path.name in ("huge.json", "pipe.json")]


def test_the_files_of_a_report_hold_no_markup_and_stay_in_their_folder(
    store: ResultStore, tmp_path: Path, coarse_figures: None
) -> None:
    with only_inside(store):
        written = report(store, tmp_path / "out")
    assert written
    assert all(path.resolve().is_relative_to((tmp_path / "out").resolve()) for path in written)
    assert {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")} == {"out"}
    assert not [path.name for path in written if not re.fullmatch(r"[\w.-]+", path.name)]
    for path in written:
        if path.suffix == ".md":
            text = path.read_text("utf-8")
            assert not re.search(r"<(?!/?sup>)[a-zA-Z/!?]", text), path
            assert "](javascript:" not in text and "](https:" not in text
        if path.suffix == ".tex":
            assert not re.search(r"\\input\b", path.read_text("utf-8"))
    assert len(pd.read_csv(tmp_path / "out" / "tables" / "cells.csv")) == len(store.records())


@pytest.fixture(scope="module")
def page(store: ResultStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with only_inside(store):
        (written,) = report(store, tmp_path_factory.mktemp("page"), "html")
    return written


def test_the_page_of_a_report_has_no_text_of_megabytes_and_no_file_from_outside(page: Path) -> None:
    text = page.read_text("utf-8")
    assert len(text) < 10_000_000
    assert max(map(len, re.findall("y+", text))) <= LONGEST
    assert "root:x:" not in text


@pytest.mark.browser
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_nothing_of_a_hostile_record_runs_or_asks_for_anything(browser: OfflineBrowser, page: Path, width: int) -> None:
    with browser.open(page, width) as opened:
        shown = opened.page
        shown.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        shown.locator(".canvas .main-svg").last.wait_for()
        hrefs = shown.evaluate("Array.from(document.querySelectorAll('a, [*|href]'), a => a.getAttribute('href'))")
        assert [each for each in hrefs if each and not re.fullmatch(r"#section-\d+|data:,", each)] == []
        assert shown.evaluate("[window.ran, document.scripts.length]")[0] is None
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        assert shown.locator("img:not([alt]), img[alt='']").count() == 0
        for text in TEXTS[:3]:
            assert text in shown.locator("main").inner_text()
        assert shown.get_by_text("huge.json").count() == shown.get_by_text("newer.json").count() == 1
        assert opened.requests == opened.complaints == []


@pytest.mark.browser
def test_nothing_of_two_hostile_records_runs_on_the_page_of_their_comparison(
    browser: OfflineBrowser, store: ResultStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = [store.record(path.stem) for path in (store.root / "runs").glob("[1-9a-f]*.json")]
    records = [each for each in whole if each is not None and len(each["fingerprint"]) == 64]
    done = [each for each in records if each["status"] == "done" and each["names"]["goal"] == "dodging"]
    crashed = next(each for each in records if each["status"] == "crashed")
    codes = set()
    for first, second in ((done[0], done[1]), (done[2], done[3]), (done[0], crashed)):
        a, b = first["fingerprint"], second["fingerprint"]
        codes.add(main(["diff", a, b, f"paths.results={store.root}"]))
        out = "".join(capsys.readouterr())
        assert "\x1b" not in out and len(out) < 1_000_000
        page = tmp_path / "page.html"
        assert main(["compare", a, b, f"paths.results={store.root}", f"out={page}"]) in (0, 2)
        with browser.open(page) as opened:
            opened.page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
            assert opened.page.evaluate("window.ran") is None
            assert opened.requests == opened.complaints == []
    assert codes == {0, 2}
    capsys.readouterr()
    assert main(["diff", "0" * 64, a, f"paths.results={store.root}"]) == 2
    assert "Traceback" not in capsys.readouterr().err
