"""The projected-descent loop: strength against closed forms, and the ways in which such loops go wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
import torch

from frbench.attacks.components.input_diversity import GaussianSmoothing, ResizeAndPad
from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.harness.core.contracts import AttackResult, Budget, Draw, Goal, Images, Scores, Template, View
from frbench.harness.core.counter_rng import Stream
from frbench.harness.core.face_data import PairBatch
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.threat_model.budgets import L2, Linf, Unbounded
from frbench.harness.threat_model.goals import Dodging, Impersonation

FGSM = ProjectedDescent(steps=1, rel_stepsize=1.0)
BIM = ProjectedDescent(steps=20)
PGD = ProjectedDescent(steps=20, restarts=2)
MIFGSM = ProjectedDescent(steps=20, momentum=1.0)
DIFGSM = ProjectedDescent(steps=20, momentum=1.0, diversity=ResizeAndPad(), return_best=False)
TIFGSM = ProjectedDescent(steps=20, momentum=1.0, smoothing=GaussianSmoothing())
ATTACKS = {"fgsm": FGSM, "bim": BIM, "pgd": PGD, "mifgsm": MIFGSM, "difgsm": DIFGSM, "tifgsm": TIFGSM}
GOALS = [Dodging(), Impersonation()]


def final_loss(view: View, pairs: PairBatch, goal: Goal, result: AttackResult) -> torch.Tensor:
    with torch.no_grad():
        return goal.loss(view.score(result.images, view.enroll(pairs)))


@pytest.mark.parametrize("goal", GOALS, ids=["dodging", "impersonation"])
@pytest.mark.parametrize("budget", [Linf(8 / 255), L2(0.5)], ids=["linf", "l2"])
@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_lowers_its_loss_within_the_budget(
    name: str, budget: Budget, goal: Goal, linear: Callable, batch: Callable, view: Callable
) -> None:
    look, pairs = view(linear()), batch()
    result = ATTACKS[name](look, pairs, goal, budget)
    with torch.no_grad():
        before = goal.loss(look.score(pairs.probe, look.enroll(pairs)))
    assert bool((final_loss(look, pairs, goal, result) < before).all())
    assert bool(budget.fits(result.images, pairs.probe).all())
    assert result.images.min() >= 0 and result.images.max() <= 1


@pytest.mark.parametrize("goal", GOALS, ids=["dodging", "impersonation"])
def test_more_work_never_hurts_fgsm_bim_pgd(goal: Goal, linear: Callable, batch: Callable, view: Callable) -> None:
    look, pairs = view(linear()), batch()
    losses = [
        final_loss(look, pairs, goal, attack(look, pairs, goal, Linf(4 / 255))).mean() for attack in (FGSM, BIM, PGD)
    ]
    assert losses[1] <= losses[0] + 1e-6
    assert losses[2] <= losses[1] + 1e-6


def test_bim_reaches_the_optimum_of_a_linear_score(batch: Callable, view: Callable) -> None:
    """On a score that is linear in the image, the L-inf optimum is the clipped corner of the ball."""
    pairs = batch(same=False)

    class LinearScore:
        differentiable, random = True, False

        def enroll(self, reference, index, draw):  # type: ignore[no-untyped-def]
            from frbench.harness.core.contracts import Template

            return Template(reference.flatten(1) - 0.5, index)

        def score(self, probe, template, draw):  # type: ignore[no-untyped-def]
            return (probe.flatten(1) * template.vectors).sum(1)

    look = View(LinearScore(), torch.zeros(len(pairs)))
    result = BIM(look, pairs, Impersonation(), Linf(0.05))
    best = (pairs.probe + 0.05 * (pairs.reference - 0.5).sign()).clamp(0, 1)
    assert torch.allclose(result.images, best, atol=1e-6)


@pytest.mark.parametrize("name", ATTACKS)
def test_saturated_pixels_move(name: str, linear: Callable, batch: Callable, view: Callable) -> None:
    """Black borders are common in aligned faces; a change of variables such as CW's would freeze them."""
    pairs = batch()
    result = ATTACKS[name](view(linear()), pairs, Impersonation(), Linf(8 / 255))
    moved = (result.images - pairs.probe).abs()
    black, white = moved[:, :, 0], moved[:, :, -1]
    assert (black > 0).float().mean() > 0.3
    assert (white > 0).float().mean() > 0.3


