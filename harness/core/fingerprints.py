"""Fingerprints of objects, from the declared name and version of their class and from their fields.

A fingerprint is the SHA-256 of a canonical description. An object of frbench is described by the ``identity`` and
``version`` of its class and by its fields, recursively: moving a class, rewording a message or reformatting a file
changes no key. The version is raised by hand whenever numbers may change; ``tests/reference_outputs`` guards that. A
part from outside frbench has no declared version: the source of its whole top-level package takes its place.

An object with a ``fingerprint()`` method is described by what that returns instead of by its fields: recognizers by
their weights, artifacts by their key. One that ``stands_for`` another, such as a counting wrapper, is described as
that other.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

_OURS = "frbench."


@runtime_checkable
class HasFingerprint(Protocol):
    """An object that is described by its ``fingerprint()`` instead of its fields."""

    def fingerprint(self) -> object: ...


@runtime_checkable
class StandsFor(Protocol):
    """A wrapper that is described as the object ``stands_for``."""

    @property
    def stands_for(self) -> object: ...


# Files that decide what the code of an own part does; weights and data are described by its fields.
_SOURCE = {".py", ".pyx", ".so", ".pyd", ".c", ".cc", ".cpp", ".cu", ".h", ".json", ".yaml", ".yml", ".toml"}


def fingerprint(*objects: Any) -> str:
    """SHA-256 in hex of the canonical description of ``objects``."""
    text = json.dumps([describe(each) for each in objects], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def describe(value: Any) -> Any:
    """``value`` as plain JSON data, equal if and only if the values are equivalent."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Path):
        raise TypeError(f"a fingerprint cannot contain a path, got {value}: use the digest of the file")
    if isinstance(value, torch.Tensor):
        return describe(value.detach().cpu().numpy())
    if isinstance(value, np.ndarray | np.generic):
        array = np.ascontiguousarray(value)
        return {"array": hashlib.sha256(array.data).hexdigest(), "shape": list(array.shape), "dtype": str(array.dtype)}
    if isinstance(value, Mapping):
        return {str(key): describe(each) for key, each in sorted(value.items(), key=lambda item: str(item[0]))}
    if isinstance(value, Sequence):
        return [describe(each) for each in value]
    return _describe_object(value)


def _describe_object(value: Any) -> Any:
    if isinstance(value, StandsFor):
        return describe(value.stands_for)
    facts = {"is": implementation(type(value))}
    if isinstance(value, HasFingerprint):
        return {**facts, "of": describe(value.fingerprint())}
    if dataclasses.is_dataclass(value):
        compared = [field for field in dataclasses.fields(value) if field.compare]
        return {**facts, "fields": {field.name: describe(getattr(value, field.name)) for field in compared}}
    raise TypeError(f"{type(value).__qualname__} has neither fields nor fingerprint(): make it a frozen dataclass")


def implementation(maker: Any) -> dict[str, Any]:
    """Identity of the code of a class or function, as plain JSON data.

    A class of frbench: its declared identity and version, and those of the classes it extends. One of another package:
    its qualified name and ``package_digest``, beside the versions of what it extends of frbench.
    """
    versions = dict(_declared(maker))
    if not str(maker.__module__).startswith(_OURS):
        return {"versions": versions, "name": _dotted(maker), "source": package_digest(maker.__module__)}
    if not _declares(maker):
        raise TypeError(f"{_dotted(maker)} declares no identity and version of its own, so no result can be kept of it")
    return {"versions": versions}


def _dotted(maker: Any) -> str:
    return f"{maker.__module__}.{maker.__qualname__}"


def _declared(maker: Any) -> Iterator[tuple[str, int]]:
    """(identity, version) of ``maker`` and of the classes that it extends, where they declare one."""
    for each in getattr(maker, "__mro__", (maker,)):
        if _declares(each):
            yield each.identity, each.version


def _declares(kind: Any) -> bool:
    """Whether the class itself, not a base class, declares an identity; elsewhere it may be the name of a field."""
    return isinstance(vars(kind).get("identity"), str)


def hyperparameters(value: Any) -> Any:
    """The hyper-parameters of ``value`` as plain JSON data, for records.

    Numbers, texts, and lists, mappings and dataclasses of them; None for other values and for objects with a
    ``fingerprint`` method.
    """
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): hyperparameters(each) for key, each in value.items()}
    if isinstance(value, Sequence):
        return [hyperparameters(each) for each in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, HasFingerprint):
        compared = (field.name for field in dataclasses.fields(value) if field.compare)
        return {name: hyperparameters(getattr(value, name)) for name in compared}
    return None


@cache
def package_digest(module: str) -> str:
    """SHA-256 of the source of the top-level package of ``module``, or the version of an installed package.

    All files of an own package count, so that an edit of a helper changes the digest; of a single file, also the
    files beside it that it imports.

    Raises:
        TypeError: the module has no file.
    """
    top = module.partition(".")[0]
    loaded = sys.modules.get(top) or sys.modules[module]
    folders = [Path(each) for each in getattr(loaded, "__path__", ())]
    if folders:
        files = {path.relative_to(root.parent).as_posix(): path for root in folders for path in _sources(root)}
    else:
        file = getattr(sys.modules[module], "__file__", None)
        if file is None:
            raise TypeError(f"{module} has no source file: define the part in a module, not in an interactive session")
        folders, files = [Path(file)], _with_imports(Path(file))
    if version := _installed_version(top, folders):
        return version
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return digest.hexdigest()


@cache
def own_source_digest() -> str:
    """SHA-256 of the source of frbench, to see whether it changed meanwhile. It is part of no fingerprint."""
    root = Path(__file__).parents[2]
    files = [path for name in ("attacks", "conf", "datasets", "defenses", "harness") for path in _sources(root / name)]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(
            f"{path.relative_to(root).as_posix()}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode()
        )
    return digest.hexdigest()


def _sources(root: Path) -> Iterator[Path]:
    for path in root.rglob("*"):
        hidden = any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(root).parts)
        if path.suffix in _SOURCE and path.is_file() and not hidden:
            yield path


def _with_imports(file: Path) -> dict[str, Path]:
    """``file`` and the modules of its folder that it imports, by their paths inside the folder.

    Of a folder without ``__init__.py`` that it imports from, all files count.
    """
    finder = _Finder(path=[str(file.parent)])
    finder.run_script(str(file))
    paths = [Path(found) for each in finder.modules.values() if (found := getattr(each, "__file__", None))]
    paths += [path for folder in finder.folders for path in _sources(folder)]
    return {path.relative_to(file.parent).as_posix(): path for path in paths}


class _Finder(ModuleFinder):
    """Also finds folders without ``__init__.py``, at which ``ModuleFinder`` of Python 3.11 and 3.12 fails."""

    def __init__(self, path: list[str]) -> None:
        super().__init__(path)
        self.folders = set[Path]()

    def find_module(self, name: str, path: Any, parent: Any = None) -> Any:
        for place in map(Path, self.path if path is None else path):
            if (place / f"{name}.py").exists() or (place / name / "__init__.py").exists():
                break
            if (place / name).is_dir():
                self.folders.add(place / name)
                raise ImportError(name, name=name)
        return super().find_module(name, path, parent)


def _installed_version(top: str, places: Sequence[Path]) -> str | None:
    """``name==version`` where the package lies among the installed ones; None for a checkout or an editable install."""
    if not all(place.resolve().parent.name in ("site-packages", "dist-packages") for place in places):
        return None
    names = metadata.packages_distributions().get(top, ())
    return f"{names[0]}=={metadata.version(names[0])}" if names else None
