"""Every numeric setting of every option has a domain; a value outside it is refused by name before anything runs."""

from __future__ import annotations

import copy
import dataclasses
import math
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import hydra
import pytest

import frbench.conf
from frbench.harness.cli.main import main
from frbench.harness.config import build, resolution
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.typed_values import accepts, hints_of, schema

CONF = Path(frbench.conf.__file__).parent
WITHIN = {  # where options stand that belong to another option, and that option
    "tracker": ("protocol.tracker", "protocol=cloaking"),
    "network": ("training.network", "training=single"),
    "maker": ("defense.recipe.cloaks.makers.mine", "defense=puface"),
}
NO_OBJECTS = {"source", "paths", "experiment", "size", "paper"}
OPTIONS = [
    (folder.name, path.relative_to(folder).with_suffix("").as_posix())
    for folder in sorted(each for each in CONF.iterdir() if each.is_dir() and each.name not in NO_OBJECTS)
    for path in sorted(folder.rglob("*.yaml"))
    if (folder.name, path.stem) != ("attack", "none")
]
WRONG = (-1, 0, math.nan, math.inf, 10**12)
# Fields for which a negative number has a meaning.
SIGNED = {"mean", "score_offset", "centre", "gradient_mismatch", "threshold"}
SIGNED_OF = {("CompareService", "score_scale")}


@pytest.fixture(scope="session")
def whole(composed: Callable[..., dict[str, Any]]) -> Callable[[str, str], tuple[str, Any]]:
    """Where an option stands in a run, and its config."""

    def find(group: str, option: str) -> tuple[str, Any]:
        place, *before = WITHIN.get(group, (group,))
        new = "+" if group == "maker" else ""
        word = f"{group}={option}" if place == group else f"{new}{group}@{place}={option}"
        node: Any = composed(*before, word)
        for part in place.split("."):
            node = node[part]
        return place, node

    return find


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def holds_number(value: Any) -> bool:
    """A number, or a list or a mapping of plain values with one."""
    if isinstance(value, Mapping):
        return "_target_" not in value and any(map(is_number, value.values()))
    return is_number(value) or (isinstance(value, list) and any(map(holds_number, value)))


