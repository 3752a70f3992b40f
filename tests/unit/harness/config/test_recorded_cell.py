"""Every shipped option of a noun can be repeated from the config that its record has."""

from __future__ import annotations

import json
from typing import Any

import pytest

from frbench.harness.config.compose import composed_cell
from frbench.harness.config.identity_memo import IdentityMemo
from frbench.harness.config.recorded_cell import recorded_cell, split_own_values
from frbench.harness.config.running import cell_config
from frbench.harness.core.errors import ConfigError
from frbench.harness.storage.portable_record import portable

OWN = {
    "paths": {"data": "/mine", "cache": "/mine/cache", "results": "/r"},
    "device": "cpu",
    "fetch": False,
    "trust": [],
}


def recorded(*words: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The portable record of a cell as another user ran it, and the config as this user would have it."""
    theirs, ours = (
        cell_config(composed_cell([*words, f"paths.data={data}", f"paths.cache={data}/cache"]), IdentityMemo())
        for data in ("/home/ann/faces", "/mine")
    )
    names = {group: option for group, option in theirs.choices.items() if "@" not in group and option}
    record = {"names": names, "settings": dict(theirs.settings), "reason": None, "card": {"config": theirs.config}}
    return portable(json.loads(json.dumps(record))), dict(ours.config)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("dataset=lfw", "recognizer=foamliu_mobilefacenet", "seed=2"),
        ("dataset=cfp_fp", "recognizer=iresnet50", "defense=pin", "audit=full"),
        ("attack=lowkey", "dataset=cfp_users", "protocol=cloaking", "goal=cloak"),
        ("threat=transfer", "recognizer@threat.surrogate=mobileface_v2"),
        ("recognizer=insightface", "recognizer.pack=buffalo_l", "defense=puface"),
        ("defense=diverse_ensemble", "attack=none"),
    ],
    ids=lambda words: " ".join(words) or "defaults",
)
def test_that_the_config_is_that_of_this_machine(words: tuple[str, ...]) -> None:
    record, ours = recorded(*words)
    assert "/home/ann" not in json.dumps(record)
    found = recorded_cell(record, OWN, {}).config
    for name in set(found) - {"paths", "device", "fetch", "trust", "out"}:
        expected = json.loads(json.dumps(ours[name]).replace('"device": "auto"', '"device": "cpu"'))
        assert found[name] == expected, name


def test_that_own_values_are_split_from_other_words() -> None:
    others, given = split_own_values(["out=x", "recognizer.path=a.onnx", "paths.data=/d", "+recognizer.k={a: 1}"])
    assert others == ["out=x", "paths.data=/d"]
    assert given == {"recognizer.path": "a.onnx", "recognizer.k": {"a": 1}}
    with pytest.raises(ConfigError, match="cannot parse"):
        split_own_values(["recognizer.path=[a"])


def test_that_a_setting_of_the_record_cannot_be_changed() -> None:
    with pytest.raises(ConfigError, match="attack.steps is a setting of the record"):
        recorded_cell(recorded()[0], OWN, {"attack.steps": 3})
