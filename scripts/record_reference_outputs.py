"""Records the reference outputs of the options of conf/: all of them, or those named as GROUP or GROUP=OPTION.

An entry whose numbers changed while no version was raised is refused: raise the version of the class that changed, or
give --force where the input of the test itself is another.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import reference_cases, reference_outputs


def main(words: list[str] | None = None) -> int:
    """Records what is named; the exit code is 1 where an entry was refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("options", nargs="*", metavar="GROUP=OPTION")
    parser.add_argument("--force", action="store_true", help="overwrite numbers that changed without a new version")
    given = parser.parse_args(words)
    known = reference_cases.options()
    names = {name for each in known for name in (each[0], "=".join(each))}
    if unknown := set(given.options) - names:
        parser.error(f"{', '.join(sorted(unknown))}: expected GROUP or GROUP=OPTION, such as attack=pgd")
    wanted = [each for each in known if not given.options or {each[0], "=".join(each)} & set(given.options)]
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        refused = [text for each in wanted if (text := record(*each, Path(folder), given.force))]
    print("\n".join([*refused, f"{len(wanted) - len(refused)} of {len(wanted)} options recorded"]))
    return 1 if refused else 0


def record(group: str, option: str, folder: Path, force: bool) -> str | None:
    """Records one option and drops entries of options that are gone; why it was refused, or None."""
    known = {name for where, name in reference_cases.options() if where == group}
    before = reference_outputs.read(group)
    entries = {name: entry for name, entry in before.items() if name in known}
    found, made_of = reference_cases.measured(group, option, folder)
    limit = reference_cases.TOLERANCES[group]
    problem = reference_outputs.check(f"{group}={option}", entries.get(option), found, made_of, limit)
    if problem and problem.unversioned and not force:
        return problem.text
    if problem or force or entries != before:
        reference_outputs.write(group, {**entries, option: found} if problem or force else entries)
    return None


if __name__ == "__main__":
    sys.exit(main())
