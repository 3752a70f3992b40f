"""The verbs. Nothing heavy is imported before a verb is known, so that help answers at once."""

from __future__ import annotations

import sys
from collections.abc import Callable

_HELP = """\
usage: frbench VERB [arguments]

This attack, with this goal and budget, through this view, against this recognizer behind this defense, on these faces.

  run     [overrides]           one cell, or a sweep with -m or experiment=NAME
  fit     [overrides]           train a recognizer (training=NAME), or fit a defense ahead of a sweep
  report  [overrides]           tables and figures from the recorded runs; format=json prints the records
  data    list|prepare|verify   what is there, download or convert, check digests
  serve   [overrides]           a recognizer, with or without a defense, as a local HTTP service
  cloak   FOLDER [overrides]    the faces in your own photos, cloaked in copies beside them
  options [GROUP]               the options of each group, such as attack or defense

Try it:  frbench run -m attack=fgsm,pgd goal=dodging,impersonation defense=none,jpeg
Then:    frbench report
"""

_CLOAK_HELP = """\
usage: frbench cloak FOLDER [overrides]

Every face in the photos of FOLDER, or in the one photo named, is cloaked, so that a tracker who learns from the copies
does not know the natural face. NAME.jpg becomes NAME_cloaked.jpg beside it; jpg, jpeg, png, webp and bmp stay what they
are. No file is overwritten: a photo that has its copy is left alone, so the same command goes on after a kill.

  out=OTHER_FOLDER       copies go there
  recursive=true         photos in the folders inside too
  quality=95             of JPEG and WebP copies
  suffix=_cloaked        what the name of a copy has more
  attack=fawkes          or lowkey_p, or one within a budget: attack=pgd budget=linf_8; attack.NAME=VALUE sets it
  recognizer=foamliu_mobilefacenet
                         what the cloak is made on: one whose gradients can be had, or an ensemble
  batch_size=16          faces at once; more for a GPU
  device=auto  seed=0

Copies hold no EXIF, which tells where a photo was taken and has a thumbnail of the natural face.
Exit code: 0 each photo has its copy, 1 some photo could not be done, 2 bad usage, 130 interrupted.
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
        "cloak": _cloak,
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
    from frbench.harness.allocation import keep_freed_memory
    from frbench.harness.errors import FrbenchError

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


def _cloak(words: list[str]) -> int:
    if any(word in ("-h", "--help") for word in words):
        print(_CLOAK_HELP, end="")
        return 0
    from frbench.harness.launch import cloak

    return cloak(words)


def _options(words: list[str]) -> int:
    from frbench.harness.launch import options

    return options(words)


if __name__ == "__main__":
    sys.exit(main())
