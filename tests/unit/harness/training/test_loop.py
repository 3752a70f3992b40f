"""The training loop: exact resumption, order and noise by the seed alone, decay, bad losses and mixed precision."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.reference_fits import context, faces
from torch import Tensor, nn

from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import Images
from frbench.harness.runtime.interrupts import Interrupted, handling_signals
from frbench.harness.training import loop as training
from frbench.harness.training.loop import Schedule, train

PEOPLE = faces(23, 8)
SCHEDULE = Schedule(
    epochs=4, batch_size=5, lr=0.05, lr_gamma=0.5, lr_step_size=2
)  # four batches an epoch, three faces over


class Toy(nn.Module):
    """Learns to tell the first pixel from the others, with noise; remembers what it was given."""

    def __init__(self, stop_after: int | None = None, bad_at: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(11)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(192, 7), nn.BatchNorm1d(7), nn.Tanh(), nn.Linear(7, 1))
        self.stop_after, self.bad_at = stop_after, bad_at
        self.rows: list[list[int]] = []
        self.noise: list[Tensor] = []
        self.steps: list[int] = []

    def loss(self, images: Images, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        noise = torch.randn(images.shape, generator=generator)
        self.rows.append(rows.tolist())
        self.noise.append(noise)
        error = self.layers(images + 0.1 * noise)[:, 0].float() - images[:, 0, 0, 0]
        loss = error.square().mean()
        if len(self.rows) == self.bad_at:
            loss = loss * float("nan")
        return loss, {"largest": error.abs().max()}

    def after_step(self, steps: int) -> None:
        self.steps.append(steps)
        if steps == self.stop_after:
            raise KeyboardInterrupt


@pytest.fixture
def always_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_CHECKPOINT_SECONDS", 0.0)


def weights(learner: nn.Module) -> dict[str, Tensor]:
    return {name: each.clone() for name, each in learner.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.usefixtures("always_kept")
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("stop_after", [1, 6, 8, 9, 16], ids="stopped in step {}".format)
def test_what_was_stopped_goes_on_to_the_same_bits(optimizer: str, stop_after: int, tmp_path: Path) -> None:
    schedule = replace(SCHEDULE, optimizer=optimizer)
    whole = Toy()
    history = train(whole, schedule, context(PEOPLE, tmp_path / "whole.unfinished"), "whole")
    unfinished = tmp_path / "stopped.unfinished"
    with pytest.raises(KeyboardInterrupt):
        train(Toy(stop_after), schedule, context(PEOPLE, unfinished), "stopped")
    assert unfinished.exists() == (stop_after > 1)
    again = Toy()
    nn.init.zeros_(again.layers[1].weight)  # what it begins with does not matter once there is a state
    if stop_after == 1:
        again = Toy()
    found = train(again, schedule, context(PEOPLE, unfinished), "again")
    assert same(weights(again), weights(whole))
    assert same(found, history)
    assert again.steps[0] == max(stop_after, 1), "it went on from the last step that was kept"
    assert again.rows == whole.rows[stop_after - 1 :]


class Signalled(Toy):
    """Gets a signal in the step ``stop_after``."""

    def after_step(self, steps: int) -> None:
        self.steps.append(steps)
        if steps == self.stop_after:
            os.kill(os.getpid(), signal.SIGUSR2)


@pytest.mark.parametrize("stop_after", [1, 6, 8], ids="signal in step {}".format)
def test_a_signal_stops_after_its_step_and_no_step_is_lost(stop_after: int, tmp_path: Path) -> None:
    whole, unfinished = Toy(), tmp_path / "stopped.unfinished"
    history = train(whole, SCHEDULE, context(PEOPLE, tmp_path / "whole.unfinished"), "whole")
    with pytest.raises(Interrupted, match=f"step {stop_after}"), handling_signals():
        train(Signalled(stop_after), SCHEDULE, context(PEOPLE, unfinished), "stopped")
    again = Toy()
    found = train(again, SCHEDULE, context(PEOPLE, unfinished), "again")
    assert again.steps[0] == stop_after + 1
    assert same(weights(again), weights(whole)) and same(found, history)


def test_a_run_stopped_between_two_savings_goes_on_from_the_epoch(tmp_path: Path) -> None:
    """Work of less than a minute is lost, and nothing else."""
    whole, unfinished = Toy(), tmp_path / "stopped.unfinished"
    history = train(whole, SCHEDULE, context(PEOPLE, tmp_path / "whole.unfinished"), "whole")
    with pytest.raises(KeyboardInterrupt):
        train(Toy(stop_after=11), SCHEDULE, context(PEOPLE, unfinished), "stopped")
    again = Toy()
    found = train(again, SCHEDULE, context(PEOPLE, unfinished), "again")
    assert again.steps[0] == 9
    assert same(weights(again), weights(whole)) and same(found, history)


def test_a_finished_run_that_is_asked_again_takes_no_step(tmp_path: Path) -> None:
    first, again = Toy(), Toy()
    history = train(first, SCHEDULE, context(PEOPLE, tmp_path / "x.unfinished"), "first")
    assert same(train(again, SCHEDULE, context(PEOPLE, tmp_path / "x.unfinished"), "again"), history)
    assert not again.steps and same(weights(again), weights(first))


def test_each_epoch_takes_each_face_at_most_once_and_in_another_order(tmp_path: Path) -> None:
    toy = Toy()
    history = train(toy, SCHEDULE, context(PEOPLE, tmp_path / "x.unfinished"), "toy")
    epochs = [toy.rows[first : first + 4] for first in range(0, 16, 4)]
    for epoch in epochs:
        flat = [row for batch in epoch for row in batch]
        assert len(flat) == 20 == len(set(flat)) and max(flat) < 23
    assert len({str(epoch) for epoch in epochs}) == 4
    assert {row for batch in toy.rows for row in batch} == set(range(23)), "who is left out changes"
    assert toy.steps == list(range(1, 17))
    assert {name: len(each) for name, each in history.items()} == {"loss": 4, "largest": 4}
    assert not toy.training


def test_the_figures_kept_are_means_over_the_epoch(tmp_path: Path) -> None:
    still = replace(SCHEDULE, lr=0.0, epochs=1)
    toy = Toy()
    told: list[float] = []
    usual = toy.loss

    def listening(*given: Any) -> Any:
        loss, figures = usual(*given)
        told.append(float(loss.detach()))
        return loss, figures

    toy.loss = listening  # type: ignore[method-assign]
    history = train(toy, still, context(PEOPLE, tmp_path / "x.unfinished"), "toy")
    assert float(history["loss"][0]) == pytest.approx(np.mean(told), rel=1e-6)


def test_order_and_noise_are_functions_of_the_seed(tmp_path: Path) -> None:
    def run(seed: int, number: int) -> Toy:
        torch.manual_seed(number)  # the global state has no say
        toy = Toy()
        torch.manual_seed(number)
        train(toy, SCHEDULE, context(PEOPLE, tmp_path / f"{number}.unfinished", seed), "toy")
        return toy

    one, again, other = run(0, 1), run(0, 2), run(1, 3)
    assert one.rows == again.rows != other.rows
    assert all(torch.equal(a, b) for a, b in zip(one.noise, again.noise, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one.noise, other.noise, strict=True))
    assert len({each.sum().item() for each in one.noise}) == 16, "the noise is another one in every step"
    assert same(weights(one), weights(again))


def test_the_rate_decays_after_every_so_many_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    usual = torch.optim.SGD.step

    def noted(self: torch.optim.SGD, *given: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return usual(self, *given)

    monkeypatch.setattr(torch.optim.SGD, "step", noted)
    train(Toy(), replace(SCHEDULE, epochs=5), context(PEOPLE, tmp_path / "x.unfinished"), "toy")
    assert rates == [0.05] * 8 + [0.025] * 8 + [0.0125] * 4


def test_without_momentum_and_decay_a_step_is_the_gradient_times_the_rate(tmp_path: Path) -> None:
    schedule = Schedule(epochs=1, batch_size=23, lr=0.3, momentum=0.0)
    toy, reference = Toy(), Toy()
    train(toy, schedule, context(PEOPLE, tmp_path / "x.unfinished"), "toy")
    images = PEOPLE.load(np.array(toy.rows[0]))
    told = reference.train().layers(images + 0.1 * toy.noise[0])[:, 0]
    (told - images[:, 0, 0, 0]).square().mean().backward()
    for moved, known in zip(toy.parameters(), reference.parameters(), strict=True):
        assert known.grad is not None
        assert torch.allclose(moved, known - 0.3 * known.grad, atol=1e-6)


def test_frozen_weights_stay_as_they_were(tmp_path: Path) -> None:
    toy = Toy()
    toy.layers[1].requires_grad_(False)
    before = weights(toy)
    train(toy, SCHEDULE, context(PEOPLE, tmp_path / "x.unfinished"), "toy")
    assert torch.equal(toy.layers[1].weight, before["layers.1.weight"])
    assert not torch.equal(toy.layers[4].weight, before["layers.4.weight"])


@pytest.mark.usefixtures("always_kept")
def test_a_loss_that_is_not_finite_is_told_in_a_line_and_the_last_good_state_stays(tmp_path: Path) -> None:
    unfinished = tmp_path / "toy.unfinished"
    with pytest.raises(
        FrbenchError, match=r"epoch 2 .*step 7.*lower lr than 0\.05; .* is in .*toy\.unfinished"
    ) as told:
        train(Toy(bad_at=7), SCHEDULE, context(PEOPLE, unfinished), "toy")
    assert "\n" not in str(told.value)
    again = Toy()
    train(again, SCHEDULE, context(PEOPLE, unfinished), "again")
    assert again.steps[0] == 7
    assert all(bool(torch.isfinite(each).all()) for each in again.state_dict().values())


def test_where_no_good_state_was_kept_yet_none_is_promised(tmp_path: Path) -> None:
    with pytest.raises(FrbenchError, match=r"epoch 1 .*; there is no checkpoint yet$"):
        train(Toy(bad_at=1), SCHEDULE, context(PEOPLE, tmp_path / "toy.unfinished"), "toy")
    assert not (tmp_path / "toy.unfinished").exists()


@pytest.mark.usefixtures("always_kept")
def test_weights_that_are_not_finite_are_never_kept_though_the_loss_still_was(tmp_path: Path) -> None:
    """A gradient may be NaN where the loss is not: the loss would show it only in the next step."""
    unfinished = tmp_path / "toy.unfinished"
    with pytest.raises(FrbenchError, match="not finite"):
        train(Broken(3), SCHEDULE, context(PEOPLE, unfinished), "toy")
    kept = torch.load(unfinished, weights_only=True)
    assert kept["steps"] == 2
    assert all(bool(torch.isfinite(each).all()) for each in kept["learner"].values())


@pytest.mark.usefixtures("always_kept")
def test_weights_that_are_not_finite_after_the_last_step_are_no_result(tmp_path: Path) -> None:
    with pytest.raises(FrbenchError, match="not finite"):
        train(Broken(16), SCHEDULE, context(PEOPLE, tmp_path / "toy.unfinished"), "toy")


class Broken(Toy):
    """A finite loss with a gradient that is not, in one step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def loss(self, images: Images, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        loss, figures = super().loss(images, rows, generator)
        if len(self.rows) == self.step:
            loss = loss + (self.layers[4].bias * 0).abs().pow(0.5).sum()
        return loss, figures


def test_fewer_faces_than_a_batch_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FrbenchError, match="batch_size=24 exceeds the 23 faces of toy"):
        train(Toy(), replace(SCHEDULE, batch_size=24), context(PEOPLE, tmp_path / "x.unfinished"), "toy")


