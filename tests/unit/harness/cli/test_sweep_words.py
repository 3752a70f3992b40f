"""Words of the verbs that take a sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

from frbench.harness.cli.sweep_words import parse
from frbench.harness.core.errors import ConfigError


def test_that_words_may_come_in_any_order() -> None:
    found = parse("work", ["--group", "3", "demo-12", "paths.results='a b'", "fail_fast=true"])
    assert (found.sweep, found.results, found.settings, found.flags) == (
        "demo-12",
        Path("a b"),
        {"fail_fast": "true"},
        {"--group": "3"},
    )
    assert parse("status", []).results == Path("results")
    assert parse("work", ["--group=3"]).flags == {"--group": "3"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--grop", "3"], "unknown flag --grop; available flags: --group"),
        (["--group"], "--group needs a value"),
        (["attack=pgd"], "unknown setting attack; available: paths.results, fail_fast"),
        (["fail_fast=yes"], "fail_fast=yes is wrong; fail_fast takes true or false"),
        (["images=until_jugded"], "images takes keep or until_judged"),
        (["timeout_min=0"], "timeout_min takes a number of minutes above 0"),
        (["a", "b"], "expected one sweep, got a and b"),
    ],
)
def test_that_wrong_words_are_named(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse("work", words)
