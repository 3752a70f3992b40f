"""``recognizer.preprocessing=auto``: finds the preprocessing on clean pairs and writes it into the config."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from frbench.harness.core.contracts import Recognizer
from frbench.harness.core.errors import ConfigError, warn_once
from frbench.harness.core.face_data import PairSet
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.evaluation.preprocessing_search import CANDIDATES, IDENTITY, PAIRS, Trial, search
from frbench.harness.storage.result_store import ResultStore

FIELD = "preprocessing"  # of a recognizer's config, beside the fields of ``Preprocessing``: null or auto


@dataclass(frozen=True)
class Search:
    """What the search for the best preprocessing needs.

    pairs: clean pairs. make: builds the recognizer of a config (as JSON). store: keeps the trials.
    """

    pairs: PairSet
    make: Callable[[str], Recognizer]
    store: ResultStore
    batch_size: int
    device: torch.device

    def trials(self, config: Mapping[str, Any]) -> list[Trial]:
        """The usual kinds of preprocessing for the recognizer of ``config``, best first; computed once and kept."""
        recognizer = self.make(json.dumps({**without(config), **IDENTITY}))
        key = fingerprint(recognizer, self.pairs.digest, list(CANDIDATES), PAIRS)

        def make() -> dict[str, np.ndarray]:
            found = search(recognizer, self.pairs, self.batch_size, self.device)
            return {"trials": np.frombuffer(json.dumps([asdict(trial) for trial in found]).encode(), np.uint8)}

        trials = self.store.get_or_make(FIELD, key, make).arrays["trials"]
        return [Trial(**each) for each in json.loads(trials.tobytes())]


def places(config: Any, place: str = "") -> Iterator[str]:
    """Dotted places of the recognizers in ``config`` with ``preprocessing=auto``.

    Raises ConfigError: ``preprocessing`` is neither null nor auto.
    """
    if not isinstance(config, Mapping):
        return
    if "_target_" in config and config.get(FIELD) is not None:
        if config[FIELD] != "auto":
            raise ConfigError(
                f"{place}.{FIELD} must be auto, got {config[FIELD]}; or leave it out and set {place}.mean, .std, "
                ".scale and .bgr"
            )
        yield place
    for name, value in config.items():
        yield from places(value, f"{place}.{name}" if place else str(name))


def without(config: Any) -> Any:
    """``config`` without the field ``preprocessing``, at any depth."""
    if isinstance(config, list):
        return [without(each) for each in config]
    if not isinstance(config, Mapping):
        return config
    return {name: without(value) for name, value in config.items() if not (name == FIELD and "_target_" in config)}


def replaced(
    config: Mapping[str, Any], settings: Mapping[str, Any], untuned: Sequence[str], where: Search
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """``config`` and ``settings`` with the best preprocessing in place of ``auto``; and all trials, for the card."""
    whole: dict[str, Any] = json.loads(json.dumps(config))
    shown, tried = dict(settings), {}
    for place in untuned:
        node = whole
        for name in place.split("."):
            node = node[name]
        trials = where.trials(node)
        best = trials[0].preprocessing
        shown.pop(f"{place}.{FIELD}", None)
        shown.update({f"{place}.{name}": value for name, value in best.items() if node.get(name) != value})
        node.update({FIELD: None, **best})
        tried[place] = {"dataset": where.pairs.name, "trials": [asdict(trial) for trial in trials]}
        warn_once(_message(place, where.pairs.name, trials))
    return whole, shown, tried


def _message(place: str, dataset: str, trials: Sequence[Trial]) -> str:
    best, *others = trials
    rest = "; ".join(f"{_fields(each)} {100 * each.accuracy:.1f} %" for each in others[:2])
    overrides = " ".join(f"{place}.{name}={_value(value)}" for name, value in best.preprocessing.items())
    return (
        f"{place}.{FIELD}=auto tried {len(trials)} kinds of preprocessing on clean pairs of {dataset} ({best.pairs} "
        f"pairs for the final ones): {overrides} has accuracy {100 * best.accuracy:.1f} %, next {rest}, worst "
        f"{100 * trials[-1].accuracy:.1f} %; set these fields to skip the search"
    )


def _fields(trial: Trial) -> str:
    return " ".join(f"{name}={_value(value)}" for name, value in trial.preprocessing.items())


def _value(value: Any) -> str:
    """A value as the command line takes it."""
    if isinstance(value, list):
        return f"[{','.join(map(_value, value))}]"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"
