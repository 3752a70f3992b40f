"""``embed`` and ``craft`` of the Python interface: parts in use outside a cell, given as options or as objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from frbench.harness.config import build, folders
from frbench.harness.config.option import Option, RunSettings
from frbench.harness.config.option_objects import composed_config, group_object
from frbench.harness.core.contracts import Embeddings, Recognizer
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import PairSet
from frbench.harness.evaluation import direct_crafting
from frbench.harness.evaluation.direct_crafting import Crafted, GivenPairs, Parts
from frbench.harness.evaluation.embeddings import embeddings
from frbench.harness.evaluation.execution import Execution
from frbench.harness.recognizers.inference import resolve_device

Sides = tuple[object, object, object]  # images of probe, reference and decoy, each None where there is none


def embed(recognizer: Option | str | Recognizer, images: Tensor | np.ndarray, run: RunSettings) -> Embeddings:
    """See ``frbench.harness.api.embed``."""
    config, parts = _objects({"recognizer": recognizer}, run)
    return embeddings(parts["recognizer"], images, _execution(config, recognizer, run))


def craft(
    given: Mapping[str, object],
    images: Sides,
    threshold: float | Tensor | None,
    run: RunSettings,
) -> Crafted:
    """See ``frbench.harness.api.craft``.

    Args:
        given: options, names or objects by group; ``dataset`` is the pairs, None for ``images``.
        images: of the caller, all None where there is a dataset.
    """
    config, found = _objects(given, run)
    execution = _execution(config, given["recognizer"], run)
    pairs = _pairs(found.pop("dataset", None), images, found["goal"])
    parts = Parts(**found)
    fitted = build.fitted_defense(config, parts.defense, parts.recognizer, execution.device)
    return direct_crafting.craft(parts._replace(defense=fitted), pairs, threshold, execution)


def _objects(given: Mapping[str, object], run: RunSettings) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """The config of a run with the options in ``given``, and the object of each group that is not None."""
    named = {group: each for group, each in given.items() if isinstance(each, Option | str)}
    config = composed_config(named, run)
    objects = {
        group: group_object(config, group) if group in named else _checked(group, each)
        for group, each in given.items()
        if each is not None and group not in _SETTING_OTHERS
    }
    return config, objects


_SETTING_OTHERS = ("identities",)  # only other options use it


def _checked(group: str, given: object) -> object:
    return given if isinstance(given, PairSet) else build.checked(given, group)


def _execution(config: Mapping[str, Any], recognizer: object, run: RunSettings) -> Execution:
    """An object stays on the device that it is on, the CPU unless ``device`` is given."""
    named = isinstance(recognizer, Option | str) or "device" in run
    device = resolve_device(config["device"] if named else "cpu")
    return Execution(folders.store(config), config["seed"], config["batch_size"], device)


def _pairs(data: object, images: Sides, goal: Any) -> GivenPairs | PairSet:
    probe, reference, decoy = images
    if data is None:
        if probe is None or reference is None:
            raise ConfigError("craft needs probe= and reference=, images of the two sides, or pairs=DATASET")
        return direct_crafting.given_pairs(probe, reference, decoy, goal)
    if not isinstance(data, PairSet):
        raise ConfigError(f"pairs is a {type(data).__name__}, expected pairs to verify; take a data set such as lfw")
    if any(each is not None for each in images):
        raise ConfigError("craft takes either probe= and reference=, or pairs=, and got both")
    return data
