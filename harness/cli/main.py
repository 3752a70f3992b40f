"""The verbs. Nothing heavy is imported before a verb is known, so that help answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from frbench.harness.cli import help_texts


def main(argv: list[str] | None = None) -> int:
    """Entry point. Exit codes: 0 done, 1 a cell crashed or a check failed, 2 bad input or set-up.

    Where the reader of the output goes away, as ``head`` does, the verb ends quietly with 141, as other programs do.
    """
    try:
        code = _answer(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends
        return 128 + 13
    return code


def _answer(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(help_texts.MAIN, end="")
        return 0
    if words[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(version("frbench"))
        return 0
    if words[0] not in _VERBS:
        import difflib

        near = difflib.get_close_matches(words[0], _VERBS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"take one of {', '.join(_VERBS)}"
        return _fail(f"'{words[0]}' is not a verb of frbench; {hint}")
    verb, text = _VERBS[words[0]]
    if text is not None and {"-h", "--help"} & set(words):
        print(text, end="")
        return 0
    return _told(verb, words[1:])


def _told(verb: Callable[[list[str]], int], words: list[str]) -> int:
    """Run ``verb``; what the user can mend is told in one line."""
    from frbench.harness.core.errors import FrbenchError
    from frbench.harness.runtime.memory import keep_freed_memory

    keep_freed_memory()
    try:
        return verb(words)
    except FrbenchError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("interrupted; what is finished is kept, the same command goes on from there", 130)


def _fail(message: str, code: int = 2) -> int:
    print(f"frbench: {' '.join(message.split())}", file=sys.stderr)
    return code


def _run(words: list[str]) -> int:
    from frbench.harness.cli.commands import run

    return run(words)


def _fit(words: list[str]) -> int:
    from frbench.harness.cli.commands import fit

    return fit(words)


def _report(words: list[str]) -> int:
    from frbench.harness.cli.commands import report

    return report(words)


def _data(words: list[str]) -> int:
    from frbench.harness.cli.data import run

    return run(words)


def _serve(words: list[str]) -> int:
    from frbench.harness.cli.commands import serve

    return serve(words)


def _cloak(words: list[str]) -> int:
    from frbench.harness.cli.commands import cloak

    return cloak(words)


def _options(words: list[str]) -> int:
    from frbench.harness.cli.commands import options

    return options(words)


# Each verb with what it prints for --help; ``data`` has a parser that does so itself.
_VERBS: dict[str, tuple[Callable[[list[str]], int], str | None]] = {
    "run": (_run, help_texts.RUN),
    "fit": (_fit, help_texts.FIT),
    "report": (_report, help_texts.REPORT),
    "data": (_data, None),
    "serve": (_serve, help_texts.SERVE),
    "cloak": (_cloak, help_texts.CLOAK),
    "options": (_options, help_texts.OPTIONS),
}


if __name__ == "__main__":
    sys.exit(main())
