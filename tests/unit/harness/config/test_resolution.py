"""Configs resolved part by part are those resolved as a whole."""

from __future__ import annotations

from typing import Any

import pytest

from frbench.harness.config.identity_memo import IdentityMemo
from frbench.harness.config.resolution import plain, plain_config
from frbench.harness.core.errors import ConfigError

CONFIG: dict[str, Any] = {
    "paths": {"data": "${oc.env:NOT_SET_AT_ALL,data}", "cache": "${paths.data}/cache"},
    "identities": {"root": "${paths.data}/faces"},
    "defense": {"faces": "${identities}", "scale": {"a": 2, "b": "${..a}"}, "a": "${seed}"},
    "trust": [],
    "seed": 3,
}


def test_that_parts_are_resolved_as_in_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    memo = IdentityMemo()
    assert plain_config(CONFIG, memo) == plain(CONFIG)
    other = CONFIG | {"identities": {"root": "elsewhere"}, "seed": 4}
    found = plain_config(other, memo)
    assert found == plain(other)
    assert found["defense"] == {"faces": {"root": "elsewhere"}, "scale": {"a": 2, "b": 4}, "a": 4}


def test_that_a_part_that_nothing_changed_is_resolved_once() -> None:
    memo = IdentityMemo()
    first, second = (plain_config(CONFIG | {"seed": seed}, memo) for seed in (1000, 2000))
    assert first["identities"] is second["identities"] and first["defense"] is not second["defense"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"identities": {"root": "???"}},
            "identities.root has no default and was not given; add identities.root=VALUE",
        ),
        ({"seed": -1}, "seed=-1 is not"),
        ({"defense": {"_target_": "os.system"}}, r"trust=\[os\]"),
        ({"defense": "${nothing}"}, "nothing"),
    ],
)
def test_that_an_error_is_that_of_the_whole(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plain_config(CONFIG | changed, IdentityMemo())
