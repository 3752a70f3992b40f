"""Chromium without a network, which opens pages from files and notes what they ask for and complain about."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_FLAGS = ["--no-sandbox", "--disable-gpu"]  # as in a container, and without WebGL
PHONE, DESKTOP = 390, 1280  # pixels


@dataclass(frozen=True)
class OpenPage:
    """A page in Chromium.

    Attributes:
        page: of playwright.
        requests: addresses that it asked for, besides its own file; all were refused.
        complaints: errors and warnings of the console, uncaught errors and dialogs.
    """

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class OfflineBrowser:
    """A running Chromium."""

    browser: Browser

    @contextmanager
    def open(self, path: Path, width: int = DESKTOP, scripts: bool = True) -> Iterator[OpenPage]:
        """The file ``path`` in a window ``width`` pixels wide, with or without JavaScript."""
        own = path.resolve().as_uri()
        context = self.browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=scripts)
        context.set_offline(True)
        opened = OpenPage(context.new_page())
        page = opened.page

        def decide(route) -> None:  # type: ignore[no-untyped-def]
            if route.request.url == own:
                route.continue_()
            else:
                opened.requests.append(route.request.url)
                route.abort()

        def dismiss(dialog) -> None:  # type: ignore[no-untyped-def]
            opened.complaints.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        page.route("**/*", decide)
        page.on("console", lambda said: opened.complaints.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: opened.complaints.append(f"uncaught: {error}"))
        page.on("dialog", dismiss)
        try:
            page.goto(own)
            yield opened
        finally:
            context.close()


@contextmanager
def running_browser() -> Iterator[OfflineBrowser]:
    """Chromium; a skip with the reason where it is not installed."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on the PATH; to run the tests marked browser: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason='to run the tests marked browser: pip install -e ".[dev]"')
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        try:
            yield OfflineBrowser(browser)
        finally:
            browser.close()
