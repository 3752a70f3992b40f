"""The packages whose classes may be built from a name in a config or a weight file."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from frbench.harness.core.errors import ConfigError

OWN = "frbench"


def check_target(target: object, trusted: Sequence[str]) -> None:
    """Raises ConfigError: ``target`` is not a dotted name in frbench or in a package of ``trusted``.

    A name of another package that a module has imported, such as ``frbench.harness.core.atomic.os.system``, is outside.
    """
    package = str(target).split(".")[0]
    if not isinstance(target, str) or package not in (OWN, *trusted):
        raise ConfigError(f"_target_ {target} is outside frbench; if you trust that package, add trust=[{package}]")
    if _is_imported_in_frbench(target) if package == OWN else _leaves(target, package):
        raise ConfigError(f"_target_ {target} is outside {package}: a module there imports it; give its own module")


@lru_cache(1000)
def _is_imported_in_frbench(target: str) -> bool:
    """Whether a module of frbench imports the name behind it from another package; its source is read and not run."""
    parts = target.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            spec = importlib.util.find_spec(".".join(parts[:length]))
        except (ModuleNotFoundError, ValueError):  # the parent is no package, or an empty part
            continue
        if spec is not None:
            break
    else:
        return False  # no module: an error when it is built
    name = parts[length]
    source = Path(spec.origin).read_text(encoding="utf-8") if spec.origin and spec.origin.endswith(".py") else ""
    if re.search(rf"^(?:class|def) {re.escape(name)}\b", source, re.MULTILINE):
        return False
    nodes = list(ast.walk(ast.parse(source)))
    imports: list[ast.Import | ast.ImportFrom] = [node for node in nodes if isinstance(node, ast.Import)]
    imports += [n for n in nodes if isinstance(n, ast.ImportFrom) and (n.module or OWN).split(".")[0] != OWN]
    return name in {(alias.asname or alias.name).split(".")[0] for node in imports for alias in node.names}


def _leaves(target: str, package: str) -> bool:
    """Whether ``target`` passes a module of a package other than ``package``, which is trusted."""
    found, *attributes = target.split(".")
    try:
        at: object = importlib.import_module(found)
    except Exception:
        return False  # an error when it is built
    for name in attributes:
        found = f"{found}.{name}"
        if not hasattr(at, name):
            try:
                importlib.import_module(found)
            except Exception:
                return False
        at = getattr(at, name, None)
        if isinstance(at, ModuleType) and at.__name__.split(".")[0] != package:
            return True
    return False
