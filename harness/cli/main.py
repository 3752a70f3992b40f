"""Entry point of the command line. Heavy imports wait until the verb is known, so that help prints at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext

from frbench.harness.cli import help_texts


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit code: 0 done, 1 a cell crashed or a check failed, 2 wrong usage or set-up.

    Code 75: a signal stopped the work at a border; the same command continues it.
    A closed pipe, as after ``| head``, ends the command without a message and with code 141 (128 + SIGPIPE).
    """
    try:
        code = _dispatch(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python prints an error at exit
        return 128 + 13
    return code


def _dispatch(words: list[str]) -> int:
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
        hint = f"did you mean '{near[0]}'?" if near else f"verbs: {', '.join(_VERBS)}"
        return _fail(f"unknown verb '{words[0]}'; {hint}")
    verb, text = _VERBS[words[0]]
    if text is not None and {"-h", "--help"} & set(words):
        print(text, end="")
        return 0
    return _run_verb(words[0], verb, words[1:])


def _run_verb(name: str, verb: Callable[[list[str]], int], words: list[str]) -> int:
    """Run the verb ``name``; an error that a user can fix is printed in one line."""
    from frbench.harness.core.errors import FrbenchError
    from frbench.harness.runtime.interrupts import EXIT_CODE, Interrupted, handling_signals
    from frbench.harness.runtime.memory import keep_freed_memory
    from frbench.harness.runtime.threads import set_threads_of_slurm_task

    keep_freed_memory()
    if name in _LONG:
        set_threads_of_slurm_task()
    try:
        with handling_signals() if name in _LONG else nullcontext():
            return verb(words)
    except FrbenchError as error:
        return _fail(str(error))
    except Interrupted as stopped:
        return _fail(f"stopped ({stopped}); finished work is kept, run the same command to continue", EXIT_CODE)
    except KeyboardInterrupt:
        return _fail("interrupted; finished work is kept, run the same command to continue", 130)


def _fail(message: str, code: int = 2) -> int:
    print(f"frbench: {' '.join(message.split())}", file=sys.stderr)
    return code


def _run(words: list[str]) -> int:
    from frbench.harness.cli.sweeps import run

    return run(words)


def _plan(words: list[str]) -> int:
    from frbench.harness.cli.sweeps import plan

    return plan(words)


def _work(words: list[str]) -> int:
    from frbench.harness.cli.sweeps import work

    return work(words)


def _status(words: list[str]) -> int:
    from frbench.harness.cli.sweep_status import status

    return status(words)


def _cancel(words: list[str]) -> int:
    from frbench.harness.cli.sweep_status import cancel

    return cancel(words)


def _fit(words: list[str]) -> int:
    from frbench.harness.cli.commands import fit

    return fit(words)


def _craft(words: list[str]) -> int:
    from frbench.harness.cli.craft import craft

    return craft(words)


def _report(words: list[str]) -> int:
    from frbench.harness.cli.commands import report

    return report(words)


def _export(words: list[str]) -> int:
    from frbench.harness.cli.export import export

    return export(words)


def _diff(words: list[str]) -> int:
    from frbench.harness.cli.diff import diff

    return diff(words)


def _reproduce(words: list[str]) -> int:
    from frbench.harness.cli.reproduce import reproduce

    return reproduce(words)


def _compare(words: list[str]) -> int:
    from frbench.harness.cli.compare import compare

    return compare(words)


def _data(words: list[str]) -> int:
    from frbench.harness.cli.data import run

    return run(words)


def _gc(words: list[str]) -> int:
    from frbench.harness.cli.gc import gc

    return gc(words)


def _serve(words: list[str]) -> int:
    from frbench.harness.cli.commands import serve

    return serve(words)


def _cloak(words: list[str]) -> int:
    from frbench.harness.cli.commands import cloak

    return cloak(words)


def _options(words: list[str]) -> int:
    from frbench.harness.cli.commands import options

    return options(words)


# Each verb with its --help text; ``data`` has an argument parser, which prints its own.
_VERBS: dict[str, tuple[Callable[[list[str]], int], str | None]] = {
    "run": (_run, help_texts.RUN),
    "plan": (_plan, help_texts.PLAN),
    "status": (_status, help_texts.STATUS),
    "cancel": (_cancel, help_texts.CANCEL),
    "work": (_work, help_texts.WORK),
    "fit": (_fit, help_texts.FIT),
    "craft": (_craft, help_texts.CRAFT),
    "report": (_report, help_texts.REPORT),
    "reproduce": (_reproduce, help_texts.REPRODUCE),
    "export": (_export, help_texts.EXPORT),
    "diff": (_diff, help_texts.DIFF),
    "compare": (_compare, help_texts.COMPARE),
    "data": (_data, None),
    "serve": (_serve, help_texts.SERVE),
    "gc": (_gc, help_texts.GC),
    "cloak": (_cloak, help_texts.CLOAK),
    "options": (_options, help_texts.OPTIONS),
}

_LONG = ("run", "work", "fit", "craft", "reproduce", "cloak")  # verbs that stop at a border after a signal


if __name__ == "__main__":
    sys.exit(main())