@pytest.mark.parametrize("budget", [Linf(8 / 255), L2(0.5), Unbounded()], ids=["linf", "l2", "unbounded"])
@pytest.mark.parametrize("name", ATTACKS)
def test_a_zero_gradient_gives_no_nan(
    name: str, budget: Budget, saturated: object, batch: Callable, view: Callable
) -> None:
    result = ATTACKS[name](view(saturated), batch(), Dodging(), budget)
    assert bool(torch.isfinite(result.images).all())


@pytest.mark.parametrize("name", ATTACKS)
def test_dodging_from_the_reference_itself_starts_from_noise(
    name: str, linear: Callable, batch: Callable, view: Callable
) -> None:
    """At the reference the cosine is 1 and its gradient zero: an attack from there would stay there."""
    pairs = batch(same=True)
    pairs = replace(pairs, probe=pairs.reference.clone())
    look = view(linear())
    loss = final_loss(look, pairs, Dodging(), ATTACKS[name](look, pairs, Dodging(), Linf(8 / 255)))
    assert bool((loss < 0.995).all())


@pytest.mark.parametrize("size", [1, 5, 12])
@pytest.mark.parametrize("stop", [False, True])
@pytest.mark.parametrize("transfer", [False, True])
def test_images_do_not_depend_on_the_batch(
    transfer: bool, size: int, stop: bool, linear: Callable, batch: Callable, view: Callable
) -> None:
    look, pairs, attack = view(linear()), batch(), ProjectedDescent(steps=10, restarts=2, early_stop=stop)
    if transfer:
        attack = replace(attack, momentum=1.0, diversity=ResizeAndPad(), smoothing=GaussianSmoothing())
    together = attack(look, pairs, Impersonation(), Linf(8 / 255)).images
    parts = [attack(look, pairs[slice(i, i + size)], Impersonation(), Linf(8 / 255)).images for i in range(0, 12, size)]
    assert torch.allclose(together, torch.cat(parts), atol=1e-6)


def test_finished_pairs_leave_the_batch_and_stay_finished(linear: Callable, batch: Callable, view: Callable) -> None:
    look, pairs = view(linear(), threshold=0.15), batch(same=True)
    never = ProjectedDescent(steps=20, restarts=2)(look, pairs, Dodging(), Linf(0.1))
    early = ProjectedDescent(steps=20, restarts=2, early_stop=True)(look, pairs, Dodging(), Linf(0.1))
    assert bool(never.achieved.any())
    assert torch.equal(never.achieved, early.achieved)
    done = early.achieved
    assert bool((early.iterations[done] < never.iterations[done]).all())
    assert bool((early.iterations[done] < never.iterations[done]).all())
    scores = look.score(early.images, look.enroll(pairs))
    assert torch.equal(scores <= 0.15, done)


def test_an_attack_that_stops_goes_a_margin_beyond_the_threshold(
    linear: Callable, batch: Callable, view: Callable
) -> None:
    pairs, attack = batch(same=True), ProjectedDescent(steps=60, early_stop=True)
    look = view(linear(), threshold=0.3, margin=0.1)
    result = attack(look, pairs, Dodging(), Linf(0.2))
    assert bool(result.achieved.any())
    assert bool((look.score(result.images, look.enroll(pairs))[result.achieved] <= 0.2 + 1e-6).all())


