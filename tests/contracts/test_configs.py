"""What every option in conf/ promises: it composes, it builds a plain frozen object, and it is known by its values."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hydra
import pytest
from omegaconf import DictConfig

import frbench.conf
from frbench.harness.cli.main import main
from frbench.harness.cli.option_docs import first_line, papers
from frbench.harness.config import auto_preprocessing, object_memo
from frbench.harness.config.cell_labels import CELL_GROUPS
from frbench.harness.config.conf_files import NO_OPTIONS
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.recognizers.architectures.tiny import TinyNet
from frbench.harness.recognizers.initialization import Architecture
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer

CONF = Path(frbench.conf.__file__).parent
GROUPS = {
    folder.name: sorted(path.stem for path in folder.glob("*.yaml")) for folder in CONF.iterdir() if folder.is_dir()
}
BUILT = (*CELL_GROUPS, "identities", "launcher")
OPTIONS = [(group, option) for group in BUILT for option in GROUPS[group] if (group, option) != ("attack", "none")]
FINGERPRINTED = ("attack", "goal", "budget", "threat", "defense", "protocol")  # the others are known by a digest

PROMISED = {
    "dataset": "lfw cfp_fp cfp_ff agedb_30 lfw_bin cfp_fp_bin agedb_30_bin synthetic cfp_users "
    "cfp_users_distant_targets synthetic_users",
    "recognizer": "tiny foamliu_mobilefacenet bubbliiiing_mobilefacenet mobileface_v2 face_reid_0095 onnx insightface "
    "iresnet18 iresnet34 iresnet50 iresnet100 ensemble flip_averaged service trained",
    "attack": "none fgsm bim pgd mifgsm difgsm tifgsm apgd cw deepfool fab lots worst_case minimal square nes "
    "evolutionary torchattacks fawkes fawkes_mid fawkes_low fawkes_v03 lowkey lowkey_proxy_lpips",
    "goal": "dodging impersonation cloak",
    "budget": "linf_1 linf_2 linf_4 linf_5p1 linf_8 linf_16 l2_0p5 l2_1 l2_2 l2_4 unbounded dssim",
    "threat": "oblivious transfer adaptive query",
    "defense": "none jpeg blur bitdepth pca gray pin pin_full pin_paper ais ais_warmup ais_full ais_paper threshold "
    "random_mask lowpass tv quilting puface puface_mixed puface_full puface_dev puface_image_only autoencoder "
    "tv_chambolle nl_means bilateral wavelet wavelet_calibrated diverse_ensemble diverse_residual_cos_ensemble "
    "shared_head_ensemble naive_ensemble adp mter diverse_separate_heads_ensemble zoo_ensemble trained_ensemble "
    "tiny_diverse",
    "protocol": "verification cloaking feature_distance",
    "maker": "fawkes fawkes_v03 lowkey lowkey_proxy_lpips pgd",
    "tracker": "nearest linear finetuned",
    "audit": "basic full",
    "launcher": "here processes slurm slurm_gpu script ray",
    "experiment": "demo lfw_quickstart ensembles_whitebox ensembles_blackbox",
    "size": "small full",
}


@pytest.fixture(params=OPTIONS, ids="=".join)
def option(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param


def offline(thing: Any, linear: Callable) -> Any:
    """``thing`` with a recognizer that needs no file in the place of each that might, however deep inside."""
    if isinstance(thing, TorchRecognizer):
        return linear()
    if isinstance(thing, Architecture):  # two partial functions are never equal
        return dataclasses.replace(thing, make=TinyNet)
    if isinstance(thing, dict):
        return {name: offline(each, linear) for name, each in thing.items()}
    if not dataclasses.is_dataclass(thing):
        return thing
    inside = {field.name: offline(getattr(thing, field.name), linear) for field in dataclasses.fields(thing)}
    return dataclasses.replace(thing, **inside)


@pytest.mark.parametrize("group", PROMISED)
def test_that_every_promised_option_is_there(group: str) -> None:
    assert not set(PROMISED[group].split()) - set(GROUPS[group])


def test_that_the_command_line_lists_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["options"]) == 0
    listed = {
        group: set(names.split())
        for group, _, names in (x.partition(":") for x in capsys.readouterr().out.split("\n\n")[0].splitlines())
    }
    known = {
        group: {path.relative_to(CONF / group).with_suffix("").as_posix() for path in (CONF / group).rglob("*.yaml")}
        for group, options in GROUPS.items()
        if options and group not in NO_OPTIONS
    }
    assert listed == known
    assert "broken/noisy" in known["defense"]
    assert main(["options", "defense"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == sorted(known["defense"])


FILES = [path for group in sorted(set(GROUPS) - set(NO_OPTIONS)) for path in sorted((CONF / group).rglob("*.yaml"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(CONF).with_suffix("").as_posix())
def test_that_the_first_comment_line_of_an_option_says_what_it_is(path: Path) -> None:
    """It is what ``frbench options GROUP`` prints, so it is whole: one sentence or more, on one line."""
    line = first_line(path.read_text("utf-8"))
    assert line.endswith("."), f"{path}: the first comment line is '{line}'"
    assert len(line) <= 120


def test_that_no_two_options_of_a_group_say_the_same() -> None:
    said = [(path.parent, first_line(path.read_text("utf-8"))) for path in FILES]
    assert len(set(said)) == len(said)


METHODS = [path for path in FILES if path.relative_to(CONF).parts[0] in ("attack", "defense", "protocol")]


@pytest.mark.parametrize("path", METHODS, ids=lambda path: path.relative_to(CONF).with_suffix("").as_posix())
def test_that_an_attack_defense_or_protocol_names_its_paper_or_says_why_there_is_none(path: Path) -> None:
    text = path.read_text("utf-8")
    second = text.splitlines()[1]
    assert papers(text) or re.fullmatch(r"# Paper: none; .+\.", second), f"{path}: the second line is '{second}'"
    assert second.startswith("# Paper: ")


def test_that_every_paper_line_is_complete_and_cites_a_paper_in_one_way() -> None:
    """A line is ``# Paper: Authors, venue year, "Title", link`` or ``# Paper: none; reason.``"""
    texts = [path.read_text("utf-8") for path in FILES]
    lines = {line for text in texts for line in text.splitlines() if line.startswith("# Paper:")}
    cited = {paper for text in texts for paper in papers(text)}
    assert len(cited) == len([line for line in lines if not line.startswith("# Paper: none; ")]) > 30
    assert all(re.search(r" \d{4}( workshop)?$", paper.source) for paper in cited)
    assert len({paper.title for paper in cited}) == len({paper.link for paper in cited}) == len(cited)


