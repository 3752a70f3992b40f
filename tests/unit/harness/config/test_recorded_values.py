"""What a record may name on this machine, and what its reader must give."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frbench.harness.config.recorded_values import LocalValues, check_recorded_targets, shipped_texts
from frbench.harness.core.errors import ConfigError

PATHS = {"data": "/faces/", "cache": "~/.cache/frbench"}


def local(value: Any, place: str = "recognizer", **given: Any) -> Any:
    return LocalValues(PATHS, "cuda:1", {key.replace("__", "."): each for key, each in given.items()}).of(value, place)


def test_that_folders_and_device_are_those_of_this_machine() -> None:
    value = {"path": "${paths.data}/models/a.onnx", "cache": "${paths.cache}", "device": "cpu", "sides": [112, None]}
    assert local(value) == {
        "path": "/faces/models/a.onnx",
        "cache": "~/.cache/frbench",
        "device": "cuda:1",
        "sides": [112, None],
    }


@pytest.mark.parametrize("value", ["pkg:tiny.safetensors", "best", "16/255", 0.5, None, "frbench.attacks.lots.Lots"])
def test_that_other_values_stay(value: Any) -> None:
    assert local({"field": value}) == {"field": value}


@pytest.mark.parametrize(
    "value",
    [
        "/etc/passwd",
        "~/x",
        "a/b",
        "x.onnx",
        "C:\\x",
        "<file>/x.pt",
        "<url>",
        "http://host/",
        "${oc.env:HOME}",
        "a ${paths.data}/b",
        "${paths.data}/../x",
        "${paths.results}/x",
        "${paths.data}/${oc.env:HOME}",
        "pkg:../x.safetensors",
    ],
)
def test_that_files_addresses_and_interpolations_must_be_given(value: str) -> None:
    with pytest.raises(ConfigError, match="add recognizer.field=VALUE"):
        local({"field": value})
    assert local({"field": value}, recognizer__field="mine") == {"field": "mine"}


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=30))
def test_that_no_path_leaves_the_data_folder(rest: str) -> None:
    try:
        found = local(f"${{paths.data}}/{rest}", "place")
    except ConfigError:
        return
    assert found.startswith("/faces/")
    assert ".." not in found.split("/")


def test_that_values_longer_or_deeper_than_in_any_option_are_refused() -> None:
    for value in ("x" * 20_000, {"y" * 500: 1}):
        with pytest.raises(ConfigError, match="characters|place"):
            local(value)
    deep: Any = 1
    for _ in range(400):
        deep = {"a": deep}
    with pytest.raises(ConfigError, match="in no option of frbench"):
        local(deep)


@pytest.mark.parametrize("target", ["frbench.core.os.system", "frbench.harness.cli.main.main"])
def test_that_classes_of_no_option_are_refused(target: str) -> None:
    with pytest.raises(ConfigError, match="in no option of frbench"):
        check_recorded_targets({"attack": [{"_target_": target}]}, [])


def test_that_a_package_needs_the_trust_of_the_reader() -> None:
    config = {"attack": {"_target_": "mine.Attack"}, "goal": {"_target_": "frbench.harness.threat_model.goals.Dodging"}}
    with pytest.raises(ConfigError, match="trust="):
        check_recorded_targets(config, [])
    check_recorded_targets(config, ["mine"])
    check_recorded_targets({"attack": {"_target_": None}}, [])


def test_that_shipped_texts_are_those_of_all_options() -> None:
    texts = shipped_texts()
    assert {"pkg:tiny.safetensors", "frbench.defenses.none.NoDefense", "~/.insightface"} <= texts
    assert any(text.startswith("https://raw.githubusercontent.com/") for text in texts)
