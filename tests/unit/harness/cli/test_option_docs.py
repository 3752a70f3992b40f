"""The output of ``frbench options`` comes from the YAML, the annotations and the docstring of an option."""

from __future__ import annotations

import pytest

from frbench.harness.cli.main import main
from frbench.harness.cli.option_docs import described


def test_that_a_docstring_is_read_field_by_field() -> None:
    text = """Descend the goal.

    steps:    gradient steps a start. stride: radii walked in all,
              over all steps. ``stop``: when.
    low, high: ends of the range.

    A note: of no field. And one on steps that is none.
    """
    assert described(text, ["steps", "stride", "stop", "low", "high", "other"]) == {
        "steps": "gradient steps a start",
        "stride": "radii walked in all, over all steps",
        "stop": "when",
        "low": "ends of the range",
        "high": "ends of the range",
    }


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["options", *words]) == 0
    return capsys.readouterr().out


def test_that_a_group_is_listed_with_the_paper_of_each_option(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "attack").splitlines()
    assert any(line.startswith("pgd ") and "Madry et al., ICLR 2018" in line for line in lines)
    assert all(len(line.split(maxsplit=1)) == 2 for line in lines)


def test_that_each_field_has_default_range_and_meaning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = printed(capsys, "attack=pgd")
    assert out.startswith("Projected gradient descent (PGD)") and "attack.NAME=VALUE" in out
    assert "Madry et al." in out.splitlines()[1] and "https://arxiv.org/abs/1706.06083" in out.splitlines()[1]
    assert "steps=20" in out and "an integer above 0" in out and "gradient steps per run" in out
    assert "return_best=true" in out and "true or false; return the iterate of lowest loss" in out


def test_that_nested_objects_have_dotted_fields(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "attack=minimal", "tracker=linear")
    assert "inner.steps=20" in out and "budget.radius=" in out
    assert "protocol.tracker.NAME=VALUE" in out and "C=1.0" in out and "inverse of the L2 penalty" in out


@pytest.mark.parametrize("option", ["experiment=demo", "goal=dodging", "paths=default", "recognizer=pytorch"])
def test_that_every_kind_of_option_has_a_page(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(printed(capsys, option).splitlines()) >= 3


@pytest.mark.parametrize(
    ("typed", "meant"), [("atack", "'attack'"), ("attack=pgdd", "attack=pgd"), ("attack.steps=3", "'attack'")]
)
def test_that_a_mistyped_name_gets_a_hint(typed: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["options", typed]) == 2
    assert f"did you mean {meant}?" in capsys.readouterr().err
