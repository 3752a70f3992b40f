"""Fingerprints of objects: what they are, with what source, and with what values. Never of config text.

A fingerprint is the SHA-256 of a canonical description: qualified class name, a digest of the source that the class
can reach inside frbench, and its fields, recursively. An object with a ``fingerprint()`` method is described by what
that returns instead of by its fields: recognizers by their weights, artifacts by their key. One that ``stands_for``
another, as what only counts does, is described as that other.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

_OURS = "frbench."


def fingerprint(*objects: Any) -> str:
    """SHA-256 in hex of the canonical description of ``objects``."""
    text = json.dumps([describe(each) for each in objects], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def describe(value: Any) -> Any:
    """``value`` as plain JSON data that is equal exactly when the value means the same."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Path):
        raise TypeError(f"a path has no place in a fingerprint: {value}")
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
    if hasattr(value, "stands_for"):
        return describe(value.stands_for)
    kind = type(value)
    facts = {"class": f"{kind.__module__}.{kind.__qualname__}", "source": source_digest(kind.__module__)}
    if hasattr(value, "fingerprint"):
        return {**facts, "is": describe(value.fingerprint())}
    if dataclasses.is_dataclass(value):
        compared = [field for field in dataclasses.fields(value) if field.compare]
        return {**facts, "fields": {field.name: describe(getattr(value, field.name)) for field in compared}}
    raise TypeError(f"{facts['class']} has neither fields nor fingerprint(): make it a frozen dataclass")


@cache
def source_digest(module: str) -> str:
    """SHA-256 over the code of ``module`` and of all modules of frbench that it imports, comments and docs aside."""
    seen: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            tree = _tree(name)
            seen[name] = ast.dump(tree)
            waiting += [each for each in _imports(tree) if each.startswith(_OURS)]
    return hashlib.sha256(json.dumps(sorted(seen.items())).encode()).hexdigest()


def _tree(module: str) -> ast.Module:
    """Parsed source without docstrings; an empty module where there is no Python source (a name, not a module)."""
    origin = getattr(sys.modules.get(module), "__file__", None)
    if origin is None:
        try:
            spec = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            spec = None
        origin = spec.origin if spec else None
    if origin is None or not origin.endswith(".py"):
        return ast.Module(body=[], type_ignores=[])
    tree = ast.parse(Path(origin).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = node.body[ast.get_docstring(node, clean=False) is not None :]
    return tree


def _imports(tree: ast.Module) -> list[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names
