"""The figure of the study pin_ais_adaptive: success of PGD against its budget, oblivious and adaptive.

frbench run experiment=purifiers_oblivious goal=dodging attack=pgd '~protocol.postprocessing'
frbench run experiment=purifiers_adaptive goal=dodging threat.surrogate_gradient=mean_mask '~protocol.postprocessing'
python scripts/figure_purifiers.py [--out FILE_WITHOUT_ENDING] [overrides as for frbench run]
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from _common import compose_config, run_script

from frbench.harness.config import folders
from frbench.harness.core.errors import DataMissing
from frbench.harness.reporting.figures.plots import asr_curves
from frbench.harness.reporting.figures.style import save

OUT = Path("results/reference/pin_ais_adaptive/figures/purifiers")
DEFENSES = ("none", "gray", "pca_pin", "pin", "ais")
ON = ("lfw", "foamliu_mobilefacenet")
STEPS = {"oblivious": None, "adaptive": 40}  # of PGD, where they differ from the option's


def points(records: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """A point for each finished cell of the figure."""
    for record in records:
        names, settings = record["names"], record["settings"]
        if record["status"] != "done" or (names["attack"], names["goal"]) != ("pgd", "dodging"):
            continue
        threat, relaxation = names["threat"], settings.get("threat.surrogate_gradient")
        usual = names["budget"].startswith("linf") and names["defense"] in DEFENSES
        usual = usual and (names["dataset"], names["recognizer"]) == ON
        if not usual or settings.get("attack.steps") != STEPS.get(threat, -1) or relaxation not in (None, "mean_mask"):
            continue
        found = {key: record["measurements"]["attack"][key] for key in ("asr", "asr_low", "asr_high")}
        radius = float(names["budget"].removeprefix("linf_").replace("p", "."))
        fixed = {"goal": "dodging", "threat": threat, "defense": names["defense"], "radius": radius}
        yield {**fixed, "pairs": settings.get("dataset.limit", math.inf), **found}


def run(options: argparse.Namespace) -> None:
    store = folders.store(compose_config(options.overrides))
    frame = pd.DataFrame(points(store.records()))
    if frame.empty:
        raise DataMissing(f"{store.root} holds no cells of the figure; run the experiments at the top of this file")
    frame = frame[frame["pairs"] == frame.groupby("threat")["pairs"].transform("max")]  # equal in a panel
    frame = frame.sort_values(
        ["threat", "defense"], key=lambda column: column.map([*STEPS, *DEFENSES].index), kind="stable"
    )
    wide = frame.assign(goal=frame["threat"], threat="")  # side by side
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figure = asr_curves(
        wide, "defense", "L∞ radius, gray levels of 255", "PIN and AIS against two attackers: PGD, dodging on LFW"
    )
    print(*save(figure, options.out, "png"))


def main(words: Sequence[str] | None = None) -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    return run_script(parser, run, words)


if __name__ == "__main__":
    sys.exit(main())
