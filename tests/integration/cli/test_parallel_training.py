"""Training by several processes: the curve of one, one state, one artifact, and errors told once. (gloo, on the CPU)"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support import distributed_worker as trained_together
from support.distributed_worker import SCHEDULE, Monitored, result, together
from support.reference_fits import context
from unit.harness.training.test_loop import PEOPLE, Toy, same

from frbench.harness.cli.main import main
from frbench.harness.core.errors import FrbenchError
from frbench.harness.runtime import distributed
from frbench.harness.training.loop import train

# Means of two gradients, taken in another order: float32, a few units in the last place over fifteen steps.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def both(folder: Path) -> list[dict[str, Any]]:
    """What two processes found."""
    ends = together([trained_together.__file__, str(folder)])
    assert [each.returncode for each in ends] == [0, 0], "\n".join(each.stderr for each in ends)
    assert [each.stdout for each in ends] == ["printed by 0\n", ""], "the second prints nothing"
    assert not any("Warning" in each.stderr for each in ends), ends[0].stderr
    return [torch.load(folder / f"found{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.fixture(scope="module")
def one(folder: Path) -> dict[str, Any]:
    """What one process finds that takes both batches of each step."""
    return result(Monitored(), SCHEDULE, folder / "one.unfinished")


def test_two_processes_have_the_loss_curve_of_one_that_accumulates(
    both: list[dict[str, Any]], one: dict[str, Any]
) -> None:
    """Statistics of batch normalisation are those of a process's own batches; they take no part in training."""
    for found in both:
        history = found["whole"]["history"]
        for name in ("loss", "largest"):
            torch.testing.assert_close(history[name], one["history"][name], **CLOSE)
        for name, weight in one["weights"].items():
            if "running" not in name and "num_batches" not in name:
                torch.testing.assert_close(found["whole"]["weights"][name], weight, **CLOSE)
    assert one["history"]["loss"][-1] < one["history"]["loss"][0]


def test_each_batch_goes_to_one_process_in_turn(both: list[dict[str, Any]], one: dict[str, Any]) -> None:
    rows = [found["whole"]["rows"] for found in both]
    assert [row for pair in zip(*rows, strict=True) for row in pair] == one["rows"]
    assert [found["whole"]["steps"] for found in both] == [list(range(1, 16))] * 2 == [one["steps"]] * 2


def test_processes_end_with_the_same_weights_statistics_and_history(both: list[dict[str, Any]]) -> None:
    first, second = (found["whole"] for found in both)
    assert same(first["weights"], second["weights"]) and same(first["history"], second["history"])
    assert first["history"]["looked"].tolist() == [0.0, 0.0], "after two epochs and in the end, seen by the first"


def test_a_weight_that_no_loss_uses_stays_as_it_was(both: list[dict[str, Any]]) -> None:
    for name in ("unused.weight", "unused.bias"):
        assert torch.equal(both[0]["spared"]["weights"][name], both[1]["spared"]["weights"][name])
    torch.manual_seed(11)
    begun = trained_together.Sparing().state_dict()["unused.weight"]
    assert torch.equal(both[0]["spared"]["weights"]["unused.weight"], begun)


@pytest.mark.parametrize("stop_after", [3, 5, 9])
def test_what_was_stopped_goes_on_to_the_same_bits(stop_after: int, both: list[dict[str, Any]]) -> None:
    whole = both[0]["whole"]
    for found in both:
        again = found[f"stopped{stop_after}"]
        assert again["steps"][0] == stop_after
        assert same(again["weights"], whole["weights"])
        assert same(again["history"], {name: whole["history"][name] for name in ("loss", "largest")})


def test_a_signal_to_the_first_process_stops_both_after_the_same_step(both: list[dict[str, Any]]) -> None:
    for found in both:
        assert found["signalled"] == "training stopped after step 4"
        assert found["after signal"]["steps"][0] == 5
        assert same(found["after signal"]["weights"], both[0]["whole"]["weights"])


