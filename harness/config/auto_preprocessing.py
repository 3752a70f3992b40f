"""``recognizer.preprocessing=auto`` in a run's plain config: found on clean pairs, and written down as plain fields."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from frbench.harness.core.contracts import Recognizer
from frbench.harness.core.errors import ConfigError, warn_once
from frbench.harness.core.face_data import PairSet
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.evaluation.preprocessing_search import PAIRS, UNFED, USUAL, Trial, search
from frbench.harness.storage.result_store import ResultStore

FIELD = "preprocessing"  # of a recognizer's config, beside the fields of ``Preprocessing``: null or auto


@dataclass(frozen=True)
class Search:
    """Where ways to feed a recognizer are tried. make: the recognizer of a config. store: keeps what was found."""

    pairs: PairSet
    make: Callable[[str], Recognizer]
    store: ResultStore
    batch_size: int
    device: torch.device

    def trials(self, config: Mapping[str, Any]) -> list[Trial]:
        """The usual ways for the recognizer of ``config``, the best first; tried once and kept."""
        recognizer = self.make(json.dumps({**without(config), **UNFED}))
        key = fingerprint(recognizer, self.pairs.digest, list(USUAL), PAIRS)
        with self.store.lock(f"preprocessing-{key}"):
            kept = self.store.cached(FIELD, key)
            if kept is None:
                found = search(recognizer, self.pairs, self.batch_size, self.device)
                text = json.dumps([asdict(trial) for trial in found])
                kept = {"trials": np.frombuffer(text.encode(), np.uint8)}
                self.store.cache(FIELD, key, kept)
        return [Trial(**each) for each in json.loads(kept["trials"].tobytes())]


def automatic(config: Any, place: str = "") -> Iterator[str]:
    """The dotted places of the recognizers in ``config`` whose preprocessing is to be found.

    Raises FrbenchError: a preprocessing that is neither null nor auto.
    """
    if not isinstance(config, Mapping):
        return
    if "_target_" in config and config.get(FIELD) is not None:
        if config[FIELD] != "auto":
            raise ConfigError(
                f"{place}.{FIELD}={config[FIELD]}, expected auto; or leave it out and set {place}.mean, .std, .scale "
                "and .bgr"
            )
        yield place
    for name, value in config.items():
        yield from automatic(value, f"{place}.{name}" if place else str(name))


def without(config: Any) -> Any:
    """``config`` without the field, however deep inside."""
    if isinstance(config, list):
        return [without(each) for each in config]
    if not isinstance(config, Mapping):
        return config
    return {name: without(value) for name, value in config.items() if not (name == FIELD and "_target_" in config)}


def settled(
    config: Mapping[str, Any], settings: Mapping[str, Any], places: list[str], where: Search
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """``config`` and ``settings`` with what was found at ``places`` as plain fields; what was tried, for the card."""
    whole: dict[str, Any] = json.loads(json.dumps(config))
    shown, tried = dict(settings), {}
    for place in places:
        node = whole
        for name in place.split("."):
            node = node[name]
        trials = where.trials(node)
        best = trials[0].fed
        shown.pop(f"{place}.{FIELD}", None)
        shown.update({f"{place}.{name}": value for name, value in best.items() if node.get(name) != value})
        node.update({FIELD: None, **best})
        tried[place] = {"dataset": where.pairs.name, "trials": [asdict(trial) for trial in trials]}
        warn_once(_told(place, where.pairs.name, trials))
    return whole, shown, tried


def _told(place: str, dataset: str, trials: list[Trial]) -> str:
    best, *others = trials
    rest = "; ".join(f"{_written(each)} {100 * each.accuracy:.1f} %" for each in others[:2])
    words = " ".join(f"{place}.{name}={_word(value)}" for name, value in best.fed.items())
    return (
        f"{place}.{FIELD}=auto tried {len(trials)} ways on clean pairs of {dataset} ({best.pairs} for the last ones): "
        f"{words} is right on {100 * best.accuracy:.1f} %, next {rest}, worst {100 * trials[-1].accuracy:.1f} %; give "
        "these fields to fix them"
    )


def _written(trial: Trial) -> str:
    return " ".join(f"{name}={_word(value)}" for name, value in trial.fed.items())


def _word(value: Any) -> str:
    """A value as the command line takes it."""
    if isinstance(value, list):
        return f"[{','.join(map(_word, value))}]"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"
