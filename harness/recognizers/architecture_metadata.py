"""The architecture of trained networks as plain JSON in the metadata of their weight file."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from torch import nn

from frbench.harness.core.errors import ConfigError, CorruptFile, shortened
from frbench.harness.core.trusted_targets import OWN, check_target
from frbench.harness.recognizers.initialization import Architecture
from frbench.harness.recognizers.weight_files import read_metadata


def architecture_config(architecture: Architecture) -> dict[str, Any] | None:
    """``architecture`` as plain JSON data, or None where its arguments are not plain.

    Returns:
        ``network``: the ``_target_`` and its arguments. ``preprocessing``: the fields of ``Preprocessing``.
    """
    make = architecture.make
    maker, arguments = (make.func, make.keywords) if isinstance(make, partial) else (make, {})
    if (isinstance(make, partial) and make.args) or not hasattr(maker, "__qualname__"):
        return None
    target = f"{maker.__module__}.{maker.__qualname__}"
    config = {"network": {"_target_": target, **arguments}, "preprocessing": asdict(architecture.preprocessing)}
    try:
        plain: dict[str, Any] = json.loads(json.dumps(config))
        return plain if resolve_name(target) == maker else None
    except (TypeError, ValueError, ImportError, AttributeError):  # an argument or a name that JSON cannot keep
        return None


def read_architecture(path: Path, trusted: Sequence[str]) -> Architecture:
    """The architecture that the metadata of ``path`` name. Nothing is unpickled.

    Args:
        path: A file that ``frbench fit training=NAME`` wrote.
        trusted: Packages besides frbench whose classes may be built.

    Raises:
        ConfigError: The file names no architecture, or a class of a package that is not trusted.
        CorruptFile: What the metadata hold is not an architecture.
    """
    config = read_metadata(path).get("architecture")
    if config is None:
        raise ConfigError(
            f"{path} does not say which network it holds: write it anew with frbench fit training=NAME out=FILE, or "
            "load it with recognizer=pytorch recognizer.architecture._target_=CLASS recognizer.prefix=members.0."
        )
    try:
        arguments = dict(config["network"])
        target = arguments.pop("_target_")
        check_target(target, trusted)
        maker = _network_maker(target)
        inspect.signature(maker).bind(**arguments)
        return Architecture(partial(maker, **arguments), **config["preprocessing"])
    except (KeyError, TypeError, ValueError, ImportError, AttributeError) as error:
        raise CorruptFile(
            f"the metadata of {path} name no network that can be built ({type(error).__name__}: {shortened(error)}): "
            "write it anew with frbench fit training=NAME out=FILE"
        ) from error


def _network_maker(target: str) -> Any:
    """The class or function ``target``: of frbench, which nobody trusted by name, network classes only."""
    maker = resolve_name(target)
    is_network = isinstance(maker, type) and issubclass(maker, nn.Module) and maker.__module__.startswith(f"{OWN}.")
    if target.startswith(f"{OWN}.") and not is_network:
        raise TypeError(f"{target} is not a network class of frbench")
    return maker


def package_of(config: Mapping[str, Any]) -> str:
    """The package that the network of an architecture belongs to."""
    return str(config["network"]["_target_"]).split(".")[0]
