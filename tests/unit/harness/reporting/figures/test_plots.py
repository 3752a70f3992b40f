"""Figures: what they draw of their data, and that the same data give the same bytes."""

from __future__ import annotations

import itertools
import sys
import warnings
from functools import cache
from pathlib import Path
from subprocess import run

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from frbench.harness.reporting.figures import image_grids, plots, plots_headline, style
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


def test_curves_show_each_line_in_percent_with_rising_radii() -> None:
    figure = drawn("curves")
    panel = figure.axes[3]
    assert panel.get_title() == "impersonation, adaptive attacker"
    lines = {line.get_label(): line for line in panel.get_lines()}
    assert list(lines) == ["none", "jpeg", "pca"]
    assert list(lines["jpeg"].get_xdata()) == [1, 2, 8]
    assert list(lines["jpeg"].get_ydata()) == pytest.approx([5, 10, 40])
    band = panel.collections[1].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((0, 45))
    assert len({(line.get_color(), line.get_marker()) for line in lines.values()}) == 3


def test_share_curves_are_steps_in_percent_from_edge_to_edge() -> None:
    figure = drawn("security")
    panel = figure.axes[3]
    assert (figure.axes[1].get_title(), panel.get_xlabel()) == ("impersonation", "RMS, gray levels of 255")
    lines = {line.get_label(): line for line in panel.get_lines()}
    assert list(lines) == ["cw", "deepfool", "minimal(attack=pgd)"]
    line = lines["deepfool"]
    assert line.get_drawstyle() == "steps-post"
    assert list(line.get_ydata()[:3]) == pytest.approx([0, 100 / 24, 100 / 12])
    assert panel.get_xlim() == (0, 8) == (line.get_xdata()[0], line.get_xdata()[-1])
    assert len(panel.collections) == 3  # the bands of their intervals
    low, high = panel.collections[0].get_datalim(panel.transData).intervaly
    assert (low, high) == pytest.approx((0, 100))
    assert drawn("queries").axes[0].get_xscale() == "log"


def test_a_panel_that_lacks_some_lines_and_radii_keeps_its_place_and_its_axis() -> None:
    """Query attacks are run at one radius, by other attacks than the rest: the layout fell apart."""
    frame = points().query("threat == 'adaptive' or (radius == 8 and defense == 'pca')")
    figure = plots.asr_curves(frame, "defense", "radius", "Title")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.draw_without_rendering()
    boxes = [panel.get_position() for panel in figure.axes]
    assert np.allclose([box.width for box in boxes], boxes[0].width, atol=0.01)
    assert min(box.height for box in boxes) > 0.2
    assert len({panel.get_xlim() for panel in figure.axes}) == 1


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


def test_that_the_settings_of_a_threat_model_are_in_words() -> None:
    frame = points().query("threat == 'adaptive'").assign(threat="query(queries=60)")
    panel = plots.asr_curves(frame, "defense", "radius", "Title").axes[0]
    assert panel.get_title() == "dodging, query (queries 60) attacker"


def test_a_heat_map_prints_values_denominators_and_what_is_missing() -> None:
    shown = texts(drawn("heat"))
    assert shown.count("refused") == 1
    assert shown.count("not run") == 1
    assert {"9/10", "80.0", "40.0"} <= set(shown)


def test_long_names_beside_a_heat_map_do_not_run_into_each_other() -> None:
    same = "members.a=small, members.b=large, fusion=min"
    names = ["none", *(f"ensemble{k}({same}, members.c={'x' * k})" for k in range(6))]
    one = heat().query("attack == 'a2' and defense == 'jpeg'")
    figure = plots.heat_map(pd.concat([one.assign(defense=name) for name in names]), "Title")
    drawing = FigureCanvasAgg(figure)
    drawing.draw()
    boxes = [label.get_window_extent(drawing.get_renderer()) for label in figure.axes[0].get_yticklabels()]
    assert len(boxes) == len(names) and not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert "Settings of all defenses: members a small, members b large, fusion min" in figure.get_suptitle().replace(
        "\n", " "
    )


def test_values_on_a_heat_map_are_readable_on_their_colour() -> None:
    colours = mpl.colormaps["OrRd"]
    figure = drawn("heat")
    for text in figure.axes[0].texts:
        if text.get_text().replace(".", "").isdigit():
            paper = colours(float(text.get_text()) / 100)
            assert contrast(mpl.colors.to_rgb(text.get_color()), paper[:3]) > 3


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """The contrast ratio of WCAG."""
    light = []
    for colour in (one, other):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        light.append(float(np.dot([0.2126, 0.7152, 0.0722], linear)) + 0.05)
    return max(light) / min(light)


def test_a_picture_grid_shows_scores_threshold_and_outcome() -> None:
    shown = texts(drawn("pictures"))
    expected = ["score 0.610", "score 0.120 ✓ success", "L∞ 8.0/255", "threshold 0.300", "difference × 8"]
    assert set(expected) <= set(shown)
    failed = image_grids.PairRow(**{**vars(rows()[0]), "success": False})
    assert "score 0.120 ✗ failure" in texts(image_grids.pair_grid([failed], "t"))


@pytest.mark.parametrize(("levels", "factor"), [(1, 64), (8, 8), (64, 1), (255, 1), (0, 128)])
def test_the_difference_is_amplified_as_far_as_it_fits(levels: int, factor: int) -> None:
    assert image_grids.amplification([row.adversarial - row.clean for row in rows(levels / 255)]) == factor


def test_the_tile_of_the_difference_is_gray_plus_the_amplified_change() -> None:
    figure = image_grids.pair_grid(rows(4 / 255, 1), "t")
    canvas = np.asarray(figure.axes[0].images[0].get_array())
    factor, right = image_grids.amplification([np.full(1, 4 / 255)]), round(112 * 1.06)
    tile = canvas[:112, 2 * right : 2 * right + 112]
    expected = round(255 * 0.5 + factor * 4)
    assert (tile.min(), tile.max()) == pytest.approx((expected, expected), abs=1)
    assert np.array_equal(canvas[:112, :112], np.rint(255 * rows()[0].clean))


def drawn_legend(figure: Figure) -> tuple[list[str], str, bool]:
    """The legend's labels and title, and whether all of it stands inside the figure."""
    drawing = FigureCanvasAgg(figure)
    drawing.draw()
    (found,) = figure.legends
    extent, whole = found.get_window_extent(drawing.get_renderer()), figure.bbox
    inside = extent.x0 >= whole.x0 and extent.x1 <= whole.x1 and extent.y0 >= whole.y0
    return [text.get_text() for text in found.get_texts()], found.get_title().get_text(), inside


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
