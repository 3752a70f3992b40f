"""People's own parts live outside the repository: a folder of YAML and an importable module are all they need."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from frbench.harness.cli.main import main

MODULE = """
from dataclasses import dataclass, replace
from typing import Annotated
import torch
from annotated_types import Interval
from frbench.harness.core.contracts import AttackResult


class Kind:
    needs_gradient = False
    bounded = True
    stops_early = False
    batch_dependent = False

    def result(self, view, pairs, goal, images):
        scores = view.score(images, view.enroll(pairs))
        count = torch.ones(len(pairs), dtype=torch.int64)
        return AttackResult(images, goal.achieved(scores, view.aim(goal, pairs.index)), count)


@dataclass(frozen=True)
class Brighten(Kind):
    \"\"\"by: how much brighter, on [0, 1].\"\"\"

    by: Annotated[float, Interval(ge=0, le=1)] = 0.1

    def __call__(self, view, pairs, goal, budget):
        return self.result(view, pairs, goal, budget.project(pairs.probe + self.by, pairs.probe))


@dataclass(frozen=True)
class Greedy(Kind):
    def __call__(self, view, pairs, goal, budget):
        return self.result(view, pairs, goal, pairs.probe + 0.3)


@dataclass(frozen=True)
class Spoilt(Kind):
    def __call__(self, view, pairs, goal, budget):
        images = pairs.probe.clone()
        images[:, :, 0, 0] = float("nan")
        return self.result(view, pairs, goal, images)


@dataclass(frozen=True)
class Bytes(Kind):
    def __call__(self, view, pairs, goal, budget):
        honest = self.result(view, pairs, goal, pairs.probe)
        return replace(honest, images=(pairs.probe * 255).to(torch.uint8))


class Net(torch.nn.Module):
    def __init__(self, width: int = 1) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.AvgPool2d(8), torch.nn.Flatten(), torch.nn.Linear(588, 32 * width))

    def forward(self, images):
        feature = self.body(images)
        return feature, feature.norm(dim=1, keepdim=True)


class Sloppy:
    by: float = 0.1
    bounded = True

    def __call__(self, view, pairs):
        return pairs.probe
"""
NAMES = {"brighten": "Brighten", "greedy": "Greedy", "spoilt": "Spoilt", "bytes": "Bytes", "sloppy": "Sloppy"}
SMALL = [
    "dataset.people=30",
    "dataset.photos_per_person=2",
    "dataset.pairs=60",
    "dataset.limit=20",
    "recognizer.min_clean_accuracy=null",
]


class Answer(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with options of one's own and the module that they name, which can be imported."""
    (tmp_path / "my_parts.py").write_text(MODULE)
    (tmp_path / "conf" / "attack").mkdir(parents=True)
    for option, name in NAMES.items():
        by = "by: 0.2\n" if option in ("brighten", "sloppy") else ""
        text = f"# An attack of my own, {option}.\n_target_: my_parts.{name}\n{by}"
        (tmp_path / "conf" / "attack" / f"{option}.yaml").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("my_parts", None)


@pytest.fixture
def run(own: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    def go(*words: str) -> Answer:
        quick = ["~protocol.postprocessing", "protocol.bootstrap=20", "protocol.num_samples=0", "device=cpu"]
        code = main(["run", f"--config-dir={own / 'conf'}", *SMALL, f"paths.results={own / 'results'}", *quick, *words])
        return Answer(code, *capfd.readouterr())

    return go


def test_an_attack_of_ones_own_runs_when_its_package_is_trusted_and_only_then(run: Callable[..., Answer]) -> None:
    refused = run("attack=brighten")
    assert refused.code == 2
    assert "my_parts.Brighten" in refused.err and "trust=[my_parts]" in refused.err
    assert len(refused.err.strip().splitlines()) == 1
    trusted = run("attack=brighten", "trust=[my_parts]")
    assert trusted.code == 0, trusted.err
    assert "brighten" in trusted.out and "ASR" in trusted.out


def test_what_an_own_attack_does_wrong_stands_in_its_line_and_in_the_last_line(run: Callable[..., Answer]) -> None:
    """NaN and too much are flags of a counted cell; what is no image is an error, and the sweep goes on."""
    answer = run("-m", "attack=spoilt,bytes,greedy", "trust=[my_parts]")
    assert answer.code == 2
    (spoilt,) = (line for line in answer.out.splitlines() if " spoilt " in line)
    (greedy,) = (line for line in answer.out.splitlines() if " greedy " in line)
    assert "ASR   0.0 %" in spoilt and "broken_images" in spoilt and "budget_violated" not in spoilt
    assert "budget_violated" in greedy and "broken_images" not in greedy
    (error,) = (line for line in answer.err.splitlines() if line.startswith("frbench:"))
    assert "my_parts.Bytes" in error and "my_parts.py" in error and "uint8" in error and "float32" in error
    last = answer.out.splitlines()[-1]
    assert last.startswith("3 cells: 2 done, 1 failed; flags: ")
    assert "broken_images in 1" in last and "budget_violated in 1" in last


def test_a_class_that_breaks_the_contract_is_one_line_with_all_that_is_missing(run: Callable[..., Answer]) -> None:
    answer = run("attack=sloppy", "trust=[my_parts]")
    assert answer.code == 2
    assert len(answer.err.strip().splitlines()) == 1, answer.err
    expected = ["my_parts.Sloppy", "my_parts.py", "not a dataclass", "needs_gradient", "stops_early", "batch_dependent"]
    assert not [each for each in [*expected, "(view, pairs, goal, budget)"] if each not in answer.err]


def test_own_options_are_listed_with_what_they_are_and_what_can_be_set(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ["--config-dir", str(own / "conf")]
    assert main(["options", "attack", *folder]) == 0
    listed = capsys.readouterr().out
    assert re.search(r"^brighten +An attack of my own, brighten\.$", listed, re.M) and "Madry et al." in listed
    assert main(["options", "attack=brighten", *folder]) == 2
    assert "trust=[my_parts]" in capsys.readouterr().err
    assert main(["options", "attack=brighten", *folder, "trust=[my_parts]"]) == 0
    assert "by=0.2  a number from 0 to 1; how much brighter, on [0, 1]" in capsys.readouterr().out


def test_a_mistyped_option_of_ones_own_is_named(run: Callable[..., Answer]) -> None:
    assert "did you mean attack=brighten?" in run("attack=brigten").err
    assert "did you mean 'attack.by'?" in run("attack=brighten", "attack.bye=1", "trust=[my_parts]").err


def test_a_network_of_ones_own_is_attacked_with_weights_as_its_training_saved_them(
    own: Path, run: Callable[..., Answer]
) -> None:
    import my_parts  # type: ignore[import-not-found]

    torch.manual_seed(0)
    state = {f"module.{name}": value for name, value in my_parts.Net(width=2).state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, own / "mine.pth")
    network = ["recognizer.architecture._target_=my_parts.Net", "+recognizer.architecture.width=2", "trust=[my_parts]"]
    words = ["recognizer=pytorch", f"recognizer.weights={own / 'mine.pth'}", *network, "attack=fgsm"]
    answer = run(*words, "allow_low_accuracy=true")
    assert answer.code == 0, answer.err
    assert "ASR" in answer.out
    assert "state_dict" in answer.err and "module." in answer.err, "what was found inside the file is said"
    narrow = run(*(word.replace("width=2", "width=1") for word in words))
    assert narrow.code == 2 and "mine.pth" in narrow.err and "64" in narrow.err
