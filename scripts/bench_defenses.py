"""Speed and memory of PIN and AIS against the original implementations, and of purification against an IResNet-50.

    python scripts/bench_defenses.py [--rounds 2] [--batch 32] [--races pin_masks,ais_masks] [recognizer=... overrides]

Entrants of a race take turns in one process in random order; ratios are medians of the ratios within a round. Peak
memory is measured in a separate process each. Weights, faces and basis are random, of the published sizes. It takes an
idle machine, 8 GiB and half an hour.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _common import run_script, table_row, write_result
from bench import machine, measure, ratio
from bench_memory import in_subprocess, peak_growth
from defense_races import RACES, Race

from frbench.harness.core.errors import ConfigError, FrbenchError

MEMORY = 1 / 20  # limit, as a fraction of the original's
TOLERANCE = 1e-4  # of the relative difference of mask costs


def run_race(race: Race, rounds: int) -> dict[str, Any]:
    """Time the entrants after a warm-up round; raises FrbenchError if their mask costs differ."""
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
    """Largest relative difference of mask costs between the two implementations."""
    if race.costs is None:
        return None
    ours, theirs = race.costs.values()
    found = float(((ours - theirs).abs() / theirs.abs()).max())
    if not found <= TOLERANCE:
        raise FrbenchError(f"{race.title}: mask costs differ by {found:.1e}, expected at most {TOLERANCE:g}")
    return found


def weigh(race: Mapping[str, Any], name: str, words: Sequence[str]) -> None:
    """Measure the peak memory of each entrant and add it to the rows."""
    for place, row in enumerate(race["rows"]):
        row["peak_mib"] = in_subprocess(str(Path(__file__)), ["--peak", f"{name}:{place}", *words])


def bars(race: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The limits of a race with the measured values."""
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
    """A table for each race, with the setup above and the limits below."""
    about = result["setup"] | result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [f"{about['rounds']} interleaved rounds, {about['threads']} threads, {about['cpu']}; {versions}."]
    for race in result["races"]:
        lines += ["", race["title"], "", table_row(["entrant", "seconds (quartiles)", "times the first", "peak MiB"])]
        lines.append(table_row(["---", *["---:"] * 3]))
        for row in race["rows"]:
            low, high = row["quartiles"]
            figures = [f"{row['seconds']:.4f} ({low:.4f}-{high:.4f})", f"{row['times']:.3f}"]
            lines.append(table_row([row["entrant"], *figures, f"{row['peak_mib']:.0f}" if "peak_mib" in row else ""]))
        if race["difference"] is not None:
            lines += ["", f"Largest relative difference of mask costs: {race['difference']:.1e}."]
    lines.append("")
    for bar in result["bars"]:
        lines.append(f"- {bar['bar']}: {bar['figure']:.3f} ({'met' if bar['met'] else 'MISSED'})")
    return "\n".join(lines)


def run(options: argparse.Namespace) -> None:
    if options.peak:
        name, place = options.peak.split(":")
        print(peak_growth(RACES[name](options).entrants[int(place)].work))
        return
    found = []
    for name in options.races.split(","):
        if name not in RACES:
            raise ConfigError(f"--races={name}: unknown race; use some of {','.join(RACES)}")
        race = RACES[name](options)
        found.append(run_race(race, options.rounds))
        if race.weighed:
            weigh(found[-1], name, [*(["--small"] if options.small else []), *options.overrides])
    setup = {"rounds": options.rounds, "batch": options.batch, "small": options.small}
    kept = [bar for race in found for bar in bars(race)]
    result = {"setup": setup, "machine": machine(), "races": found, "bars": kept}
    write_result(result, markdown(result), options.out)


def main(words: Sequence[str] | None = None) -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32, help="images purified in one batch")
    parser.add_argument("--out", type=Path, default=Path("results/bench_defenses.json"))
    parser.add_argument("--races", default=",".join(RACES), help="which of them to run")
    parser.add_argument("--small", action="store_true", help="small sizes, as a smoke test")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    return run_script(parser, run, words)


if __name__ == "__main__":
    sys.exit(main())
