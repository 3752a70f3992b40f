"""The scripts of a page: plotly from its package, the content security policy, and JSON for script elements."""

from __future__ import annotations

import json
import math
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from frbench.harness.core.errors import ConfigError

_DIGITS = 5  # significant digits of numbers in plots
_FOREIGN_TAG = re.compile(r"<(?!/?(?:b|i|br|sub|sup|extra)>)")  # plotly would also make links


def plotly_script() -> str:
    """The text of ``plotly.min.js``. Raises ConfigError: as ``plotly_file``."""
    return _whole_script(plotly_file().read_text(encoding="utf-8"))


def plotly_file() -> Path:
    """The path of ``plotly.min.js``, which is part of the Python package plotly.

    Raises:
        ConfigError: plotly is not installed.
    """
    found = find_spec("plotly")
    for place in [] if found is None else found.submodule_search_locations or ():
        script = Path(place) / "package_data" / "plotly.min.js"
        if script.is_file():
            return script
    raise ConfigError("pages with plots need plotly, which is not installed: pip install 'frbench[html]'")


def _whole_script(text: str) -> str:
    """``text`` if nothing in it ends or hides a script element. Line endings become those that a browser hashes."""
    if re.search(r"</script|<!--", text, re.IGNORECASE):
        raise ConfigError(r"this plotly.min.js contains </script or <!--; install another version of plotly")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def content_security_policy(scripts: Iterable[str]) -> str:
    """The policy of a page that runs ``scripts`` and nothing else, and that loads nothing.

    plotly sets style attributes, so inline styles are allowed.
    """
    digests = [f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts]
    rules = {
        "default-src": "'none'",
        "script-src": " ".join(digests),
        "style-src": "'unsafe-inline'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def json_script(value: Any) -> Markup:
    """``value`` as JSON for a script element: nothing in it ends the element, and plotly makes no links of its texts.

    Numbers are rounded to five significant digits; NaN and infinity become null.
    """
    text = json.dumps(_shown(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _shown(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _shown(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return _shown(value.tolist())
    if isinstance(value, list | tuple):
        return [_shown(each) for each in value]
    if isinstance(value, np.generic):
        return _shown(value.item())
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return _FOREIGN_TAG.sub("&lt;", value) if isinstance(value, str) else value
