"""Resolves composed configs to plain Python, each part that several cells share once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from frbench.harness.config.checks import TOP_LEVEL, check_targets, check_values
from frbench.harness.config.identity_memo import IdentityMemo
from frbench.harness.config.ratio_values import with_numbers
from frbench.harness.core.errors import ConfigError


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` resolved to plain Python: targets and top-level settings checked, ratios such as 8/255 as numbers.

    Raises ConfigError: a setting without a value, an untrusted ``_target_``, a top-level setting out of range.
    """
    cfg = config if isinstance(config, DictConfig) else OmegaConf.create(dict(config))
    try:
        resolved = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        key = error.full_key
        raise ConfigError(f"{key} has no default and was not given; add {key}=VALUE") from error
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from error
    assert isinstance(resolved, dict)
    found = {str(key): value for key, value in resolved.items()}
    check_targets(found, found.get("trust", ()))
    found = with_numbers(found, TOP_LEVEL)
    check_values(found, TOP_LEVEL, "")
    return found


def plain_part(config: Mapping[str, Any], key: str, memo: IdentityMemo) -> Any:
    """The value of ``key`` in ``plain(config)``, kept for other configs with the same parts. Raises ConfigError."""
    needed = {key, "trust"}
    rest = [*needed]
    while rest:
        value = config.get(rest.pop())
        names: frozenset[str] = memo("names", (value,), partial(_names, value))
        rest += (names & config.keys()) - needed
        needed |= names & config.keys()
    parts = {name: config[name] for name in sorted(needed) if name in config}
    return memo(f"plain {key}", tuple(parts.values()), lambda: plain(parts)[key])


def _names(value: Any) -> frozenset[str]:
    """What interpolations in ``value`` may refer to."""
    if isinstance(value, Mapping | list):
        return frozenset().union(*map(_names, value.values() if isinstance(value, Mapping) else value))
    return frozenset(re.findall(r"\w+", value) if isinstance(value, str) and "${" in value else ())


def plain_config(config: Mapping[str, Any], memo: IdentityMemo) -> dict[str, Any]:
    """``plain(config)``, with parts of earlier configs. Raises ConfigError, as ``plain`` does."""
    try:
        return {key: plain_part(config, key, memo) for key in config}
    except ConfigError:
        return plain(config)  # for the message of the whole
