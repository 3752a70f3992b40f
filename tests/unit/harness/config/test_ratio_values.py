"""``8/255`` is the number that it stands for, wherever a number is expected and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from frbench.harness.cli.main import main
from frbench.harness.config.compose import composed_cell
from frbench.harness.config.ratio_values import with_numbers
from frbench.harness.core.domains import NonNegativeInt, OpenFraction, PixelChange
from frbench.harness.core.ratios import as_number


@dataclass(frozen=True)
class Toy:
    radius: PixelChange | None = None
    rates: tuple[OpenFraction, ...] = ()
    steps: NonNegativeInt = 1
    text: str = ""
    either: float | Literal["1/2"] = 0.5


def read(**fields: Any) -> dict[str, Any]:
    found = with_numbers({"a": [{"_target_": f"{__name__}.Toy", **fields}], "b": "1/2"})
    assert found["b"] == "1/2"
    return {name: found["a"][0][name] for name in fields}


@pytest.mark.parametrize(
    ("text", "number"),
    [("8/255", 8 / 255), (" 5.1 / 255 ", 5.1 / 255), ("-1/4", -0.25), ("1e-1/.5", 0.2), ("3/-4", -0.75)],
)
def test_that_a_ratio_is_read_as_python_divides(text: str, number: float) -> None:
    assert as_number(text) == number


@pytest.mark.parametrize(
    "text", ["8/0", "8/255/2", "8", "a/b", "1/2.png", "/255", "8//255", "__import__('os')/1", 3, None]
)
def test_that_anything_else_is_left_as_it_is(text: Any) -> None:
    assert as_number(text) is text


def test_that_a_ratio_becomes_a_number_where_its_field_takes_one() -> None:
    assert read(radius="8/255", rates=["1/100", 0.5]) == {"radius": 8 / 255, "rates": [0.01, 0.5]}
    assert read(radius="16/1") == {"radius": 16}, "outside the domain, and told as a number"
    assert read(text="8/255", either="1/2") == {"text": "8/255", "either": "1/2"}


def labels(*words: str) -> dict[str, Any]:
    return dict(composed_cell(words).settings)


def test_that_a_cell_has_the_label_of_the_number() -> None:
    assert labels("budget=linf_8", "budget.radius=8/255") == {} == labels(f"budget.radius={8 / 255}")
    assert labels("budget.radius=3/255") == {"budget.radius": 3 / 255} == labels(f"budget.radius={3 / 255}")
    assert labels("dataset.name=1/2") == {"dataset.name": "1/2"}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("budget=8/255", "did you mean budget=linf_8 or budget.radius=8/255?"),
        ("budget=3/255", "did you mean budget.radius=3/255?"),
        ("budget=2", "did you mean budget=l2_2 or budget.radius=2?"),
        ("budget=0.3", "did you mean budget.radius=0.3?"),
        ("dataset=3", "did you mean dataset.seed=3?"),
    ],
)
def test_that_a_number_in_the_place_of_an_option_gets_a_hint(
    typed: str, meant: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", typed]) == 2
    said = capfd.readouterr().err
    assert said.startswith(f"frbench: unknown option {typed}; {meant}") and said.count("\n") == 1
