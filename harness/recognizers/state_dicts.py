"""Strict loading of checkpoints, whatever mapping or prefix wraps the state dict of the network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from frbench.harness.core.errors import ConfigError, CorruptFile, warn_once
from frbench.harness.recognizers.weight_files import no_state_dict

_REMEDY = "choose the recognizer option of its architecture, or set recognizer.prefix"


@dataclass(frozen=True)
class Place:
    """Where entries of a checkpoint stand: the ``prefix`` that their names share, and the entries without it.

    The keys of the mappings around them belong to the prefix: ``state_dict.module.``.
    """

    prefix: str
    entries: Mapping[str, Tensor]


def load_found(network: nn.Module, loaded: Any, path: Path, prefix: str = "") -> None:
    """Copy the entries of a checkpoint that are those of ``network`` into it; every name and shape must agree.

    loaded: what the file at ``path`` holds, see ``read_weights``. The entries may be wrapped in mappings
        (``state_dict``, ``model``, ...) and their names may share a prefix (``module.``, ``backbone.``, ...): both are
        found, and named on standard error. What stands outside that place is left out.
    prefix: the end of the prefix, such as ``arcface.``, where you know it.

    Raises FrbenchError: nothing fits, or several places fit and hold different weights.
    """
    wanted = network.state_dict()
    places = [place for place in _places(loaded, wanted) if place.prefix.endswith(prefix)]
    fitting = [place for place in places if not differences(wanted, place.entries)]
    if not fitting:
        raise _misfit(network, loaded, places, path)
    chosen = next((place for place in fitting if place.prefix == prefix), fitting[0])
    others = [place for place in fitting if not _equal(place.entries, chosen.entries)]
    if others and chosen.prefix != prefix:
        names = " and ".join(place.prefix or "no prefix" for place in (chosen, *others))
        raise ConfigError(
            f"{path} holds different weights of {type(network).__name__} under {names}: "
            f"choose with recognizer.prefix={others[0].prefix}"
        )
    if not prefix and chosen.prefix:
        warn_once(f"{path}: the weights of {type(network).__name__} were found under {chosen.prefix}")
    load_strictly(network, chosen.entries, path)


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], path: Path, remedy: str = _REMEDY) -> None:
    """Copy ``state`` into ``network``; every name and shape must agree, else one line says which do not.

    Only the step counters of batch normalisation may be absent: they decide nothing, and old files lack them.
    """
    wanted = network.state_dict()
    found = differences(wanted, state)
    if found:
        raise ConfigError(f"{path} does not fit {type(network).__name__}: {found}; {remedy}")
    network.load_state_dict({**_counters(wanted), **state})


def differences(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """How ``state`` differs from the names and shapes ``wanted``; empty where it can be loaded."""
    missing = sorted(wanted.keys() - state.keys() - _counters(wanted).keys())
    unexpected = sorted(state.keys() - wanted.keys())
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in sorted(wanted.keys() & state.keys())
        if state[name].shape != wanted[name].shape
    ]
    wrong = {"missing": missing, "unexpected": unexpected, "wrong shape": shapes}
    return "; ".join(f"{len(names)} {kind} ({_few(names)})" for kind, names in wrong.items() if names)


def _counters(wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in wanted.items() if name.endswith("num_batches_tracked")}


def _places(loaded: Any, wanted: Mapping[str, Tensor]) -> list[Place]:
    """Every place of a checkpoint where names of the network stand, those with most of them first."""
    found: list[tuple[int, Place]] = []
    for wrapper, tensors in _mappings(loaded):
        counts = Counter(name.removesuffix(end) for name in tensors for end in _endings(name) if end in wanted)
        for prefix, count in counts.items():
            own = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
            found.append((count, Place(wrapper + prefix, own)))
    return [place for _, place in sorted(found, key=lambda each: (-each[0], len(each[1].prefix)))]


def _mappings(loaded: Any, wrapper: str = "") -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The mappings of a checkpoint that hold tensors, the outer ones first: (keys that lead there, its tensors)."""
    if not isinstance(loaded, Mapping):
        return
    tensors = {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
    if tensors:
        yield wrapper, tensors
    for name, value in loaded.items():
        yield from _mappings(value, f"{wrapper}{name}.")


def _endings(name: str) -> Iterator[str]:
    """``a.b.c``, ``b.c``, ``c``."""
    parts = name.split(".")
    yield from (".".join(parts[first:]) for first in range(len(parts)))


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _misfit(network: nn.Module, loaded: Any, places: Sequence[Place], path: Path) -> ConfigError | CorruptFile:
    """The error for a checkpoint that fits nowhere: how the best place differs, or else what the file holds."""
    mappings = list(_mappings(loaded))
    if not mappings:
        return no_state_dict(path, loaded)
    wanted, name = network.state_dict(), type(network).__name__
    if places and len(places[0].entries.keys() & wanted.keys()) > len(wanted) / 2:
        best = places[0]
        under = f" under {best.prefix}" if best.prefix else ""
        return ConfigError(f"{path} does not fit {name}{under}: {differences(wanted, best.entries)}; {_REMEDY}")
    wrapper, tensors = max(mappings, key=lambda each: len(each[1]))
    held = _shapes({wrapper + key: value for key, value in tensors.items()})
    return ConfigError(
        f"{path} does not fit {name}: the file holds {held}, the network has {_shapes(wanted)}; {_REMEDY}"
    )


def _shapes(tensors: Mapping[str, Tensor]) -> str:
    shown = [f"{name} {tuple(value.shape)}" for name, value in list(tensors.items())[:4]]
    return ", ".join(shown) + (f" and {len(tensors) - 4} more" if len(tensors) > 4 else "")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:2]) + (", …" if len(names) > 2 else "")
