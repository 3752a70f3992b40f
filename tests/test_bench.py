"""The benchmark script: every contender attacks, and the figures it writes are ratios of what it timed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from frbench.harness.contracts import PairBatch
from frbench.harness.errors import FrbenchError
from frbench.harness.goals import Dodging, Impersonation
from frbench.harness.recognizers.tiny import TinyNet
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return pytest.importorskip("bench_peers")


@pytest.fixture
def script(peers: ModuleType) -> ModuleType:
    return pytest.importorskip("bench")


@pytest.fixture
def tiny() -> TorchRecognizer:
    return TorchRecognizer("tiny", partial(TinyNet), "pkg:tiny.safetensors", mean=0.5, std=0.5)


@pytest.fixture
def work(peers: ModuleType, batch: Callable[..., PairBatch]) -> Sequence:
    return [
        peers.Task("dodging", Dodging(), batch(4, 112, same=True)),
        peers.Task("impersonation", Impersonation(), batch(4, 112, same=False)),
    ]


def test_that_every_contender_is_timed_and_every_attack_serves_its_goal(
    script: ModuleType, tiny: TorchRecognizer, work: Sequence
) -> None:
    found = json.loads(json.dumps(script.bench(tiny, work, rounds=2)))
    attacks = [row for row in found["rows"] if "final_cosine" in row]
    assert len(attacks) + len(found["not_installed"]) == 4
    assert attacks[0]["contender"] == "frbench PGD"
    for row in attacks:
        assert row["final_cosine"]["dodging"] < found["clean_cosine"]["dodging"] - 0.1
        assert row["final_cosine"]["impersonation"] > found["clean_cosine"]["impersonation"] + 0.1
        for goal, cosine in row["final_cosine"].items():  # one algorithm, four implementations
            assert cosine == pytest.approx(attacks[0]["final_cosine"][goal], abs=0.02)
    assert found["embedding_difference"] <= 1e-4


def test_that_ratios_are_medians_of_ratios_within_a_round(
    script: ModuleType, tiny: TorchRecognizer, work: Sequence
) -> None:
    found = script.bench(tiny, work, rounds=3)
    seconds = np.array(found["seconds"])
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
    script: ModuleType, peers: ModuleType, tiny: TorchRecognizer, work: Sequence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    found = script.bench(tiny, work, rounds=1)
    setup = {"recognizer": "tiny", "dataset": "toy", "pairs": 4, "rounds": 1}
    table = script.markdown(found | {"setup": setup, "machine": script.machine()})
    assert table.count("| not installed |") == 3
    assert len(found["rows"]) == 4


def test_that_too_few_pairs_are_told_in_one_line(script: ModuleType, pair_set: Callable) -> None:
    pairs = pair_set()
    assert [len(task.pairs) for task in script.tasks(pairs, 20)] == [20, 20]
    with pytest.raises(FrbenchError, match="ask for fewer") as told:
        script.tasks(replace(pairs, attacked=pairs.attacked[:10]), 8)
    assert "\n" not in str(told.value)


def test_that_the_order_of_turns_rotates_and_tasks_alternate(script: ModuleType) -> None:
    turns: list[tuple[str, str]] = []

    def contender(name: str) -> SimpleNamespace:
        def seconds(task: str) -> float:
            turns.append((task, name))
            return float(len(turns))

        return SimpleNamespace(name=name, seconds=seconds)

    seconds = script.measure([contender("x"), contender("y"), contender("z")], ["dodge", "pose"], rounds=3)
    assert [task for task, _ in turns[::3]] == ["dodge", "pose", "dodge", "pose", "dodge"]
    assert ["".join(name for _, name in turns[i : i + 3]) for i in (6, 9, 12)] == ["xyz", "yzx", "zxy"]
    assert seconds.tolist() == [[7, 8, 9], [12, 10, 11], [14, 15, 13]]
