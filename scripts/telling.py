"""What scripts share: what the user can mend is told in one line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from frbench.harness.core.errors import FrbenchError

Run = Callable[[argparse.Namespace], None]


def told(parser: argparse.ArgumentParser, run: Run, words: Sequence[str] | None) -> int:
    """``run`` with the options that ``words`` give, and overrides as for ``frbench run``. Exit code 2: bad input."""
    parser.add_argument("overrides", nargs="*", help="as for frbench run, such as recognizer=tiny")
    try:
        run(parser.parse_intermixed_args(words))
    except FrbenchError as error:
        print(f"{parser.prog.removesuffix('.py')}: {error}", file=sys.stderr)
        return 2
    return 0


def written(result: Mapping[str, Any], table: str, out: Path) -> None:
    """``result`` as JSON in ``out``, its ``table`` and where the rest is on standard output."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{table}\n\n{out}")
