"""All figures: reproducible bytes, no overlap, everything on the page, and a legend that fits."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from subprocess import run

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from support.plot_frames import (
    FIGURES,
    LEVELS,
    corners,
    drawn,
    drawn_legend,
    heat,
    known,
    points,
    priced,
    queries,
    rates,
    rows,
    scores,
)

from frbench.harness.reporting.figures import image_grids, plots, plots_headline, style
from frbench.harness.reporting.figures.plots_scores import score_histograms


@pytest.mark.parametrize("kind", FIGURES)
def test_that_figures_are_reproducible_to_the_byte(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "_DPI", 50)
    first = style.save(FIGURES[kind](), tmp_path / "one.v1", "png", "pdf")
    second = style.save(FIGURES[kind](), tmp_path / "two.v1", "png", "pdf")
    assert [path.name for path in first] == ["one.v1.png", "one.v1.pdf"]
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()
        assert b"atplotlib" not in a.read_bytes()
        assert b"CreationDate" not in a.read_bytes()


@pytest.mark.parametrize("kind", FIGURES)
def test_no_texts_overlap(kind: str) -> None:
    figure = drawn(kind)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    outside = {
        tick.label1
        for panel in figure.axes
        for axis in (panel.xaxis, panel.yaxis)
        for tick in axis.get_major_ticks()
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }
    texts = set(figure.findobj(mpl.text.Text)) - outside
    shown = [text for text in texts if text.get_text().strip() and text.get_visible()]
    boxes = [(t.get_text(), t.get_window_extent(renderer).padded(-1)) for t in shown]
    clashes = [(a, b) for (a, x), (b, y) in itertools.combinations(boxes, 2) if x.overlaps(y)]
    assert not [pair for pair in clashes if pair[0] != pair[1]]


@pytest.mark.parametrize("kind", FIGURES)
def test_everything_stays_on_the_page_however_narrow(kind: str) -> None:
    dodging, long = "goal == 'dodging'", "Title " * 30
    one = {
        "ladder": lambda: plots_headline.knowledge_ladder(known().query(dodging), LEVELS, long),
        "accuracy": lambda: plots_headline.against_robustness(priced().query(dodging), "clean accuracy, %", long),
        "cost": lambda: plots_headline.against_robustness(priced().query(dodging), "ms per image", long, "log"),
        "rates": lambda: plots_headline.roc_and_det(rates(), long),
        "security": lambda: plots.share_curves(corners().query("goal == 'dodging'"), "attack", "Title " * 30),
        "queries": lambda: plots.share_curves(queries().query("goal == 'dodging'"), "attack", "Title " * 30, "log"),
        "curves": lambda: plots.asr_curves(points().query("goal == 'dodging'"), "defense", "radius", "Title " * 30),
        "heat": lambda: plots.heat_map(heat().query("goal == 'dodging' and attack == 'a8'"), "Title " * 30),
        "scores": lambda: score_histograms(scores().query("goal == 'dodging'"), "Title " * 30),
        "pictures": lambda: image_grids.pair_grid(rows(count=1), "Title " * 30),
    }
    figure = one[kind]()
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    page, used = figure.bbox, figure.get_tightbbox(renderer).padded(-0.02)
    assert used.x0 * figure.dpi >= page.x0
    assert used.y0 * figure.dpi >= page.y0
    assert used.x1 * figure.dpi <= page.x1
    assert used.y1 * figure.dpi <= page.y1


def test_users_matplotlib_settings_are_neither_used_nor_changed() -> None:
    with mpl.rc_context({"font.size": 31.0, "axes.grid": False}):
        figure = FIGURES["curves"]()
        assert mpl.rcParams["font.size"] == 31.0
    assert figure.axes[0].title.get_fontsize() == 9


def test_drawing_never_imports_pyplot(tmp_path: Path) -> None:
    code = (
        "import sys; import frbench.harness.reporting.report; assert 'matplotlib' not in sys.modules\n"
        "import numpy as np; from pathlib import Path\n"
        "from frbench.harness.reporting.figures import image_grids, style\n"
        "row = image_grids.PairRow('x', *3 * [np.zeros((8, 8, 3))], 0.1, 0.2, 0.3, True)\n"
        "style.save(image_grids.pair_grid([row], 't'), Path(sys.argv[1]), 'png')\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = run([sys.executable, "-c", code, str(tmp_path / "x")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("count", "free"), [(1, 0), (2, 0), (3, 0), (4, 0), (5, 1), (6, 0), (7, 1)])
def test_that_an_incomplete_table_of_panels_leaves_at_most_one_place_for_the_legend(count: int, free: int) -> None:
    keys = list(itertools.product("abcd", "xy"))[:count]
    _, places, empty = style.panel_table(keys, (3.3, 2.5), "Title")
    assert (len(places), len(empty)) == (count, free)
    assert sum(place.bottom for place in places) == len({place.panel.get_position().x0 for place in places})


def test_that_a_legend_has_as_many_columns_as_fit_and_rows_of_equal_length() -> None:
    names = ["none", *(f"defense{k}" for k in range(9)), "one_with_a_very_long_name_for_a_legend(components=800)"]
    frame = pd.concat([points()[lambda rows: rows["defense"] == "none"].assign(defense=name) for name in names])
    figure = plots.asr_curves(frame, "defense", "radius", "Title")
    _, _, inside = drawn_legend(figure)
    assert inside
    tops = [text.get_window_extent().y1 for text in figure.legends[0].get_texts()]
    rows = [tops.count(top) for top in sorted(set(tops), reverse=True)]
    assert len(rows) == 6 < len(names) and max(rows) - min(rows) <= 1


def test_that_common_options_are_in_the_legend_title_and_long_names_are_not_cut_off() -> None:
    names = ["none"] + [
        f"{name}(faces=synthetic, faces.people=200, faces.photos_per_person=20, {own}recipe.network=tiny)"
        for name in ("adp", "diverse_ensemble")
        for own in ("", "fusion=concat, ", "recipe.terms.diversity.weight=0.25, recipe.schedule.epochs=40, ")
    ]
    frame = pd.concat([points()[lambda rows: rows["defense"] == "none"].assign(defense=name) for name in names])
    labels, title, inside = drawn_legend(plots.asr_curves(frame, "defense", "radius", "Title"))
    assert inside
    assert labels[:3] == ["no defense", "adp", "adp (fusion concat)"] and len(labels) == 7
    assert title.replace("\n", " ") == (
        "Settings of all: faces synthetic, faces people 200, faces photos per person 20, recipe network tiny"
    )


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["pgd(steps=40)", "pgd"], ["pgd (steps 40)", "pgd"]),
        (["none", "pca(keep=9)"], ["no defense", "pca (keep 9)"]),
        (["pca(keep=9)", "pca(keep=[1, 2])"], ["pca (keep 9)", "pca (keep [1, 2])"]),
        (["a", "b"], ["a", "b"]),
    ],
)
def test_that_options_of_only_some_lines_stay_in_their_labels(names: list[str], shown: list[str]) -> None:
    frame = pd.concat([points()[lambda rows: rows["defense"] == "none"].assign(defense=name) for name in names])
    labels, title, inside = drawn_legend(plots.asr_curves(frame, "defense", "radius", "Title"))
    assert (labels, title, inside) == (shown, "", True)
