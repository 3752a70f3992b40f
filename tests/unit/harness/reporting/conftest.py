"""Fixtures of the tests of whole reports."""

from __future__ import annotations

import pytest


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Draws no figures, which take a second each, unless the test uses ``drawn``."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("frbench.harness.reporting.figures.collect.draw", lambda *arguments: [])


@pytest.fixture
def drawn(coarse_figures: None) -> None:
    """Draws figures too, at a low resolution."""
