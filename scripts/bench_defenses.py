"""What PIN and AIS cost beside the originals' way, and purification beside an IResNet-50.

    python scripts/bench_defenses.py [--rounds 2] [--batch 32] [--races pin_masks,ais_masks] [recognizer=... overrides]

Entrants of a race take turns in one process, in an order drawn anew each round; ratios are medians of the ratios within
a round. Peak memory is that of a process of its own for each. Weights, faces and basis are made up, of the published
sizes. Wants an idle machine, 8 GiB and half an hour.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench import machine, measure, ratio
from bench_memory import apart, grown
from defense_races import RACES, Race
from telling import told, written

from frbench.harness.core.errors import ConfigError, FrbenchError

MEMORY = 1 / 20  # of what the originals' way takes, at most
TOLERANCE = 1e-4  # relative difference of the costs of a mask


def run_race(race: Race, rounds: int) -> dict[str, Any]:
    """Seconds (rounds, entrants) after one round that only warms up; raises FrbenchError: the costs differ."""
    print(race.title, file=sys.stderr)
    seconds = measure(race.entrants, ["batch"], rounds)
    difference = _difference(race)
    rows = []
    for place, entrant in enumerate(race.entrants):
        low, middle, high = np.quantile(seconds[:, place], [0.25, 0.5, 0.75])
        facts = {"entrant": entrant.name, "seconds": middle, "quartiles": [low, high]}
        rows.append(facts | {"times": ratio(seconds, place, 0), "least": entrant.least, "most": entrant.most})
    return {"title": race.title, "rows": rows, "difference": difference, "all_seconds": seconds.tolist()}


def _difference(race: Race) -> float | None:
    """Largest relative difference of a mask's cost between the two ways."""
    if race.costs is None:
        return None
    ours, theirs = race.costs.values()
    found = float(((ours - theirs).abs() / theirs.abs()).max())
    if not found <= TOLERANCE:
        raise FrbenchError(f"{race.title}: costs are {found:.1e} apart, expected at most {TOLERANCE:g}")
    return found


def weigh(race: Mapping[str, Any], name: str, words: Sequence[str]) -> None:
    """Add ``peak_mib`` to the rows."""
    for place, row in enumerate(race["rows"]):
        row["peak_mib"] = apart(str(Path(__file__)), ["--peak", f"{name}:{place}", *words])


def bars(race: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every promise of a race, with its figure."""
    found = []
    for row in race["rows"]:
        for kind, sign in (("least", 1), ("most", -1)):
            if row[kind] is not None:
                met = sign * row["times"] >= sign * row[kind]
                words = f"{race['title']}: {row['entrant']}, times the first's time, at {kind} {row[kind]:g}"
                found.append({"bar": words, "figure": row["times"], "met": met})
        if row["least"] is not None and "peak_mib" in row:
            share = race["rows"][0]["peak_mib"] / row["peak_mib"]
            words = f"{race['title']}: our memory over that of {row['entrant']}, at most {MEMORY:g}"
            found.append({"bar": words, "figure": share, "met": share <= MEMORY})
    return found


def markdown(result: Mapping[str, Any]) -> str:
    """A table for each race, with what it was measured on above and the bars below."""
    about = result["setup"] | result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [f"{about['rounds']} interleaved rounds, {about['threads']} threads, {about['cpu']}; {versions}."]
    for race in result["races"]:
        lines += ["", race["title"], "", _line(["entrant", "seconds (quartiles)", "times the first", "peak MiB"])]
        lines.append(_line(["---", *["---:"] * 3]))
        for row in race["rows"]:
            low, high = row["quartiles"]
            figures = [f"{row['seconds']:.4f} ({low:.4f}-{high:.4f})", f"{row['times']:.3f}"]
            lines.append(_line([row["entrant"], *figures, f"{row['peak_mib']:.0f}" if "peak_mib" in row else ""]))
        if race["difference"] is not None:
            lines += ["", f"Costs of a mask: {race['difference']:.1e} apart at most, relatively."]
    lines.append("")
    for bar in result["bars"]:
        lines.append(f"- {bar['bar']}: {bar['figure']:.3f} ({'met' if bar['met'] else 'MISSED'})")
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def run(options: argparse.Namespace) -> None:
    if options.peak:
        name, place = options.peak.split(":")
        print(grown(RACES[name](options).entrants[int(place)].work))
        return
    found = []
    for name in options.races.split(","):
        if name not in RACES:
            raise ConfigError(f"--races={name}: there is no such race; take some of {','.join(RACES)}")
        race = RACES[name](options)
        found.append(run_race(race, options.rounds))
        if race.weighed:
            weigh(found[-1], name, [*(["--small"] if options.small else []), *options.overrides])
    setup = {"rounds": options.rounds, "batch": options.batch, "small": options.small}
    kept = [bar for race in found for bar in bars(race)]
    result = {"setup": setup, "machine": machine(), "races": found, "bars": kept}
    written(result, markdown(result), options.out)


def main(words: Sequence[str] | None = None) -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32, help="images that are purified at once")
    parser.add_argument("--out", type=Path, default=Path("results/bench_defenses.json"))
    parser.add_argument("--races", default=",".join(RACES), help="which of them to run")
    parser.add_argument("--small", action="store_true", help="every size shrunk, to see that all works")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    return told(parser, run, words)


if __name__ == "__main__":
    sys.exit(main())
