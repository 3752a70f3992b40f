"""Every class that an option of conf/ builds has a stable name and a version, so that results of it can be kept."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

import frbench.conf

CONF = Path(frbench.conf.__file__).parent
# Of the commands cloak and serve, which keep no results: the job, the face finder and the service themselves.
COMMANDS = {CONF / "cloak.yaml", CONF / "serve.yaml"}
# What makes networks: known by its qualified name and its arguments, and by the weights.
ARCHITECTURES = "frbench.harness.recognizers.architectures."


def targets(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        found = config.get("_target_")
        yield from [found] if found and found != "???" else []
        config = list(config.values())
    if isinstance(config, list):
        for each in config:
            yield from targets(each)


LAUNCHERS = CONF / "launcher"  # how a sweep runs, which is part of no result
FILES = [path for path in sorted(CONF.rglob("*.yaml")) if path not in COMMANDS and path.parent != LAUNCHERS]
TARGETS = {
    (path.relative_to(CONF).with_suffix("").as_posix(), target)
    for path in FILES
    for target in targets(OmegaConf.to_container(OmegaConf.load(path), resolve=False))
}


@pytest.mark.parametrize(("option", "target"), sorted(TARGETS), ids="-".join)
def test_that_a_target_declares_an_identity_and_a_version_of_its_own(option: str, target: str) -> None:
    module, _, name = target.rpartition(".")
    kind = getattr(import_module(module), name)
    declared = vars(kind)
    assert isinstance(declared.get("identity"), str), f"{option}: {target} has no identity; give it one and version = 1"
    assert isinstance(declared.get("version"), int) and declared["version"] >= 1, f"{option}: {target} has no version"


def test_that_every_group_that_enters_results_is_looked_at() -> None:
    groups = {option.partition("/")[0] for option, _ in TARGETS}
    needed = "attack audit budget dataset defense goal identities maker network protocol recognizer threat tracker"
    assert groups >= {*needed.split(), "training"}
