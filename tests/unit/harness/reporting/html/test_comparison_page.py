"""The page of a comparison of two runs."""

from __future__ import annotations

import re

import pytest
from support.comparisons import compared, two_runs
from support.fake_records import NAMES, FakeStore, with_pictures

from frbench.harness.reporting.html.comparison_page import comparison_page
from frbench.harness.reporting.html.page import Page

EVIL = "<img src=x onerror=alert(1)>"


def page(store: FakeStore) -> Page:
    first, second = store.cells.values()
    samples = [store.sample_images(record["fingerprint"]) for record in (first, second)]
    return comparison_page(compared(store, first, second), (samples[0], samples[1]))


@pytest.fixture
def paired() -> FakeStore:
    store = FakeStore()
    two_runs(store, "none", "jpeg")
    return with_pictures(store)


def test_that_a_page_has_the_test_the_plot_the_flipped_pairs_pictures_and_cards(paired: FakeStore) -> None:
    found = page(paired)
    assert [section.title for section in found.sections] == [
        "Result",
        "What differs",
        "Margins",
        "Flipped pairs",
        "Sample images",
        "Runs",
    ]
    text = found.html()
    for fact in ("exact two-sided McNemar test", "A succeeds", "defense jpeg", "pairs flipped", "frbench reproduce"):
        assert fact in text
    assert len(re.findall(r'<img [^>]*alt="[^"]+"', text)) == 12
    assert page(paired).html() == text


def test_that_runs_that_are_not_paired_have_a_page_with_the_reason(paired: FakeStore) -> None:
    paired.cells.popitem()
    paired.add(NAMES | {"defense": EVIL}, status="refused", reason=f"no gradient {EVIL}")
    found = page(paired)
    assert [section.title for section in found.sections] == ["Result", "What differs", "Runs"]
    text = found.html()
    assert "not compared pair by pair</strong>: B was refused: no gradient &lt;img" in text and EVIL not in text
