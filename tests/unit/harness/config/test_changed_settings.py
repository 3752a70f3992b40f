"""The settings of a cell, in comparison with what its options compose to."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import OmegaConf

from frbench.harness.config.changed_settings import Defaults, changed_settings

CHOICES = {"attack": "pgd", "protocol": "cloaking", "tracker@protocol.tracker": "linear", "experiment": "mine"}


def usual(overrides: Sequence[str]) -> Defaults:
    """With tracker=nearest, unless it is chosen."""
    chosen = "tracker@protocol.tracker=linear" in overrides
    assert "experiment=mine" not in overrides
    values = {
        "attack.steps": 20,
        "attack.radius": 0.5,
        "attack.file": None,
        "protocol.tracker.rate": 1 if chosen else 2,
    }
    return Defaults(CHOICES | {"tracker@protocol.tracker": "linear" if chosen else "nearest"}, values)


def test_that_only_values_that_differ_are_settings() -> None:
    cfg = OmegaConf.create(
        {"attack": {"steps": 40, "radius": 0.5}, "protocol": {"tracker": {"rate": 1}}, "device": "cpu"}
    )
    assert changed_settings(cfg, CHOICES, usual) == {"attack.steps": 40}


def test_that_of_an_absolute_path_two_parts_remain() -> None:
    cfg = OmegaConf.create({"attack": {"file": "/home/somebody/run/file.onnx"}})
    assert changed_settings(cfg, CHOICES, usual) == {"attack.file": "run/file.onnx"}
