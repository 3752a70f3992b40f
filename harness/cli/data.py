"""``frbench data list|prepare|verify``: data sets, weights and the face detector."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from frbench.harness.core.errors import ConfigError

if TYPE_CHECKING:
    from frbench.harness.data_preparation.catalog import Source
    from frbench.harness.data_preparation.prepare import Place

SHOWN = 20
DETECTORS = ("yunet", "insightface")

_EXAMPLES = """\
examples:
  frbench data list                      one table of all data sets and weights
  frbench data prepare lfw               download LFW, or align your own copy of it
  frbench data verify lfw                list files that are missing or differ

Exit code: 0 everything is present and correct, 1 something is missing or wrong, 2 wrong usage or set-up.
"""
_LIST = "List each data set and weight file: its place, whether it is present, its size, and how to obtain it."
_PREPARE = (
    "Download data with a public source (resumable, checked by SHA-256), or align originals in the data folder to the "
    "five-point 112x112 template. For data that need an agreement, print where to ask for it."
)
_VERIFY = "Compare files with their SHA-256 digests and list those that are missing or differ."


def run(argv: Sequence[str]) -> int:
    """Exit code: 0 everything is present and correct, 1 something is missing or wrong, 2 wrong usage.

    Raises FrbenchError: an unknown name, or a folder that cannot be used.
    """
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        place = _place(arguments.data, arguments.mirror)
        return int(arguments.verb(_chosen(arguments.name), place, arguments))
    except BrokenPipeError:  # the reader of the output is gone; ``main`` ends quietly
        raise
    except OSError as error:
        raise ConfigError(f"{error}; check the folder, or give another with --data") from error


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data", type=Path, metavar="DIR", help="the data folder (default: FRBENCH_DATA, else data/)")
    parser = argparse.ArgumentParser(
        prog="frbench data",
        description="List, download, align and verify data sets, weights and the face detector.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="list|prepare|verify")
    listing = verbs.add_parser(
        "list", parents=[common], help="what is present and how to get the rest", description=_LIST
    )
    listing.set_defaults(verb=_list, name=[], mirror=None)
    prepare = verbs.add_parser("prepare", parents=[common], help="download, or align originals", description=_PREPARE)
    prepare.add_argument("name", nargs="+", help="names as in frbench data list, such as lfw")
    prepare.add_argument(
        "--mirror",
        metavar="URL",
        help="a web folder with the layout of the data folder, used instead of the origin (default: FRBENCH_MIRROR)",
    )
    prepare.add_argument("--detector", choices=DETECTORS, default="yunet", help="face detector for unaligned originals")
    prepare.set_defaults(verb=_prepare)
    verify = verbs.add_parser("verify", parents=[common], help="check files against their digests", description=_VERIFY)
    verify.add_argument("name", nargs="*", help="names to check; default: everything present")
    verify.set_defaults(verb=_verify, mirror=None)
    return parser


def _place(data: Path | None, mirror: str | None) -> Place:
    from importlib.resources import files

    from omegaconf import OmegaConf

    from frbench.harness.data_preparation.prepare import Place

    paths = OmegaConf.create(files("frbench.conf").joinpath("paths", "default.yaml").read_text("utf-8"))
    return Place(data or Path(paths.data).expanduser(), Path(paths.cache).expanduser(), mirror)


def _chosen(names: Sequence[str]) -> list[Source]:
    """The sources of these options, each once; all sources if ``names`` is empty."""
    from frbench.harness.data_preparation.catalog import by_option, load_sources

    sources = load_sources()
    by_name = by_option(sources)
    for name in names:
        if name not in by_name:
            near = difflib.get_close_matches(name, by_name, 3) or sorted(by_name)
            raise ConfigError(f"unknown data {name!r}; did you mean {', '.join(near)}? frbench data list shows all")
    return list({source.name: source for source in (by_name[name] for name in names or sources)}.values())


def _list(sources: Sequence[Source], place: Place, arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.filesize import decimal
    from rich.markup import escape
    from rich.table import Table

    from frbench.harness.data_preparation.catalog import state

    table = Table(title=f"data folder: {place.data}", title_justify="left", expand=True)
    for column, ratio in (("option", 5), ("what", 5), ("where", 5), ("state", 4), ("size", 2), ("how to get it", 10)):
        table.add_column(column, overflow="fold", ratio=ratio)
    colours = {"present": "green", "incomplete": "yellow", "missing": "red"}
    for source in sources:
        summary, counts = state(source, place.data, place.cache)
        shown = f"[{colours[summary]}]{summary}[/]" + (f"\n{counts}" if counts and summary != "missing" else "")
        how = "" if summary == "present" else escape(f"{source.how} ({source.terms})")
        size = decimal(source.bytes) if source.bytes else ""
        table.add_row("\n".join(source.options), source.what, _where(source, place), shown, size, how)
    console = Console()
    console.width = console.width if console.is_terminal else max(console.width, 160)
    console.print(table)
    return 0


def _where(source: Source, place: Place) -> str:
    if source.tree:
        return f"{source.tree.folder}/"
    places = [file.place(place.data, place.cache) for file in source.files]
    return "\n".join(str(path.relative_to(place.data) if path.is_relative_to(place.data) else path) for path in places)


def _prepare(sources: Sequence[Source], place: Place, arguments: argparse.Namespace) -> int:
    from frbench.harness.data_preparation.prepare import prepare

    outcomes = []
    for source in sources:
        outcomes.append(prepare(source, place, arguments.detector))
        print(*outcomes[-1].lines, sep="\n")
    return 0 if all(outcome.ready for outcome in outcomes) else 1


def _verify(sources: Sequence[Source], place: Place, arguments: argparse.Namespace) -> int:
    from frbench.harness.data_preparation.catalog import state
    from frbench.harness.data_preparation.checksums import verify
    from frbench.harness.runtime.progress import count_bar

    if not arguments.name:
        sources = [s for s in sources if (s.files or s.tree) and state(s, place.data, place.cache)[0] != "missing"]
    sound = True
    for source in sources:
        with count_bar(f"checking {source.name}", "files") if source.tree else nullcontext() as progress:
            found = verify(source, place.data, place.cache, progress or (lambda done, total: None))
        sound = sound and found.sound
        print(f"{source.name}: {'right' if found.sound else 'wrong'}", *found.notes, sep="; ")
        _print_names("missing", found.missing)
        _print_names("wrong", found.wrong)
        if not found.sound:
            print(f"  to repair: frbench data prepare {source.options[0]}")
    return 0 if sound else 1


def _print_names(kind: str, names: Sequence[str]) -> None:
    for name in names[:SHOWN]:
        print(f"  {kind}: {name}")
    if len(names) > SHOWN:
        print(f"  {kind}: {len(names) - SHOWN:,} more")
