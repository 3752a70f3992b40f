"""Manifests of reference results: what is refused, in one line."""

from __future__ import annotations

from typing import Any

import pytest

from frbench.harness.core.errors import ConfigError
from frbench.harness.reporting.reference_manifest import manifest_of

VALUES = {"title": "Study", "question": "Does it work?", "text": "It does.", "tables": []}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"titel": "Study"}, "titel: Extra inputs are not permitted"),
        ({"hours": "long"}, "hours: Input should be a valid number"),
        ({"tables": [{"title": "ASR"}]}, "a table needs either columns, or rows, pivot and value"),
        ({"tables": [{"title": "ASR", "rows": {"goal": "{goal}"}, "pivot": "{attack}"}]}, "a table needs either"),
    ],
)
def test_a_wrong_entry_is_named_with_its_file(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        manifest_of(VALUES | changes, "lfw/manifest.yaml")
    assert str(error.value).startswith("lfw/manifest.yaml: ") and "\n" not in str(error.value)


def test_a_missing_entry_is_named() -> None:
    with pytest.raises(ConfigError, match="question: Field required"):
        manifest_of({key: value for key, value in VALUES.items() if key != "question"}, "lfw/manifest.yaml")
