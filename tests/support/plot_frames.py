"""Frames that figures are drawn from, and the figures drawn from them."""

from __future__ import annotations

import itertools
from functools import cache

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from frbench.harness.reporting.figures import image_grids, plots, plots_headline
from frbench.harness.reporting.figures.plots_scores import score_histograms


def points() -> pd.DataFrame:
    rows = [
        {"threat": threat, "goal": goal, "defense": defense, "radius": radius, "asr": (asr := radius / 10 / (1 + i))}
        | {"asr_low": asr - 0.05, "asr_high": asr + 0.05}
        for threat, goal, (i, defense), radius in itertools.product(
            ("oblivious", "adaptive"), ("dodging", "impersonation"), enumerate(("none", "jpeg", "pca")), (8.0, 1.0, 2.0)
        )
    ]
    return pd.DataFrame(rows)


def scores() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frames = [
        pd.DataFrame(
            {
                "defense": defense,
                "goal": goal,
                "same": same,
                "clean_score": np.where(same, 0.6, 0.0) + rng.normal(0, 0.1, 200),
                "adversarial_score": np.where(same, 0.2, 0.5) + rng.normal(0, 0.1, 200),
                "threshold": 0.3,
            }
        )
        for defense, (goal, same) in itertools.product(
            ("none", "jpeg"), (("dodging", np.full(200, True)), ("impersonation", np.full(200, False)))
        )
    ]
    return pd.concat(frames)


def rows(change: float = 8 / 255, count: int = 2) -> list[image_grids.PairRow]:
    clean = np.random.default_rng(0).random((112, 112, 3)).astype(np.float32) * 0.8 + 0.1
    row = image_grids.PairRow(
        "pgd linf_8\npair 7", clean, clean + np.float32(change), clean[::-1], 0.61, 0.12, 0.3, True
    )
    return [row] * count


def heat() -> pd.DataFrame:
    frame = points().rename(columns={"radius": "attack"}).assign(text="9/10")
    frame["attack"] = "a" + frame["attack"].astype(int).astype(str)
    frame.loc[0, ["asr", "text"]] = [np.nan, "refused"]
    return frame.drop(index=1)


def corners() -> pd.DataFrame:
    rows = [
        {"cost": cost, "goal": goal, "line": attack, "x": x, "share": min(1.0, x / (4 + 2 * i))}
        for cost, goal, (i, attack), x in itertools.product(
            ("L∞, gray levels of 255", "RMS, gray levels of 255"),
            ("dodging", "impersonation"),
            enumerate(("cw", "deepfool", "minimal(attack=pgd)")),
            np.linspace(0, 8, 33),
        )
    ]
    frame = pd.DataFrame(rows)
    return frame.assign(low=0.9 * frame["share"], high=0.1 + 0.9 * frame["share"])


def queries() -> pd.DataFrame:
    frame = corners().query("cost == 'RMS, gray levels of 255'").assign(cost="queries per pair")
    return frame.assign(x=np.rint(1000 ** (frame["x"] / 8)))


LEVELS = ("noise", "transfer", "oblivious", "query", "adaptive")


def known() -> pd.DataFrame:
    rows = [
        {"goal": goal, "defense": defense, "level": level, "asr": min(1.0, 0.2 * k + 0.1 * i)}
        for goal, (i, defense), (k, level) in itertools.product(
            ("dodging", "impersonation"),
            enumerate(("none", "jpeg(quality=50)", "pin(components=800, faces=synthetic)", "tiny_diverse")),
            enumerate(LEVELS),
        )
        if (defense, level) != ("tiny_diverse", "query")
    ]
    frame = pd.DataFrame(rows)
    return frame.assign(asr_low=0.9 * frame["asr"], asr_high=0.1 + 0.9 * frame["asr"])


def priced() -> pd.DataFrame:
    frame = known().query("level == 'adaptive'")
    x = np.linspace(96, 99.9, len(frame))
    return frame.assign(x=x, x_low=x - 0.7, x_high=x + 0.05)


def rates() -> pd.DataFrame:
    far = np.linspace(0, 1, 41)
    frames = [
        pd.DataFrame({"far": far, "tar": far ** (0.02 if not attacked else 0.4 + 0.3 * i)}).assign(
            attacked=attacked, defense=defense, smallest=1 / 40
        )
        for attacked, (i, defense) in itertools.product((False, True), enumerate(("none", "jpeg", "pca")))
    ]
    return pd.concat(frames)


FIGURES = {
    "ladder": lambda: plots_headline.knowledge_ladder(known(), LEVELS, "Title"),
    "accuracy": lambda: plots_headline.against_robustness(priced(), "clean accuracy, %", "Title"),
    "cost": lambda: plots_headline.against_robustness(priced(), "ms per image", "Title", "log"),
    "rates": lambda: plots_headline.roc_and_det(rates(), "Title"),
    "security": lambda: plots.share_curves(corners(), "attack", "Title"),
    "queries": lambda: plots.share_curves(queries(), "attack", "Title", "log"),
    "curves": lambda: plots.asr_curves(points(), "defense", "radius", "Title"),
    "heat": lambda: plots.heat_map(heat(), "Title"),
    "scores": lambda: score_histograms(scores(), "Title"),
    "pictures": lambda: image_grids.pair_grid(rows(), "Title"),
}


@cache
def drawn(kind: str) -> Figure:
    """A figure that no test changes."""
    return FIGURES[kind]()


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text()]


def drawn_legend(figure: Figure) -> tuple[list[str], str, bool]:
    """The legend's labels and title, and whether all of it stands inside the figure."""
    drawing = FigureCanvasAgg(figure)
    drawing.draw()
    (found,) = figure.legends
    extent, whole = found.get_window_extent(drawing.get_renderer()), figure.bbox
    inside = extent.x0 >= whole.x0 and extent.x1 <= whole.x1 and extent.y0 >= whole.y0
    return [text.get_text() for text in found.get_texts()], found.get_title().get_text(), inside