def test_one_process_goes_on_from_what_two_began(both: list[dict[str, Any]], folder: Path, tmp_path: Path) -> None:
    """How many processes there are is no part of the state."""
    state = torch.load(folder / "bad.unfinished", weights_only=True)
    (tmp_path / "x.unfinished").write_bytes((folder / "bad.unfinished").read_bytes())
    toy = Toy()
    history = train(toy, SCHEDULE, context(PEOPLE, tmp_path / "x.unfinished"), "toy")
    assert toy.steps[0] == state["steps"] + 1 == 7
    torch.testing.assert_close(history["loss"], both[0]["whole"]["history"]["loss"], **CLOSE)


def test_a_loss_that_is_not_finite_in_the_second_process_is_told_by_the_first(
    both: list[dict[str, Any]], folder: Path
) -> None:
    assert [found["bad"] for found in both][1] == "exit 2"
    assert "not finite in epoch 2 (step 7)" in both[0]["bad"] and "bad.unfinished" in both[0]["bad"]
    state = torch.load(folder / "bad.unfinished", weights_only=True)
    assert state["steps"] == 6
    assert all(bool(torch.isfinite(each).all()) for each in (*state["learner"].values(), *state["sums"].values()))


def test_batches_that_cannot_be_shared_out_are_an_error_with_what_to_do(both: list[dict[str, Any]]) -> None:
    assert [found["alone"] for found in both][1] == "exit 2"
    assert "gradient_accumulation_steps=1 is not a multiple of the 2 processes" in both[0]["alone"]
    assert "++training.schedule.gradient_accumulation_steps=2" in both[0]["alone"]
    assert both[0]["few"] == "batch_size=12 times 2 exceeds the 23 faces of toy"


def test_processes_tell_each_other(both: list[dict[str, Any]]) -> None:
    for rank, found in enumerate(both):
        said = found["words"]
        assert said["who"] == (rank, 2, rank == 0)
        assert said["gathered"].tolist() == [[0.0, 5.0], [1.0, 5.0]]
        assert [each.tolist() for each in said["spread"]] == [[[0.0] * 2] * 3, 0]
        assert said["told"] == [True, False] and said["bytes"] == ["of 0", ""]


def test_one_process_alone_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    distributed.init_distributed()
    assert (distributed.rank(), distributed.world_size(), distributed.is_main_process()) == (0, 1, True)
    assert (
        distributed.broadcast_flag(True)
        and not distributed.broadcast_flag(False)
        and distributed.broadcast_bytes(b"x") == b"x"
    )
    assert distributed.all_gather(torch.ones(3)).shape == (1, 3)
    mine = torch.ones(2)
    distributed.broadcast([mine])
    assert mine.tolist() == [1, 1] and distributed.process_device(torch.device("cuda")) == torch.device("cuda")
    with pytest.raises(FrbenchError, match="so it is"):
        distributed.abort("so it is")


WORDS = ["fit", "defense=autoencoder", "identities=synthetic", "identities.people=4", "identities.photos_per_person=2"]
WORDS += ["recognizer=tiny", "device=cpu", "defense.recipe.widths=[4]", "defense.recipe.schedule.epochs=2"]
WORDS += ["defense.recipe.schedule.batch_size=2"]


def launched(*words: str) -> subprocess.CompletedProcess[str]:
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "frbench.harness.cli.main"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *command, *words], env=environment, capture_output=True, text=True, timeout=250, check=False
    )


def test_torchrun_fits_one_artifact_that_one_process_finds(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = [*WORDS, *(f"paths.{name}={tmp_path / name}" for name in ("results", "cache"))]
    words += ["++defense.recipe.schedule.gradient_accumulation_steps=2"]
    ended = launched(*words)
    assert ended.returncode == 0, ended.stderr
    (artifact,) = (tmp_path / "results" / "artifacts").iterdir()
    assert ended.stdout.count(str(artifact)) == 1 and ended.stdout.count("->") == 1, ended.stdout
    before = artifact.stat().st_mtime_ns
    assert main(words) == 0
    assert capfd.readouterr().out == ended.stdout, "found, not made anew"
    assert artifact.stat().st_mtime_ns == before
