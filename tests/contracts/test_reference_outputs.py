"""The numbers of every option are those on record, or the version of the class that changed them is a new one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import reference_cases, reference_outputs
from support.reference_outputs import Entry, Problem, Tolerance, check

from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.harness.threat_model.budgets import Linf

NEEDED = {
    "attack=torchattacks": "torchattacks",
    "defense=wavelet": "pywt",
    "defense=wavelet_calibrated": "pywt",
    "recognizer=insightface": "insightface",
    "tracker=linear": "sklearn",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the options share, such as fitted parts."""
    return tmp_path_factory.mktemp("reference")


@pytest.mark.parametrize("option", reference_cases.options(), ids="=".join)
def test_that_an_option_gives_the_numbers_on_record_or_has_a_new_version(option: tuple[str, str], folder: Path) -> None:
    if library := NEEDED.get("=".join(option)):
        pytest.importorskip(library)
    problem = problem_of(*option, folder)
    assert problem is None, problem.text


def problem_of(group: str, option: str, folder: Path) -> Problem | None:
    found, made_of = reference_cases.measured(group, option, folder)
    recorded = reference_outputs.read(group).get(option)
    return check(f"{group}={option}", recorded, found, made_of, reference_cases.TOLERANCES[group])


@pytest.mark.parametrize("group", reference_cases.CASES)
def test_that_no_entry_is_left_of_an_option_that_is_gone(group: str) -> None:
    known = {option for where, option in reference_cases.options() if where == group}
    gone = sorted(reference_outputs.read(group).keys() - known)
    assert not gone, f"{group}: {', '.join(gone)} are no options; run: {reference_outputs.RECORD} {group}"


class LongerSteps:
    """A ball in which every step is a tenth longer."""

    def __init__(self, ball: Any) -> None:
        self.ball = ball

    def step(self, images: Any, gradient: Any, fraction: Any) -> Any:
        return self.ball.step(images, gradient, 1.1 * fraction)


@pytest.fixture
def longer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """PGD as if somebody had changed its step size in the code."""
    usual = ProjectedDescent._descend

    def descend(self: Any, view: Any, front: Any, *rest: Any, **named: Any) -> None:
        front.ball = LongerSteps(front.ball)
        usual(self, view, front, *rest, **named)

    monkeypatch.setattr(ProjectedDescent, "_descend", descend)


@pytest.mark.usefixtures("longer_steps")
def test_that_another_step_size_in_the_code_of_an_attack_fails_with_the_version_to_raise(tmp_path: Path) -> None:
    problem, version = problem_of("attack", "pgd", tmp_path), ProjectedDescent.version
    assert problem is not None and problem.unversioned
    assert problem.text.startswith("attack=pgd gives other numbers (dodging ")
    assert problem.text.endswith(
        f": raise ProjectedDescent.version (attack.projected_gradient_descent) from {version} to {version + 1} and "
        "record anew: python scripts/record_reference_outputs.py attack=pgd"
    )


@pytest.mark.usefixtures("longer_steps")
def test_that_a_new_version_has_to_be_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ProjectedDescent, "version", ProjectedDescent.version + 1)
    problem = problem_of("attack", "pgd", tmp_path)
    assert problem is not None and not problem.unversioned
    assert "has other versions than on record (attack.projected_gradient_descent)" in problem.text


PGD = Entry({"attack.pgd": 1}, {"score": [0.5, 0.25], "won": [1.0, 0.0]})
LIMIT = Tolerance(1e-3, 0.0)


def text_of(found: Entry, *made_of: type) -> str:
    problem = check("attack=pgd", PGD, found, made_of, LIMIT)
    return "" if problem is None else problem.text


def test_that_float_noise_is_none_of_its_business_and_more_is() -> None:
    assert text_of(replace(PGD, outputs={"score": [0.5004, 0.2504], "won": [1.0, 0.0]})) == ""
    assert "score: [0.5, 0.25] on record, [0.502, 0.25] now" in text_of(
        replace(PGD, outputs={"score": [0.502, 0.25], "won": [1.0, 0.0]})
    )
    assert "won: " in text_of(replace(PGD, outputs={"score": [0.5, 0.25], "won": [1.0, float("nan")]}))
    assert "won: " in text_of(replace(PGD, outputs={"score": [0.5, 0.25], "won": [1.0]}))


def test_that_what_is_not_on_record_or_named_otherwise_is_to_be_recorded() -> None:
    missing = check("attack=pgd", None, PGD, (), LIMIT)
    assert missing is not None and "attack=pgd has no reference outputs" in missing.text
    renamed = replace(PGD, outputs={"cosine": [0.5, 0.25], "won": [1.0, 0.0]})
    assert "other names and the same numbers" in text_of(renamed)
    assert "(attack.bim, attack.pgd)" in text_of(replace(PGD, versions={"attack.bim": 1}))


def test_that_each_class_inside_may_be_the_one_that_changed() -> None:
    found = replace(PGD, outputs={"score": [0.9, 0.25], "won": [1.0, 0.0]})
    text = text_of(found, ProjectedDescent, Linf)
    assert "raise the version of the class whose results changed: ProjectedDescent.version" in text
    assert f" or Linf.version ({Linf.identity}) from {Linf.version} to {Linf.version + 1}" in text
