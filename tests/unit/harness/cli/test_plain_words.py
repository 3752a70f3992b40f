"""Names, settings and flags of verbs without a config."""

from __future__ import annotations

from pathlib import Path

import pytest

from frbench.harness.cli.plain_words import Accepted, Setting, parse_words
from frbench.harness.core.errors import ConfigError

ACCEPTED = Accepted({"top": Setting("[0-9]+", "a number")}, ("--group",), ("--json",))


def test_that_words_may_come_in_any_order() -> None:
    found = parse_words(["--group", "3", "one", "paths.results='a b'", "top=5", "two", "--json"], ACCEPTED)
    assert (found.names, found.results) == (("one", "two"), Path("a b"))
    assert (found.settings, found.flags) == ({"top": "5"}, {"--group": "3", "--json": ""})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--jsn"], "unknown flag --jsn; available flags: --group, --json"),
        (["--group"], "--group needs a value"),
        (["tpo=5"], "unknown setting tpo; available: paths.results, top"),
        (["top=five"], "top=five is wrong; top takes a number"),
    ],
)
def test_that_wrong_words_are_named(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_words(words, ACCEPTED)