def settings(node: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """(place, config, name) of each setting with a number, however deep inside: the config of the object and a name."""
    inside = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for name, value in inside:
        if isinstance(node, Mapping) and "_target_" in node and holds_number(value):
            yield where, node, str(name)
        else:
            yield from settings(value, f"{where}.{name}")


def without_domain(hint: Any) -> Iterator[Mapping[str, Any]]:
    """Parts of a hint that are numbers with neither a bound nor words of their own."""
    waiting = [schema(hint)]
    while waiting:
        part = waiting.pop()
        waiting += [each for each in part.values() if isinstance(each, dict)]
        waiting += [each for some in part.values() if isinstance(some, list) for each in some if isinstance(each, dict)]
        if part.get("type") in ("integer", "number") and part.keys() <= {"type", "title", "default"}:
            yield part


def test_that_the_hints_of_a_bare_number_are_seen() -> None:
    assert list(without_domain(int)) and list(without_domain(float | None)) and list(without_domain(dict[str, float]))


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_that_every_number_in_an_option_has_a_domain_that_it_is_in(group: str, option: str, whole: Callable) -> None:
    place, config = whole(group, option)
    kinds = set()
    for where, node, name in settings(config, place):
        made = pkgutil.resolve_name(node["_target_"])
        hint = hints_of(made)[name]
        assert schema(hint), f"{where}.{name}: {hint} is no type that pydantic knows"
        assert accepts(hint, node[name]), f"{where}.{name}={node[name]} is outside {hint}"
        kinds.add(made)
    for made in kinds:
        names = [each.name for each in dataclasses.fields(made)] if dataclasses.is_dataclass(made) else hints_of(made)
        bare = {name for name in names if name != "return" and list(without_domain(hints_of(made)[name]))}
        assert not bare, f"{made}: {bare} are numbers without a domain; take one of harness/core/domains.py"


def changed(value: Any, number: float) -> Any:
    """``number`` in the place of ``value``; of a list or a mapping, of the first number in it."""
    if isinstance(value, list):
        return [changed(value[0], number), *value[1:]]
    return {**value, next(iter(value)): number} if isinstance(value, Mapping) else number


def refused(config: Mapping[str, Any], place: str) -> str | None:
    try:
        build.instantiate(config, place)
    except FrbenchError as error:
        return str(error)
    return None


@pytest.mark.parametrize("group", sorted({group for group, _ in OPTIONS}))
def test_that_a_number_outside_of_its_domain_is_refused_by_name(group: str, whole: Callable) -> None:
    """Negative, zero, not a number, infinite and huge, of each field of each class, once."""
    found = {
        (node["_target_"], name): (where, node)
        for each, option in OPTIONS
        if each == group
        for where, node, name in settings(*reversed(whole(group, option)))
    }
    assert found or group == "goal"
    for (target, name), (where, node) in found.items():
        made = pkgutil.resolve_name(target)
        for number in WRONG:
            wrong = {**node, name: changed(node[name], number)}
            said, shown = refused(wrong, where), f"{where}.{name}={number}"
            if said is None:
                assert math.isfinite(number) and accepts(hints_of(made)[name], wrong[name]), shown
                assert number >= 0 or name in SIGNED or (made.__name__, name) in SIGNED_OF, shown
            else:
                assert f"{where}.{name}" in said and "\n" not in said, (shown, said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("attack=minimal attack.budget.radius=16", "attack.budget.radius=16 is not a number above 0 and at most 1"),
        ("attack=worst_case attack.attacks.square.p_init=2", "attack.attacks.square.p_init=2 is not a number above 0"),
        ("attack=evolutionary attack.votes=2000", "attack.votes=2000 is above attack.queries=1000"),
        ("attack=torchattacks attack.params={steps:0}", "attack.params.steps=0 is not an integer above 0"),
        ("attack=torchattacks attack.params={alpha:nan}", "attack.params.alpha=NaN is not a number above 0"),
        ("attack=torchattacks attack.params={alpha:-2/255}", "attack.params.alpha=-0.0078"),
        ("attack=torchattacks attack.name=PGDD", "attack.name=PGDD does not exist in torchattacks"),
        ("budget=dssim budget.tolerance=0.01", "budget.tolerance=0.01 must be below budget.radius=0.007"),
        ("dataset=synthetic dataset.pairs=100000", "pairs=100000, expected a multiple of 20 up to 6720"),
        ("defense=random_mask defense.kept=2000", "defense.kept=2000 is above defense.components=1500"),
        ("defense=quilting defense.stride=12", "defense.stride=12 is above defense.patch_size=11"),
        (
            "defense=ais defense.recipe.warmup.selector.initial_leading=1501",
            "selector.initial_leading=1501 is above defense.recipe",
        ),
        (
            "defense=ais_paper defense.recipe.warmup.cost.mask_samples=1",
            "defense.recipe.warmup.cost.mask_samples=1: estimator=reinforce",
        ),
        (
            "defense=pin_paper defense.recipe.baseline=others defense.recipe.mask_samples=1",
            "defense.recipe.mask_samples=1: baseline",
        ),
        (
            "protocol=feature_distance protocol.distances=[0.1,0.2]",
            "protocol.distances=[0.1, 0.2]: expected",
        ),
        ("protocol=verification protocol.far_levels=[1/100,2]", "protocol.far_levels=[0.01, 2] is not a list of"),
        (
            "recognizer=iresnet50 recognizer.architecture.blocks=[2,2,2]",
            "architecture.blocks=[2, 2, 2] is not",
        ),
    ],
)
def test_that_what_is_deep_inside_or_does_not_fit_together_is_refused_by_its_name(
    words: str, said: str, composed: Callable[..., dict[str, Any]]
) -> None:
    group = words.partition("=")[0]
    with pytest.raises(FrbenchError) as error:
        build.instantiate(composed(*words.split())[group], group)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("config", ["run", "cloak", "serve", "report"])
def test_that_a_number_that_belongs_to_no_option_has_a_domain_too(config: str) -> None:
    with hydra.initialize_config_module("frbench.conf", version_base="1.3"):
        composed = hydra.compose(config)
    numbers = [str(name) for name, value in composed.items() if is_number(value)]
    assert numbers
    for name in numbers:
        for value in (-1, math.nan, math.inf):
            wrong = copy.copy(composed)
            wrong[name] = value
            with pytest.raises(FrbenchError, match=f"^{name}="):
                resolution.plain(wrong)


@pytest.mark.parametrize(
    "words",
    [
        ["budget.radius=-0.03"],
        ["budget.radius=8"],
        ["budget.radius=nan"],
        ["attack.steps=0"],
        ["attack.rel_stepsize=-1.5"],
        ["defense=jpeg", "defense.quality=500"],
        ["threat=query", "attack=square", "threat.queries=-5"],
        ["budget.radius=2/255", "attack.restarts=0"],
    ],
    ids=" ".join,
)
def test_that_the_command_refuses_it_in_one_line_before_any_work(
    words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    paths = [f"paths.{name}={tmp_path / name}" for name in ("data", "results", "cache")]
    assert main(["run", *words, *paths, "device=cpu"]) == 2
    out, err = capfd.readouterr()
    assert not out and err.count("\n") == 1 and err.startswith(f"frbench: {words[-1].partition('=')[0]}=")
    assert ("8/255" in err) == words[-1].startswith("budget.radius")
    assert not list(tmp_path.iterdir())
