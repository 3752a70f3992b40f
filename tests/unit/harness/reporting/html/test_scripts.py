"""JSON in pages, and the content security policy."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frbench.harness.core.errors import ConfigError
from frbench.harness.reporting.html.scripts import content_security_policy, json_script, plotly_script

LEAVES = st.none() | st.booleans() | st.integers() | st.text()


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20))
def test_json_stays_itself_and_cannot_end_its_script(value: object) -> None:
    text = str(json_script(value))
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.dumps(json.loads(text)).replace("&lt;", "<") == json.dumps(value).replace("&lt;", "<")


def test_numbers_have_five_digits_and_no_number_is_null() -> None:
    values = {"a": np.array([0.123456789, 123456.7]), "b": [math.nan, math.inf], "c": np.float32(0.5), "d": (1, 10**7)}
    found = json.loads(json_script(values))
    assert found == {"a": [0.12346, 123460.0], "b": [None, None], "c": 0.5, "d": [1, 10**7]}


def test_texts_of_plots_keep_emphasis_and_lose_links() -> None:
    shown = json.loads(json_script(["a<br>b <sup>2</sup>", "<a href='javascript:x'>y</a><script>", "1 < 2", "</BR>"]))
    assert shown == ["a<br>b <sup>2</sup>", "&lt;a href='javascript:x'>y&lt;/a>&lt;script>", "1 &lt; 2", "&lt;/BR>"]


def test_the_policy_allows_no_network_and_no_other_script() -> None:
    policy = dict(rule.split(" ", 1) for rule in content_security_policy(["a"]).split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == "'sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs='"
    assert policy["img-src"] == "data:"


def test_plotly_is_found_beside_its_python_package() -> None:
    assert "plotly.js v" in plotly_script()[:200]


def test_a_plotly_that_would_end_its_script_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "package_data").mkdir()
    (tmp_path / "package_data" / "plotly.min.js").write_text("var a = '</SCRIPT>'")

    class Found:
        submodule_search_locations = [str(tmp_path)]  # noqa: RUF012

    monkeypatch.setattr("frbench.harness.reporting.html.scripts.find_spec", lambda name: Found)
    with pytest.raises(ConfigError, match="install another version of plotly"):
        plotly_script()