def test_the_probe_given_is_never_changed(linear: Callable, batch: Callable, view: Callable) -> None:
    pairs = batch()
    before = pairs.probe.clone()
    PGD(view(linear()), pairs, Dodging(), Linf(8 / 255))
    assert torch.equal(pairs.probe, before)


def test_iterations_are_counted_for_each_pair(linear: Callable, batch: Callable, view: Callable) -> None:
    result = PGD(view(linear()), batch(), Dodging(), Linf(8 / 255))
    assert result.iterations.tolist() == [40] * 12


@dataclass
class Noted:
    """A verifier that keeps what it is asked to score."""

    inner: CosineVerifier
    probes: list[Images] = field(default_factory=list)
    differentiable = True
    random = False

    def enroll(self, reference: Images, index: torch.Tensor, draw: Draw) -> Template:
        return self.inner.enroll(reference, index, draw)

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        self.probes.append(probe.detach())
        return self.inner.score(probe, template, draw)


@pytest.mark.parametrize("goal", GOALS, ids=["dodging", "impersonation"])
def test_di_and_ti_fgsm_are_a_plain_loop_with_a_changed_image_and_a_smoothed_gradient(
    goal: Goal, linear: Callable, batch: Callable, view: Callable
) -> None:
    look, pairs, budget = view(linear()), batch(), Linf(8 / 255)
    change, smoothing, steps = ResizeAndPad(), GaussianSmoothing(), 6
    attack = ProjectedDescent(steps=steps, momentum=1.0, diversity=change, smoothing=smoothing, return_best=False)
    template, images, velocity = look.enroll(pairs), pairs.probe, torch.zeros_like(pairs.probe)
    for step in range(steps):
        images = images.detach().requires_grad_()
        scores = look.score(change(images, pairs.index, Draw(0, Stream.ATTACK, step, 1)), template, step)
        slope = smoothing(torch.autograd.grad(goal.loss(scores).sum(), images)[0])
        velocity = velocity + slope / slope.abs().mean(dim=(1, 2, 3), keepdim=True)
        images = budget.project(images - 1.5 / steps * budget.radius * velocity.sign(), pairs.probe)
    differing = ((attack(look, pairs, goal, budget).images - images).abs() > 1e-6).float().mean()
    assert differing < 1e-3  # a gradient of nearly zero may take either sign


@pytest.mark.parametrize(("options", "passes"), [({"return_best": False}, 11), ({"return_best": True}, 21)])
def test_a_changed_image_is_never_what_is_judged(
    options: dict[str, bool], passes: int, linear: Callable, batch: Callable
) -> None:
    """The image itself is scored once more a step where its score matters, and not where it does not."""
    victim, pairs = Noted(CosineVerifier(linear())), batch(same=True)
    look = View(victim, torch.full((12,), 0.3))
    attack = ProjectedDescent(steps=10, diversity=ResizeAndPad(0.5), **options)  # type: ignore[arg-type]
    result = attack(look, pairs, Dodging(), Linf(0.05))
    assert len(victim.probes) == passes
    scores = look.score(result.images, look.enroll(pairs))
    assert torch.equal(result.achieved, scores <= 0.3)
    if options["return_best"]:
        iterates = torch.stack([look.score(each, look.enroll(pairs)) for each in victim.probes[1:20:2]])
        assert torch.allclose(scores, torch.minimum(iterates.amin(dim=0), scores), atol=1e-6)
        assert bool((scores <= iterates.amin(dim=0) + 1e-6).all())


def test_smoothing_leaves_a_smoother_change(linear: Callable, batch: Callable, view: Callable) -> None:
    look, pairs = view(linear(16)), batch(size=16)
    rough, smooth = (
        ((attack(look, pairs, Dodging(), Unbounded()).images - pairs.probe).diff(dim=3).abs().mean())
        for attack in (
            ProjectedDescent(steps=1, rel_stepsize=0.1),
            ProjectedDescent(1, 0.1, smoothing=GaussianSmoothing()),
        )
    )
    assert smooth < 0.7 * rough
