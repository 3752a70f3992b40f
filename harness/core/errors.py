"""Errors that a user can fix, and one-line warnings."""

import sys
import textwrap
from functools import cache


class FrbenchError(Exception):
    """An error that a user can fix: what came, what was expected, what to do next, in one line.

    The command line prints it without a traceback and exits with code 2. The subclasses say what is wrong; this class
    itself is for the rest: an optional package that is not installed, a service that fails, a part that breaks the
    contract of its noun.
    """


class ConfigError(FrbenchError):
    """An option or a setting that does not exist, has a wrong value, or does not go together with the others."""


class DataMissing(FrbenchError):
    """A data set, a weight file, a photo or a recorded result that is not where it was looked for."""


class CorruptFile(FrbenchError):
    """A file that is damaged or does not have the expected content: unreadable, malformed, or with another digest."""


class DiskFull(FrbenchError):
    """A file that cannot be written because the disk or a quota is full. It ends a whole sweep, not a single cell."""


class Refused(FrbenchError):
    """A combination that cannot exist, such as a gradient attack on a black box.

    A cell records it with this reason and the sweep continues; elsewhere it ends the command like any other error.
    """


def shortened(text: object, width: int = 160) -> str:
    """``text``, or the message of an exception, on one line of at most ``width`` characters, cut between words."""
    line = " ".join(str(text).split()) or type(text).__name__
    cut = textwrap.shorten(line, width, placeholder=" …")
    return cut if cut != "…" else f"{line[: width - 1]}…"  # one long word


@cache
def warn_once(text: str) -> None:
    """Print a warning to stderr, each text once in a process."""
    print(f"frbench: {' '.join(text.split())}", file=sys.stderr)
