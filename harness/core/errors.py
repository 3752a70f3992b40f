"""Errors that are the user's to mend, told in one line: what came, what was expected, what to do next."""

import sys
import textwrap
from functools import cache


class FrbenchError(Exception):
    """Bad input or set-up. The command line prints it as one line and ends with exit code 2."""


class Refused(Exception):
    """A cell that cannot exist, such as a gradient attack on a black box: recorded with its reason."""


def shortened(text: object, width: int = 160) -> str:
    """``text``, or what an exception says, on one line; cut between words, with an ellipsis, where it is longer."""
    line = " ".join(str(text).split()) or type(text).__name__
    cut = textwrap.shorten(line, width, placeholder=" …")
    return cut if cut != "…" else f"{line[: width - 1]}…"  # one long word


@cache
def warn_once(text: str) -> None:
    """Print a warning to stderr, each text once in a process."""
    print(f"frbench: {' '.join(text.split())}", file=sys.stderr)
