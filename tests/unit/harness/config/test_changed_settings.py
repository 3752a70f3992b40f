"""The settings of a cell, in comparison with what its options compose to."""

from __future__ import annotations

from frbench.harness.config.changed_settings import changed_settings
from frbench.harness.config.identity_memo import IdentityMemo
from frbench.harness.config.shared_composition import Tree

CHOICES = {"attack": "pgd", "protocol": "cloaking", "tracker@protocol.tracker": "linear", "experiment": "mine"}


def usual(overrides: tuple[str, ...]) -> Tree:
    """With tracker=nearest, unless it is chosen."""
    chosen = "tracker@protocol.tracker=linear" in overrides
    assert "experiment=mine" not in overrides
    config = {
        "attack": {"steps": 20, "radius": 0.5, "file": None},
        "protocol": {"tracker": {"rate": 1 if chosen else 2}},
    }
    return Tree(config, CHOICES | {"tracker@protocol.tracker": "linear" if chosen else "nearest"})


def test_that_only_values_that_differ_are_settings() -> None:
    config = {"attack": {"steps": 40, "radius": 0.5}, "protocol": {"tracker": {"rate": 1}}, "device": "cpu"}
    assert changed_settings(Tree(config, CHOICES), usual, IdentityMemo()) == {"attack.steps": 40}


def test_that_of_an_absolute_path_two_parts_remain() -> None:
    config = {"attack": {"file": "/home/somebody/run/file.onnx"}}
    assert changed_settings(Tree(config, CHOICES), usual, IdentityMemo()) == {"attack.file": "run/file.onnx"}
