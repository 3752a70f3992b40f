"""The verbs. Nothing heavy is imported before a verb is known, so that help answers at once."""

from __future__ import annotations

import sys
from collections.abc import Callable

_HELP = """\
usage: frbench VERB [arguments]

This attack, with this goal and budget, through this view, against this recognizer behind this defense, on these faces.

  run     [overrides]           one cell, or a sweep with -m or experiment=NAME
  fit     [overrides]           fit a defense ahead of a sweep
  report  [overrides]           tables and figures from the recorded runs; format=json prints the records
  data    list|prepare|verify   what is there, download or convert, check digests
  serve   [overrides]           a recognizer, with or without a defense, as a local HTTP service
  options [GROUP]               the options of each group, such as attack or defense

Try it:  frbench run -m attack=fgsm,pgd goal=dodging,impersonation defense=none,jpeg
Then:    frbench report
"""


def main(argv: list[str] | None = None) -> int:
    """Entry point. Exit codes: 0 done, 1 a cell crashed or a check failed, 2 bad input or set-up."""
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] in ("-h", "--help", "help"):
        print(_HELP, end="")
        return 0
    if words[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(version("frbench"))
        return 0
    verbs: dict[str, Callable[[list[str]], int]] = {
        "run": _run,
        "fit": _fit,
        "report": _report,
        "data": _data,
        "serve": _serve,
        "options": _options,
    }
    verb = verbs.get(words[0])
    if verb is None:
        import difflib

        near = difflib.get_close_matches(words[0], verbs, n=1)
        hint = f"did you mean {near[0]}?" if near else f"take one of {', '.join(verbs)}"
        return _fail(f"'{words[0]}' is not a verb of frbench; {hint}")
    return _told(verb, words[1:])


def _told(verb: Callable[[list[str]], int], words: list[str]) -> int:
    """Run ``verb``; what the user can mend is told in one line."""
    from frbench.harness.errors import FrbenchError

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
    from frbench.harness.launch import run

    return run(words)


def _fit(words: list[str]) -> int:
    from frbench.harness.launch import fit

    return fit(words)


def _report(words: list[str]) -> int:
    from frbench.harness.launch import report

    return report(words)


def _data(words: list[str]) -> int:
    from frbench.harness.data_cli import run

    return run(words)


def _serve(words: list[str]) -> int:
    from frbench.harness.launch import serve

    return serve(words)


def _options(words: list[str]) -> int:
    from frbench.harness.launch import options

    return options(words)


if __name__ == "__main__":
    sys.exit(main())
