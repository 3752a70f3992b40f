"""Values in the config of a record, which somebody else may have written, as this machine uses them.

Such a config may name classes of frbench that the files of its options name, and classes of packages that the user
trusts. It names no file, address or environment variable of its own: the user gives these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import PurePosixPath
from typing import Any

from omegaconf import OmegaConf

from frbench.harness.config.checks import check_targets
from frbench.harness.config.conf_files import known_options, options_below
from frbench.harness.config.hydra_state import CONF
from frbench.harness.core.errors import ConfigError, shortened
from frbench.harness.core.trusted_targets import OWN
from frbench.harness.storage.portable_record import FOLDERS

_TARGET, _DEVICE, _SECRET = "_target_", "device", "_from_env"
_SHIPPED_FILE = re.compile(r"pkg:[\w-]+\.safetensors")
_FILE = re.compile(
    r"[/\\]|^[~<]|:\w*//|\.(onnx|pth?|safetensors|ckpt|npz?|bin|rec|idx|param|pkl|txt|csv|json|jpe?g|png|webp)$", re.I
)
_SHOWN = 80  # characters of a value in an error
_LONGEST, _LONGEST_NAME, _DEEPEST = 10_000, 200, 30  # characters, characters, dots


@dataclass
class LocalValues:
    """Replaces paths, device and the values that the user gives.

    Attributes:
        paths: ``paths`` of this machine.
        device: of this run.
        given: value by dotted place, such as ``recognizer.path``, from the command line.
        used: places of ``given`` that the record has.
    """

    paths: Mapping[str, str]
    device: str
    given: Mapping[str, Any] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def of(self, value: Any, place: str) -> Any:
        """``value`` of the record for this machine, with everything inside it.

        Raises ConfigError: it names a file, an address or an environment variable that the user must give.
        """
        _check_size(value, place)
        if _is_own(value, place):
            return self._given(value, place)
        if isinstance(value, Mapping):
            return {str(key): self.of(each, f"{place}.{key}") for key, each in value.items()}
        if isinstance(value, list):
            return [self.of(each, f"{place}.{number}") for number, each in enumerate(value)]
        if place.endswith(f".{_DEVICE}"):
            return self.device
        return self._below_folder(value) if isinstance(value, str) else value

    def _given(self, value: Any, place: str) -> Any:
        if place not in self.given:
            raise ConfigError(
                f"{place} is {shortened(value, _SHOWN)!r} in the record, which belongs to the user who made it; add "
                f"{place}=VALUE, for a file the path of your copy"
            )
        self.used.add(place)
        return self.given[place]

    def _below_folder(self, value: str) -> str:
        folder = _folder_of(value)
        if folder is None:
            return value
        rest = value.removeprefix(f"${{paths.{folder}}}")
        return f"{str(self.paths[folder]).rstrip('/')}{rest}" if rest else str(self.paths[folder])


def _check_size(value: Any, place: str) -> None:
    """Raises ConfigError: a text or a name is longer, or deeper inside others, than in any option."""
    if len(place) > _LONGEST_NAME or place.count(".") > _DEEPEST:
        raise ConfigError(
            f"card.config of the record has the place {shortened(place, _SHOWN)}, in no option of frbench"
        )
    if isinstance(value, str) and len(value) > _LONGEST:
        raise ConfigError(f"{place} of the record has {len(value):,} characters, more than {_LONGEST:,}")


def _is_own(value: Any, place: str) -> bool:
    """Whether ``value`` is something that only the user of the record has."""
    if place.rpartition(".")[2].endswith(_SECRET):
        return value is not None
    if not isinstance(value, str) or value in shipped_texts() or _SHIPPED_FILE.fullmatch(value):
        return False
    return _folder_of(value) is None and ("${" in value or bool(_FILE.search(value)))


def _folder_of(value: str) -> str | None:
    """The entry of ``paths`` that a text such as ``${paths.data}/lfw`` begins with; None for any other text."""
    for name in FOLDERS:
        start = f"${{paths.{name}}}"
        rest = value.removeprefix(start)
        inside = rest == "" or (rest.startswith("/") and not re.search(r"[\\\0]|\$\{", rest))
        if value.startswith(start) and inside and ".." not in PurePosixPath(rest).parts:
            return name
    return None


def check_recorded_targets(config: Mapping[str, Any], trusted: list[str]) -> None:
    """Raises ConfigError: a class is outside frbench and the ``trusted`` packages, or no option of frbench has it."""
    check_targets(config, trusted)
    for place, target in _targets(config, ""):
        if target.split(".")[0] == OWN and target not in shipped_texts():
            raise ConfigError(
                f"{place} {shortened(target, _SHOWN)} is in no option of frbench, so it is not "
                "built from a record; run the cell with frbench run if you trust it"
            )


def _targets(value: Any, place: str) -> list[tuple[str, str]]:
    if isinstance(value, list):
        return [found for each in value for found in _targets(each, place)]
    if not isinstance(value, Mapping):
        return []
    own = [(f"{place}.{_TARGET}".lstrip("."), str(value[_TARGET]))] if value.get(_TARGET) is not None else []
    return own + [found for key, each in value.items() for found in _targets(each, f"{place}.{key}")]


@cache
def shipped_texts() -> frozenset[str]:
    """All texts in the files of the options of frbench."""
    files = [file for options in known_options().values() for file in options.values()]
    files += [file for _, file in options_below(resources.files(CONF) / "source")]
    found: set[str] = set()
    for file in files:
        _collect(OmegaConf.to_container(OmegaConf.create(file.read_text(encoding="utf-8"))), found)
    return frozenset(found)


def _collect(value: Any, found: set[str]) -> None:
    if isinstance(value, str):
        found.add(value)
    elif isinstance(value, Mapping | list):
        for each in value.values() if isinstance(value, Mapping) else value:
            _collect(each, found)