def test_no_epochs_leave_the_learner_as_it_was_and_log_nothing(tmp_path: Path) -> None:
    toy = Toy()
    before = weights(toy)
    assert train(toy, replace(SCHEDULE, epochs=0), context(PEOPLE, tmp_path / "x.unfinished"), "toy") == {}
    assert same(weights(toy), before)


def test_mixed_precision_runs_in_bfloat16_and_keeps_its_weights_in_float32(tmp_path: Path) -> None:
    toy, seen = Toy(), []
    toy.layers[1].register_forward_hook(lambda layer, given, out: seen.append(out.dtype))
    history = train(toy, replace(SCHEDULE, precision="mixed"), context(PEOPLE, tmp_path / "x.unfinished"), "toy")
    assert set(seen) == {torch.bfloat16}
    assert {each.dtype for each in toy.parameters()} == {torch.float32}
    assert all(bool(torch.isfinite(each).all()) for each in (*toy.parameters(), *history.values()))
    assert history["loss"][-1] < history["loss"][0]


def test_a_learner_gets_better(tmp_path: Path) -> None:
    toy = Toy()
    history = train(toy, replace(SCHEDULE, epochs=20, lr_gamma=1.0), context(PEOPLE, tmp_path / "x.unfinished"), "toy")
    assert history["loss"][-1] < 0.5 * history["loss"][0]
