"""What scripts share: what the user can mend is told in one line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from frbench.harness.errors import FrbenchError

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
