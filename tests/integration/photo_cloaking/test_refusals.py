"""``frbench cloak`` fails in one line: unchanged faces, black boxes, wrong usage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import hydra
import pytest
from support.photo_folders import find, lines, photo_folder, toy_cloaker

from frbench.attacks.cw import CarliniWagner
from frbench.attacks.fawkes_v03 import FawkesTargeted
from frbench.harness.cli.main import main
from frbench.harness.config import build, resolution
from frbench.harness.core.contracts import AttackResult, View
from frbench.harness.core.errors import FrbenchError, Refused
from frbench.harness.core.face_data import PairBatch
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.photo_cloaking.batch_job import CloakingJob
from frbench.harness.photo_cloaking.cloaker import Cloaker
from frbench.harness.threat_model.goals import Cloak


@pytest.fixture
def cloaker(linear: Callable) -> Cloaker:
    return toy_cloaker(linear(size=112))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return photo_folder(tmp_path / "photos")


@dataclass(frozen=True)
class Lazy:
    """An attack that gives back what it gets, or NaN."""

    worth: float = 0.0

    needs_gradient = bounded = stops_early = batch_dependent = False

    def __call__(self, view: View, pairs: PairBatch, goal: object, budget: object) -> AttackResult:
        return AttackResult(pairs.probe + self.worth, pairs.same, pairs.index)


@pytest.mark.parametrize("worth", [0.0, float("nan")])
def test_that_an_unchanged_face_is_never_reported_as_cloaked(
    worth: float, folder: Path, cloaker: Cloaker, capfd: pytest.CaptureFixture[str]
) -> None:
    lazy = replace(cloaker, attack=Lazy(worth))  # type: ignore[arg-type]
    assert CloakingJob().run(folder, lazy, lambda: find) == 1
    assert "failed, the attack did not change 3 faces" in lines(capfd.readouterr().out)["group.png"]
    assert not list(folder.glob("*_cloaked*"))


@dataclass(frozen=True)
class Refusing(Lazy):
    """An attack that finds out late that it cannot."""

    def __call__(self, view: View, pairs: PairBatch, goal: object, budget: object) -> AttackResult:
        raise Refused("this cannot be")


def test_that_a_black_box_and_a_late_refusal_are_one_line(folder: Path, cloaker: Cloaker, linear: Callable) -> None:
    blind = CosineVerifier(replace(linear(size=112), differentiable=False))
    wrong: Iterator[tuple[Cloaker, str]] = iter(
        [
            (replace(cloaker, verifier=blind), "ProjectedDescent needs gradients, but this recognizer is a black box"),
            (replace(cloaker, attack=Refusing()), "this cannot be"),  # type: ignore[arg-type]
            (replace(cloaker, attack=FawkesTargeted(steps=2)), "resemble another person's, and there is none here"),
            (replace(cloaker, attack=CarliniWagner()), "CarliniWagner goes on until a verifier is fooled"),
        ]
    )
    for each, message in wrong:
        with pytest.raises(FrbenchError, match=message):
            CloakingJob().run(folder, each, lambda: find)
    with pytest.raises(FrbenchError):
        CloakingJob(suffix="").run(folder, cloaker, lambda: find)
    assert not list(folder.glob("*_cloaked*"))


def test_that_an_attack_without_gradients_works_on_a_black_box(
    folder: Path, cloaker: Cloaker, linear: Callable
) -> None:
    blind = CosineVerifier(replace(linear(size=112), differentiable=False))
    asking = replace(cloaker, verifier=blind, attack=Lazy(4 / 255))  # type: ignore[arg-type]
    CloakingJob().run(folder, asking, lambda: find)
    assert len(list(folder.glob("*_cloaked*"))) == 2


def test_that_a_folder_without_photos_is_an_error(folder: Path, cloaker: Cloaker) -> None:
    empty = folder / "empty"
    empty.mkdir()
    (empty / "notes.txt").touch()
    (empty / "a_cloaked.jpg").touch()
    for place, message in (
        (empty, "contains no photos"),
        (folder / "absent", "does not exist"),
        (folder / "notes.txt", "contains no ph"),
    ):
        with pytest.raises(FrbenchError, match=message):
            CloakingJob().run(place, cloaker, lambda: find)


def one_line(words: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """What ``frbench cloak`` says of bad usage, once it is known to be all that it says."""
    assert main(["cloak", *words]) == 2
    out, err = capfd.readouterr()
    assert not out and err.startswith("frbench: ") and err.count("\n") == 1 and "Traceback" not in err, out + err
    return err


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["attack=fawks"], "did you mean attack=fawkes"),
        (["recognizer=foamliu"], "foamliu_mobilefacenet"),
        (["qualty=90"], "did you mean 'quality'?"),
        (["attack=pgd", "attack.stepz=3"], "did you mean 'attack.steps'?"),
        (["defense=jpeg"], "unknown option 'defense'"),
        (["quality=high"], "quality=high is not an integer from 1 to 100"),
        (["quality=101"], "quality=101 is not an integer from 1 to 100"),
        (["batch_size=0"], "batch_size=0 is not an integer above 0"),
        (["alignment_jitter=-0.1"], "alignment_jitter=-0.1 is not a number of at least 0 and below 1"),
        (["attack=none"], "attack=none cannot make a cloak"),
        (["recognizer=face_reid_0095"], "black box"),
        (["finder._target_=os.system"], "trust=[os]"),
        (["recognizer=iresnet18"], "iresnet18.pth"),
        (["-m", "attack=pgd,fgsm"], "does not support sweeps"),
        (["another"], "one folder or photo, got"),
        (["~nobody/pictures"], "does not exist"),
    ],
)
def test_that_bad_usage_is_one_line(
    typed: list[str], message: str, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [str(folder), *typed, f"paths.data={tmp_path}", f"paths.cache={tmp_path}", "device=cpu"]
    assert message in one_line(words, capfd)
    assert not list(folder.glob("*_cloaked*"))


def test_that_a_missing_detector_is_an_error_before_the_first_photo(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [str(folder), "recognizer=tiny", f"paths.data={tmp_path}", "device=cpu"]
    assert "run: frbench data prepare yunet" in one_line(words, capfd)


def test_that_help_of_the_verb_names_options_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cloak", "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: frbench cloak FOLDER")
    assert "Exit code: 0" in out and "recognizer=" in out and max(map(len, out.splitlines())) <= 120


def test_that_the_defaults_are_fawkes_and_goal_cloak() -> None:
    with hydra.initialize_config_module("frbench.conf", version_base="1.3"):
        config = resolution.plain(hydra.compose("cloak"))
    assert build.instantiate(config["attack"], "attack").max_pixel_change == 15
    assert build.instantiate(config["goal"], "goal") == Cloak()
    assert build.instantiate(config["job"], "cloak") == CloakingJob()
