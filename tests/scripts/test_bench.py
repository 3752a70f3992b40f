"""The benchmark of a PGD step: every contender attacks, and ratios are those of the recorded times."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import PairBatch
from frbench.harness.recognizers.architectures.tiny import TinyNet
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer
from frbench.harness.threat_model.goals import Dodging, Impersonation

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        yield importlib.import_module("bench")


@pytest.fixture(scope="module")
def peers(script: ModuleType) -> ModuleType:
    return sys.modules["bench_peers"]


@pytest.fixture(scope="module")
def tiny() -> TorchRecognizer:
    return TorchRecognizer("tiny", TinyNet, "pkg:tiny.safetensors", mean=0.5, std=0.5)


@pytest.fixture(scope="module")
def work(peers: ModuleType) -> Sequence:
    """Two genuine pairs, noise beside the same noise dimmed, and two impostor pairs."""
    first, second, third = torch.rand(3, 2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    index = torch.arange(2)
    genuine = PairBatch(0.7 * first + 0.1, first, third, torch.tensor([True, True]), index, index)
    impostor = PairBatch(second, first, first, torch.tensor([False, False]), index, index + 2)
    return [peers.Task("dodging", Dodging(), genuine), peers.Task("impersonation", Impersonation(), impostor)]


@pytest.fixture(scope="module")
def found(script: ModuleType, tiny: TorchRecognizer, work: Sequence) -> dict[str, Any]:
    return json.loads(json.dumps(script.bench(tiny, work, rounds=3)))


def test_that_every_attack_serves_its_goal_and_the_libraries_end_where_we_do(found: dict[str, Any]) -> None:
    attacks = [row for row in found["rows"] if "final_cosine" in row]
    assert len(attacks) + len(found["not_installed"]) == 4
    assert attacks[0]["contender"] == "frbench PGD"
    for row in attacks:
        assert row["final_cosine"]["dodging"] < found["clean_cosine"]["dodging"] - 0.1
        assert row["final_cosine"]["impersonation"] > found["clean_cosine"]["impersonation"] + 0.1
        assert row["final_cosine"] == pytest.approx(attacks[0]["final_cosine"], abs=0.02)
    assert found["embedding_difference"] <= 1e-4


def test_that_ratios_are_medians_of_ratios_within_a_round(found: dict[str, Any]) -> None:
    seconds = np.array(found["seconds"])
    assert seconds.shape == (3, len(found["rows"]))
    assert (seconds > 0).all()
    for place, row in enumerate(found["rows"]):
        assert row["milliseconds"] == pytest.approx(1000 * np.median(seconds[:, place]))
        expected = [np.median(seconds[:, place] / seconds[:, base]) for base in (0, 2, 3)]
        assert list(row["ratios"].values()) == pytest.approx(expected)
    assert found["bars"][0]["ratio"] == found["rows"][1]["ratios"]["prepared"]


def test_that_a_step_is_timed_from_one_gradient_to_the_next(
    peers: ModuleType, tiny: TorchRecognizer, work: Sequence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock ticks at forward passes for gradients alone: not at enrolment, not at a library's last look."""
    ticks = iter(range(100))
    monkeypatch.setattr(peers, "perf_counter", lambda: float(next(ticks)))
    for contender in peers.contenders(tiny, quick=3, slow=3)[0]:
        if isinstance(contender, peers.AttackPass):
            start = next(ticks)
            assert contender.seconds(work[0]) == 1.0
            assert next(ticks) - start == 3 + 1 + 1  # three whole steps begin four gradients


def test_that_libraries_are_given_the_network_as_shipped_and_trainable(
    peers: ModuleType, tiny: TorchRecognizer, work: Sequence
) -> None:
    field = peers.contenders(tiny)[0]
    for contender in field:
        if isinstance(contender, peers.AttackPass) and contender.name != "frbench PGD":
            assert all(p.requires_grad for p in contender.recognizer.module.parameters())
            assert any(isinstance(layer, torch.nn.BatchNorm2d) for layer in contender.recognizer.module.modules())


def test_that_missing_libraries_are_listed(
    script: ModuleType, peers: ModuleType, tiny: TorchRecognizer, found: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    field, missing = peers.contenders(tiny)
    assert len(field) == 4
    setup = {"recognizer": "tiny", "dataset": "toy", "pairs": 2, "rounds": 3}
    result = found | {"setup": setup, "machine": script.machine(), "not_installed": missing}
    assert script.markdown(result).count("| not installed |") == 3


def test_that_too_few_pairs_are_a_one_line_error(script: ModuleType, pair_set: Callable) -> None:
    pairs = pair_set()
    assert [len(task.pairs) for task in script.tasks(pairs, 20)] == [20, 20]
    with pytest.raises(FrbenchError, match="use fewer") as told:
        script.tasks(replace(pairs, attacked=pairs.attacked[:10]), 8)
    assert "\n" not in str(told.value)


def test_that_all_take_turns_in_changing_order_and_tasks_alternate(script: ModuleType) -> None:
    turns: list[tuple[str, int]] = []

    def contender(place: int) -> SimpleNamespace:
        def seconds(task: str) -> float:
            turns.append((task, place))
            return float(place)

        return SimpleNamespace(seconds=seconds)

    seconds = script.measure([contender(place) for place in range(3)], ["dodge", "pose"], rounds=8)
    assert [task for task, _ in turns[::3]] == ["dodge", "pose"] * 5  # two of warm-up, eight timed
    orders = [tuple(place for _, place in turns[i : i + 3]) for i in range(0, len(turns), 3)]
    assert all(sorted(order) == [0, 1, 2] for order in orders)
    assert len(set(orders)) > 3
    assert seconds.tolist() == [[0, 1, 2]] * 8