def test_that_an_option_builds_a_frozen_dataclass_that_remembers_its_keywords(
    option: tuple[str, str], composed: Callable, made: Callable
) -> None:
    """A constructor stores each keyword unchanged under its name and does nothing else."""
    group, _ = option
    thing, config = made(*option), auto_preprocessing.without(composed("=".join(option))[group])
    assert dataclasses.is_dataclass(thing)
    assert thing.__dataclass_params__.frozen
    for name, value in config.items():
        if not (name == "_target_" or isinstance(value, dict)):
            assert getattr(thing, name) == value, name
    (first, *_) = dataclasses.fields(thing) or (None,)
    if first is not None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, first.name, None)


def test_that_an_option_names_each_setting_that_it_has(
    option: tuple[str, str], composed: Callable, made: Callable
) -> None:
    """A user reads in the YAML all that can be set; what is left out there is written by the program, or optional."""
    group, _ = option
    config, fields = auto_preprocessing.without(composed("=".join(option))[group]), dataclasses.fields(made(*option))
    assert set(config) - {"_target_"} <= {field.name for field in fields}
    if group in ("attack", "goal", "budget", "threat", "protocol"):
        assert {field.name for field in fields} - set(config) <= {"bisections"}


def test_that_equal_configs_give_equal_objects_with_equal_fingerprints(
    option: tuple[str, str], made: Callable, linear: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = made(*option)
    monkeypatch.setattr(object_memo, "_kept", {})  # built anew, as in another process
    other = made(*option)
    assert one is not other
    assert type(one) is type(other)
    if option[0] in FINGERPRINTED:
        one, other = offline(one, linear), offline(other, linear)
        assert fingerprint(one) == fingerprint(other)
        assert one == other


def changed(thing: Any) -> Iterator[tuple[str, Any]]:
    """Copies of ``thing`` with one compared plain field changed, of each such field."""
    for field in dataclasses.fields(thing):
        value = getattr(thing, field.name)
        if field.compare and isinstance(value, bool | int | float | str | list):
            other = value + (value[:1] if value else [1]) if isinstance(value, list) else _other(value)
            yield field.name, dataclasses.replace(thing, **{field.name: other})


def _other(value: bool | float | str) -> Any:
    if isinstance(value, bool):
        return not value
    return value + "x" if isinstance(value, str) else value + 1


@pytest.mark.parametrize("option", [each for each in OPTIONS if each[0] in FINGERPRINTED], ids="=".join)
def test_that_every_setting_is_part_of_the_fingerprint(
    option: tuple[str, str], made: Callable, linear: Callable
) -> None:
    """Two cells that differ in anything never share a record or images."""
    thing = offline(made(*option), linear)
    for name, other in changed(thing):
        assert fingerprint(other) != fingerprint(thing), name


@pytest.mark.parametrize("group", FINGERPRINTED)
def test_that_no_two_options_of_a_group_have_the_same_fingerprint(group: str, made: Callable, linear: Callable) -> None:
    # The file of tiny_diverse stands in for that of a user in trained_ensemble.
    without = {("attack", "none"), ("defense", "trained_ensemble")}
    options = [option for option in GROUPS[group] if (group, option) not in without]
    things = [offline(made(group, option), linear) for option in options]
    assert len({fingerprint(thing) for thing in things}) == len(things)


def test_that_a_surrogate_is_part_of_the_fingerprint(made: Callable, linear: Callable) -> None:
    threats = [dataclasses.replace(made("threat", "transfer"), surrogate=linear(seed=seed)) for seed in (0, 0, 1)]
    same, again, other = (fingerprint(threat) for threat in threats)
    assert same == again != other


def test_that_any_recognizer_can_be_the_surrogate(composed: Callable) -> None:
    config = composed("threat=transfer", "recognizer@threat.surrogate=iresnet18")
    assert config["threat"]["surrogate"]["name"] == "iresnet18"
    assert config["recognizer"]["name"] == "tiny"


def test_that_run_names_every_group_so_that_it_reads_as_a_table_of_contents(composed: Callable) -> None:
    text = (CONF / "run.yaml").read_text("utf-8")
    for group in set(GROUPS) - {*NO_OPTIONS, "__pycache__"}:
        assert f"{group}:" in text or f"{group}@" in text, group
    assert set(CELL_GROUPS) <= set(composed())


@pytest.mark.parametrize("experiment", GROUPS["experiment"])
def test_that_an_experiment_is_a_grid_of_options_that_exist(experiment: str, composed: Callable) -> None:
    with hydra.initialize_config_module("frbench.conf", version_base="1.3"):
        config: DictConfig = hydra.compose("run", [f"experiment={experiment}"], return_hydra_config=True)
    assert config.hydra.mode.name == "MULTIRUN"
    grid = {axis: str(values).split(",") for axis, values in config.hydra.sweeper.params.items()}
    assert grid
    for values in grid.values():
        assert len(values) == len(set(values))
    for number in range(max(map(len, grid.values()))):  # each value once, together with one of each other axis
        composed(
            f"experiment={experiment}", *(f"{axis}={values[number % len(values)]}" for axis, values in grid.items())
        )


def test_that_a_run_takes_its_data_and_results_from_the_paths_alone(
    option: tuple[str, str], composed: Callable
) -> None:
    """``paths`` is the only place where a path is written."""
    text = (CONF / option[0] / f"{option[1]}.yaml").read_text("utf-8")
    settings = [
        line.split("#")[0] for line in text.splitlines() if not line.lstrip().startswith(("#", "download_hint:", "-"))
    ]
    assert not [line for line in settings if ": /" in line or "oc.env" in line]


def test_that_a_target_outside_of_frbench_is_refused_unless_it_is_trusted(composed: Callable) -> None:
    with pytest.raises(FrbenchError, match=r"trust=\[collections\]"):
        composed("defense._target_=collections.Counter")
    assert composed("defense._target_=collections.Counter", "trust=[collections]")
