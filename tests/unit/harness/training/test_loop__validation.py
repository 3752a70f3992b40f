"""Training with validation data: the best weights, decay and patience, and exact resumption."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.reference_fits import context, faces
from torch import Tensor, nn

from frbench.harness.core.face_data import Images
from frbench.harness.training import loop as training
from frbench.harness.training.loop import Schedule, Validated, train

PEOPLE = faces(12, 8)
SCHEDULE = Schedule(
    epochs=12, batch_size=4, lr=0.1, momentum=0.5, lr_gamma=0.5, lr_step_size=2, patience=4
)  # 3 steps each
#                better, better, worse, worse (decay), better, then four times worse (decay after two)
MARKS = [5.0, 3.0, 4.0, 3.0, 2.0, 2.5, 2.0, 9.0, 8.0, 1.0, 1.0, 1.0]


class Toy(nn.Module):
    """Learns the mean colour; its examinations are given."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layer = nn.Linear(192, 1)
        self.epoch = nn.Buffer(torch.zeros((), dtype=torch.int64))
        self.stop_after, self.seen = stop_after, []
        self.modes: list[tuple[bool, bool]] = []

    def loss(self, images: Images, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        noise = 0.1 * torch.randn(images.shape, generator=generator)
        return (self.layer((images + noise).flatten(1))[:, 0] - images.mean(dim=(1, 2, 3))).square().mean(), {}

    def validation_metrics(self) -> dict[str, Tensor]:
        self.modes.append((self.training, torch.is_grad_enabled()))
        self.seen.append({name: each.clone() for name, each in self.state_dict().items()})
        self.epoch += 1
        return {"validation": torch.tensor(MARKS[int(self.epoch) - 1]), "aside": -self.epoch}

    def after_step(self, steps: int) -> None:
        if steps == self.stop_after:
            raise KeyboardInterrupt


def weight(learner: Toy) -> Tensor:
    return learner.layer.weight.detach().clone()


def test_the_weights_of_the_best_epoch_are_kept_and_patience_ends(tmp_path: Path) -> None:
    toy = Toy()
    assert isinstance(toy, Validated)
    history = train(toy, SCHEDULE, context(PEOPLE, tmp_path / "x.unfinished"), "toy")
    assert history["validation"].tolist() == MARKS[:9], "four epochs without a better one than the fifth"
    assert history["aside"].tolist() == [-each for each in range(1, 10)]
    assert torch.equal(weight(toy), toy.seen[4]["layer.weight"])
    assert not torch.equal(weight(toy), toy.seen[8]["layer.weight"])
    assert set(toy.modes) == {(False, False)} and not toy.training


def test_without_patience_all_epochs_are_run_and_the_first_of_equals_is_kept(tmp_path: Path) -> None:
    toy = Toy()
    history = train(toy, replace(SCHEDULE, patience=None), context(PEOPLE, tmp_path / "x.unfinished"), "toy")
    assert len(history["validation"]) == 12
    assert torch.equal(weight(toy), toy.seen[9]["layer.weight"])


def test_the_rate_decays_after_epochs_without_a_better_examination(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    usual = torch.optim.SGD.step

    def noted(self: torch.optim.SGD, *given: object) -> object:
        rates.append(self.param_groups[0]["lr"])
        return usual(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.optim.SGD, "step", noted)
    train(Toy(), SCHEDULE, context(PEOPLE, tmp_path / "x.unfinished"), "toy")
    assert rates[::3] == [0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025]


@pytest.mark.parametrize("stop_after", [2, 5, 13, 16, 27], ids="stopped in step {}".format)
def test_what_was_stopped_goes_on_to_the_same_bits(
    stop_after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_CHECKPOINT_SECONDS", 0.0)
    whole, again, unfinished = Toy(), Toy(), tmp_path / "stopped.unfinished"
    history = train(whole, SCHEDULE, context(PEOPLE, tmp_path / "whole.unfinished"), "whole")
    with pytest.raises(KeyboardInterrupt):
        train(Toy(stop_after), SCHEDULE, context(PEOPLE, unfinished), "stopped")
    found = train(again, SCHEDULE, context(PEOPLE, unfinished), "again")
    assert torch.equal(weight(again), weight(whole))
    assert found.keys() == history.keys() and all(torch.equal(found[name], history[name]) for name in history)


def test_a_finished_run_that_is_asked_again_gives_the_best_weights_without_a_step(tmp_path: Path) -> None:
    first, again = Toy(), Toy()
    train(first, SCHEDULE, context(PEOPLE, tmp_path / "x.unfinished"), "first")
    train(again, SCHEDULE, context(PEOPLE, tmp_path / "x.unfinished"), "again")
    assert torch.equal(weight(again), weight(first)) and not again.seen


@pytest.mark.parametrize("clip", [1e-3, 1e3])
def test_a_gradient_is_shortened_to_the_greatest_norm_and_never_lengthened(clip: float, tmp_path: Path) -> None:
    schedule = Schedule(epochs=1, batch_size=12, lr=0.5, momentum=0.0, grad_clip_norm=clip)
    toy, free = Toy(), Toy()
    begun = torch.cat([each.detach().flatten() for each in toy.parameters()])
    train(toy, schedule, context(PEOPLE, tmp_path / "x.unfinished"), "toy")
    train(free, replace(schedule, grad_clip_norm=None), context(PEOPLE, tmp_path / "y.unfinished"), "free")
    steps = [torch.cat([e.detach().flatten() for e in each.parameters()]) - begun for each in (toy, free)]
    expected = steps[1] * min(1.0, clip * 0.5 / float(steps[1].norm()))
    assert torch.allclose(steps[0], expected, rtol=1e-3, atol=1e-7)
