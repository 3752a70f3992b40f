"""File names of figures: readable, distinct, and independent of settings that all figures have."""

from __future__ import annotations

import re

from matplotlib.figure import Figure

from frbench.harness.reporting.figures.figure_spec import FigureSpec, file_names


def spec(*subject: str, other: tuple[str, ...] = ()) -> FigureSpec:
    return FigureSpec("scores", subject, other, "Title", "tiny on lfw", "Caption.", lambda title: Figure())


def test_that_a_name_has_the_options_without_their_settings() -> None:
    assert file_names(
        [spec("lfw(limit=80)", "onnx(path=/home/me/a.onnx)", "", "adaptive", "defense_jpeg(quality=75)")]
    ) == ["scores__lfw__onnx__adaptive__defense_jpeg"]


def test_that_figures_of_the_same_options_have_the_settings_that_differ() -> None:
    limits = [spec("lfw(limit=80)", "tiny"), spec("lfw(limit=40, seed=1)", "tiny"), spec("lfw", "tiny")]
    assert file_names(limits) == [
        "scores__lfw__tiny__limit_80",
        "scores__lfw__tiny__limit_40__seed_1",
        "scores__lfw__tiny",
    ]
    files = [spec("lfw(limit=80)", f"onnx(path=/home/me/{name}.onnx)") for name in "ab"]
    assert file_names(files) == ["scores__lfw__onnx__a", "scores__lfw__onnx__b"]
    assert file_names([spec("lfw"), spec("lfw", other=("verification", "seed=1, fit_seed=2"))]) == [
        "scores__lfw",
        "scores__lfw__seed_1__fit_seed_2",
    ]


def test_that_long_or_equal_settings_are_replaced_by_a_number() -> None:
    same = [spec("lfw", f"onnx(path=/home/{name}/net.onnx)") for name in "ab"]
    assert file_names(same) == ["scores__lfw__onnx__net", "scores__lfw__onnx__net__2"]
    long = [spec("lfw", f"onnx({', '.join(f'key{k}={name * 9}' for k in range(9))})") for name in "ab"]
    assert file_names(long) == ["scores__lfw__onnx", "scores__lfw__onnx__2"]


def test_that_a_name_needs_no_quotes_in_a_shell() -> None:
    (name,) = file_names([spec("minimal(attack=pgd)", "my recognizer/é", "linf_5p1")])
    assert re.fullmatch(r"[A-Za-z0-9._-]+", name)


def test_that_the_title_is_above_the_setting() -> None:
    titles: list[str] = []
    FigureSpec(
        "scores", (), (), "Title", "tiny on lfw", "Caption.", lambda title: titles.append(title) or Figure()
    ).figure()
    assert titles == ["Title\ntiny on lfw"]
