"""Which cells a command has: those of Hydra's basic sweeper, and those of the grids of an experiment."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.hydra_config import HydraConfig
from hypothesis import given, settings
from hypothesis import strategies as st

from frbench.harness.config.hydra_state import own_hydra
from frbench.harness.config.sweep_expansion import expand
from frbench.harness.core.errors import ConfigError

SMALL = """
defaults:
  - {group}: null
  - _self_
  - experiment: null
  - override hydra/hydra_logging: disabled
  - override hydra/job_logging: disabled
hydra:
  output_subdir: null
  sweep: {{dir: {folder}, subdir: .}}
"""


def by_hydra(words: list[str], folder: Path) -> list[tuple[str, ...]]:
    """The overrides of each job of Hydra's own sweep over ``words``, on a config of its own that has no values."""
    found: list[tuple[str, ...]] = []
    (folder / "any.yaml").write_text(SMALL.format(group="attack", folder=folder), encoding="utf-8")
    before, sys.argv = sys.argv, ["any", "-m", *words]
    try:
        with own_hydra():
            job = hydra.main(version_base="1.3", config_path=str(folder), config_name="any")
            job(lambda cfg: found.append(tuple(HydraConfig.get().overrides.task)))()
    finally:
        sys.argv = before
    return found


VALUES = st.sampled_from(
    [
        "1,2",
        "range(3)",
        "range(1,9,4)",
        "choice(a,b)",
        "'x,y',z",
        '"p q",null',
        "[1,2],[3]",
        "5",
        "sort(3,1,2)",
        "{a:1}",
    ]
)


@settings(max_examples=15)
@given(st.dictionaries(st.sampled_from(["+one", "+two", "++three", "+four"]), VALUES, max_size=3))
def test_that_the_cells_and_their_order_are_those_of_hydra(
    tmp_path_factory: pytest.TempPathFactory, swept: dict[str, str]
) -> None:
    words = [f"{key}={values}" for key, values in swept.items()]
    assert expand(["-m", *words]) == by_hydra(words, tmp_path_factory.mktemp("conf"))


def test_that_a_pattern_stands_for_the_options_that_match() -> None:
    assert expand(["-m", "budget=glob(linf_*,exclude=linf_5*)"])[0] == ("budget=linf_1",)


def test_that_without_a_sweep_there_is_one_cell_with_the_words_as_they_are() -> None:
    assert expand(["attack=fgsm", 'dataset.name="a b"']) == [("attack=fgsm", 'dataset.name="a b"')]
    assert expand([]) == [()]


def test_that_the_folder_of_own_options_and_words_of_hydra_are_part_of_each_cell(tmp_path: Path) -> None:
    words = ["-m", "seed=0,1", f"--config-dir={tmp_path}", "hydra.job.chdir=false"]
    assert expand(words) == [(f"--config-dir={tmp_path}", "hydra.job.chdir=false", f"seed={each}") for each in (0, 1)]


def test_that_the_command_line_wins_over_what_an_experiment_sweeps() -> None:
    cells = expand(["experiment=demo", "defense=blur", "threat=adaptive,oblivious", "seed=4,5"])
    assert len(cells) == 8
    order = ("goal=dodging", "budget=linf_2", "attack=pgd", "threat=adaptive", "defense=blur", "experiment=demo")
    assert cells[:2] == [(*order, "seed=4"), (*order, "seed=5")]


def experiment(folder: Path, **content: Any) -> list[str]:
    """The words that choose an own experiment with this content."""
    (folder / "experiment").mkdir(exist_ok=True)
    text = f"# @package _global_\n{json.dumps(content)}"
    (folder / "experiment" / "own.yaml").write_text(text, encoding="utf-8")
    return [f"--config-dir={folder}", "experiment=own"]


def cells_of(words: list[str]) -> list[set[str]]:
    return [{word for word in cell if not word.startswith(("--config-dir", "experiment="))} for cell in expand(words)]


def test_that_grids_follow_each_other_and_no_cell_comes_twice(tmp_path: Path) -> None:
    grids = [
        {"attack": "fgsm,pgd", "zip": {"defense": ["blur", "jpeg"], "seed": [0, 1]}},
        {"attack": "pgd,lots", "defense": "jpeg", "seed": "1"},
    ]
    words = experiment(tmp_path, grids=grids)
    assert cells_of(words) == [
        {"attack=fgsm", "defense=blur", "seed=0"},
        {"attack=pgd", "defense=blur", "seed=0"},
        {"attack=fgsm", "defense=jpeg", "seed=1"},
        {"attack=pgd", "defense=jpeg", "seed=1"},
        {"attack=lots", "defense=jpeg", "seed=1"},
    ]
    assert cells_of([*words, "attack=cw"]) == [
        {"attack=cw", "defense=blur", "seed=0"},
        {"attack=cw", "defense=jpeg", "seed=1"},
    ]


def test_that_values_that_an_experiment_sweeps_hold_for_each_grid(tmp_path: Path) -> None:
    sweeper = {"mode": "MULTIRUN", "sweeper": {"params": {"goal": "dodging,impersonation", "attack": "fgsm"}}}
    words = experiment(tmp_path, hydra=sweeper, grids=[{"seed": 0}, {"attack": "pgd"}])
    assert cells_of(words) == [
        {"goal=dodging", "attack=fgsm", "seed=0"},
        {"goal=impersonation", "attack=fgsm", "seed=0"},
        {"goal=dodging", "attack=pgd"},
        {"goal=impersonation", "attack=pgd"},
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-m", "attack.step_size=interval(0,1)"], "has no list of values; write attack.step_size=1,2,3"),
        (["-m", "hydra/launcher=submitit_slurm", "seed=0,1"], "launcher=processes, slurm, script or ray"),
        (["hydra.launcher.n_jobs=2"], "launcher=processes, slurm, script or ray"),
        (["-m", "hydra/sweeper=optuna"], "an experiment with grids"),
        (["-m", "hydra.verbose=true,false"], "sweeps over a setting of Hydra"),
        (["-m", "attack=[pgd"], r"cannot parse attack=\[pgd"),
        (["experiment=dmo"], "did you mean experiment=demo"),
    ],
)
def test_that_what_cannot_be_swept_is_one_line(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        expand(words)
    assert "\n" not in str(error.value)


def test_that_an_experiment_with_a_launcher_of_hydra_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hydra" / "launcher").mkdir(parents=True)
    (tmp_path / "hydra" / "launcher" / "mine.yaml").write_text("_target_: mine\n")
    words = experiment(tmp_path, defaults=[{"override /hydra/launcher": "mine"}], hydra={"mode": "MULTIRUN"})
    with pytest.raises(ConfigError, match="launcher=processes"):
        expand(words)


def test_that_a_sweep_has_one_size() -> None:
    with pytest.raises(ConfigError, match="size=small,full: a sweep has one size"):
        expand(["-m", "experiment=demo", "size=small,full"])
