"""Curves and heat maps: what they draw of their data."""

from __future__ import annotations

import itertools
import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from support.plot_frames import (
    drawn,
    heat,
    points,
    texts,
)

from frbench.harness.reporting.figures import plots


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
