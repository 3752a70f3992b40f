"""The engine of training: batches gathered into steps, curves of the rate, decay of weights, looks at intervals, bad
states, and batches loaded ahead."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.reference_fits import context
from torch import Tensor, nn
from unit.harness.training.test_loop import PEOPLE, Toy, same, weights

from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import FaceSet
from frbench.harness.training import loop as training
from frbench.harness.training.loop import Monitored, Schedule, train

SCHEDULE = Schedule(
    epochs=3, batch_size=3, lr=0.1, gradient_accumulation_steps=2, lr_scheduler="polynomial"
)  # three steps of six faces


class Plain(Toy):
    """Without batch normalisation, so that a batch in two halves has the gradient of the whole; and without noise."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__(stop_after)
        self.layers[2] = nn.Identity()

    def loss(self, images: Tensor, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        self.rows.append(rows.tolist())
        error = self.layers(images)[:, 0].float() - images[:, 0, 0, 0]
        return error.square().mean(), {}


def rates_of(schedule: Schedule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    rates: list[float] = []
    usual = torch.optim.SGD.step

    def noted(self: torch.optim.SGD, *given: Any) -> Any:
        assert len({group["lr"] for group in self.param_groups}) == 1
        rates.append(self.param_groups[0]["lr"])
        return usual(self, *given)

    monkeypatch.setattr(torch.optim.SGD, "step", noted)
    train(Toy(), schedule, context(PEOPLE, tmp_path / "x.unfinished"), "toy")
    return rates


def test_a_step_of_two_batches_is_a_step_of_one_twice_as_large(tmp_path: Path) -> None:
    schedule = replace(SCHEDULE, batch_size=12, gradient_accumulation_steps=1, grad_clip_norm=0.5, weight_decay=0.1)
    whole, halves = Plain(), Plain()
    train(whole, schedule, context(PEOPLE, tmp_path / "x.unfinished"), "whole")
    train(
        halves,
        replace(schedule, batch_size=6, gradient_accumulation_steps=2),
        context(PEOPLE, tmp_path / "y.unfinished"),
        "halves",
    )
    for half, full in zip(halves.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(half, full, rtol=1e-5, atol=1e-6)
    pairs = zip(halves.rows[::2], halves.rows[1::2], strict=True)
    assert [sorted(one + other) for one, other in pairs] == whole.rows
    assert halves.steps == whole.steps == [1, 2, 3]


def test_an_epoch_has_as_many_steps_as_the_schedule_says(tmp_path: Path) -> None:
    toy = Toy()
    history = train(toy, SCHEDULE, context(PEOPLE, tmp_path / "x.unfinished"), "toy")
    assert SCHEDULE.per_epoch(23) == 3 and len(toy.rows) == 18 and toy.steps == list(range(1, 10))
    assert len({each.sum().item() for each in toy.noise}) == 18, "the noise is another one in every batch"
    flat = [row for batch in toy.rows[:6] for row in batch]
    assert len(set(flat)) == 18
    assert {name: len(each) for name, each in history.items()} == {"loss": 3, "largest": 3}


@pytest.mark.parametrize("batches", [0, -1])
def test_no_batches_make_no_step(batches: int, tmp_path: Path) -> None:
    with pytest.raises(FrbenchError, match=f"gradient_accumulation_steps={batches} "):
        train(
            Toy(),
            replace(SCHEDULE, gradient_accumulation_steps=batches),
            context(PEOPLE, tmp_path / "x.unfinished"),
            "toy",
        )


def test_a_step_larger_than_the_set_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FrbenchError, match="batch_size=8 times 3 exceeds the 23 faces of toy"):
        train(
            Toy(),
            replace(SCHEDULE, batch_size=8, gradient_accumulation_steps=3),
            context(PEOPLE, tmp_path / "x.unfinished"),
            "toy",
        )


def test_a_polynomial_rate_goes_to_zero_by_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = rates_of(replace(SCHEDULE, power=3.0, lr_gamma=0.1), tmp_path, monkeypatch)
    assert rates == pytest.approx([0.1 * (1 - step / 9) ** 3 for step in range(9)])


def test_a_cosine_rate_is_that_of_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = rates_of(replace(SCHEDULE, lr_scheduler="cosine"), tmp_path, monkeypatch)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 9)
    for rate in tuple(rates):
        assert rate == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_weights_decay_and_biases_and_normalisation_do_not(optimizer: str, tmp_path: Path) -> None:
    """Without a gradient nothing but the decay is left."""

    class Still(Toy):
        def loss(self, images: Tensor, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
            return sum((each.sum() * 0 for each in self.parameters()), torch.zeros(())), {}

    toy = Still()
    before = weights(toy)
    schedule = Schedule(1, 23, 0.1, optimizer, momentum=0.0, weight_decay=0.01)  # type: ignore[arg-type]
    train(toy, schedule, context(PEOPLE, tmp_path / "x.unfinished"), "toy")
    for name, weight in toy.named_parameters():
        if weight.ndim == 1:
            assert torch.equal(weight, before[name]), name
        else:
            torch.testing.assert_close(weight, before[name] * (1 - 0.1 * 0.01))


def test_momentum_is_that_of_the_schedule() -> None:
    for momentum in (0.0, 0.9):
        (group,) = Schedule(1, 2, 0.1, momentum=momentum).make_optimizer([nn.Parameter(torch.zeros(1))]).param_groups
        assert group["momentum"] == momentum


@pytest.mark.parametrize("curve", ["polynomial", "cosine", "step"])
@pytest.mark.parametrize("stop_after", [2, 4, 6, 8])
def test_what_was_stopped_goes_on_to_the_same_bits(
    curve: str, stop_after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_CHECKPOINT_SECONDS", 0.0)
    schedule = replace(SCHEDULE, lr_scheduler=curve, weight_decay=0.01, grad_clip_norm=0.5, lr_gamma=0.5)
    whole, again, unfinished = Toy(), Toy(), tmp_path / "stopped.unfinished"
    history = train(whole, schedule, context(PEOPLE, tmp_path / "whole.unfinished"), "whole")
    with pytest.raises(KeyboardInterrupt):
        train(Toy(stop_after), schedule, context(PEOPLE, unfinished), "stopped")
    found = train(again, schedule, context(PEOPLE, unfinished), "again")
    assert same(weights(again), weights(whole)) and same(found, history)
    assert again.rows == whole.rows[2 * (stop_after - 1) :], "it goes on within the epoch, with the same batches"


class Looking(Toy):
    """Counts how often it was looked at, and how."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self.val_every_n_epochs = every
        self.modes: list[tuple[bool, bool]] = []

    def monitored_metrics(self) -> dict[str, Tensor]:
        self.modes.append((self.training, torch.is_grad_enabled()))
        return {"looks": torch.tensor(len(self.modes)), "worse": torch.tensor(-float(len(self.modes)))}


@pytest.mark.parametrize(("every", "looks"), [(1, 5), (2, 3), (5, 1), (9, 1)])
def test_a_learner_is_looked_at_after_every_so_many_epochs_and_the_last(every: int, looks: int, tmp_path: Path) -> None:
    toy, plain = Looking(every), Toy()
    assert isinstance(toy, Monitored) and not isinstance(plain, Monitored)
    schedule = replace(SCHEDULE, epochs=5)
    history = train(toy, schedule, context(PEOPLE, tmp_path / "x.unfinished"), "toy")
    assert history["looks"].tolist() == list(range(1, looks + 1)) and len(history["loss"]) == 5
    assert set(toy.modes) == {(False, False)}
    train(plain, schedule, context(PEOPLE, tmp_path / "y.unfinished"), "plain")
    assert same(weights(toy), weights(plain)), "looking changes nothing"


class Wider(Toy):
    """Another architecture."""

    def __init__(self) -> None:
        super().__init__()
        self.layers[1], self.layers[2], self.layers[4] = nn.Linear(192, 9), nn.BatchNorm1d(9), nn.Linear(9, 1)


class Deeper(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.layers.append(nn.Linear(1, 1))


@pytest.mark.parametrize("other", [Wider, Deeper])
def test_a_state_of_another_architecture_is_told_in_a_line_and_stays(other: type[Toy], tmp_path: Path) -> None:
    unfinished = tmp_path / "toy.unfinished"
    train(Toy(), SCHEDULE, context(PEOPLE, unfinished), "toy")
    before = unfinished.read_bytes()
    with pytest.raises(FrbenchError, match=r"toy\.unfinished does not match this model \(.*layers.*delete it") as e:
        train(other(), SCHEDULE, context(PEOPLE, unfinished), "other")
    assert "\n" not in str(e.value)
    assert unfinished.read_bytes() == before


def test_a_state_of_another_optimizer_is_told_too(tmp_path: Path) -> None:
    unfinished = tmp_path / "toy.unfinished"
    train(Toy(), SCHEDULE, context(PEOPLE, unfinished), "toy")
    with pytest.raises(FrbenchError, match="does not match this model .* optimizer settings"):
        train(Toy(), replace(SCHEDULE, weight_decay=0.1), context(PEOPLE, unfinished), "other")


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: b"no state" * 99, lambda data: b""])
def test_a_damaged_state_is_told_in_a_line(damage: Any, tmp_path: Path) -> None:
    unfinished = tmp_path / "toy.unfinished"
    train(Toy(), SCHEDULE, context(PEOPLE, unfinished), "toy")
    unfinished.write_bytes(damage(unfinished.read_bytes()))
    with pytest.raises(FrbenchError, match=r"toy\.unfinished: .*checksum.*delete it") as told:
        train(Toy(), SCHEDULE, context(PEOPLE, unfinished), "other")
    assert "\n" not in str(told.value)


def test_the_next_batch_is_loaded_while_this_one_is_learned_from(tmp_path: Path) -> None:
    """Learning from a batch waits until the next is asked for: it would wait for ever, were it asked for later."""
    asked = [threading.Event() for _ in range(8)]
    where: set[str] = set()

    class Slow(FaceSet):
        def load(self, rows: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
            where.add(threading.current_thread().name)
            next(each for each in asked if not each.is_set()).set()
            return super().load(rows, device)

    class Patient(Toy):
        def loss(self, *given: Any) -> Any:
            found = super().loss(*given)
            number = len(self.rows)
            assert number % 4 == 0 or asked[number].wait(20), "no batch was loaded ahead"
            return found

    people = Slow(PEOPLE.name, PEOPLE.images, PEOPLE.identity, PEOPLE.people, PEOPLE.digest)
    schedule = Schedule(epochs=2, batch_size=5, lr=0.05)
    toy, plain = Patient(), Toy()
    train(toy, schedule, context(people, tmp_path / "x.unfinished"), "toy")
    train(plain, schedule, context(PEOPLE, tmp_path / "y.unfinished"), "plain")
    assert threading.current_thread().name not in where
    assert same(weights(toy), weights(plain))


def test_an_image_that_cannot_be_loaded_ends_training_with_its_error(tmp_path: Path) -> None:
    class Damaged(FaceSet):
        def load(self, rows: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
            if 3 in rows:
                raise FrbenchError("x.rec: record 3 is no image")
            return super().load(rows, device)

    people = Damaged(PEOPLE.name, PEOPLE.images, PEOPLE.identity, PEOPLE.people, PEOPLE.digest)
    with pytest.raises(FrbenchError, match="record 3"):
        train(Toy(), replace(SCHEDULE, epochs=9), context(people, tmp_path / "x.unfinished"), "toy")
