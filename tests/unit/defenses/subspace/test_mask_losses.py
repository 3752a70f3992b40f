"""Mask costs against explicit projections, enumeration of all masks, and gradients by autograd."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Independent

from frbench.defenses.subspace.mask_losses import MaskCost, log_likelihood, reinforce_loss, sample_masks

D, N, B = 40, 6, 3
COSTS = [MaskCost(0.01, "mean"), MaskCost(0.4, "sum")]
EVERY = torch.tensor(list(itertools.product([0.0, 1.0], repeat=N)), dtype=torch.float64)  # (64, N)


class Toy:
    """Faces of D pixels, clean and noisy, and a basis of N vectors, all in float64."""

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.basis, _ = torch.linalg.qr(normal(D, N))
        self.mean, self.face = normal(D), normal(B, D)
        self.noisy = self.face + 0.4 * normal(B, D)
        self.logits = normal(B, N)
        self.clean = (self.face - self.mean) @ self.basis
        self.attacked = (self.noisy - self.mean) @ self.basis
        self.residual = (self.face - self.mean).square().sum(dim=1) - self.clean.square().sum(dim=1)

    def cost_of(self, cost: MaskCost, masks: Tensor) -> Tensor:
        return cost.evaluate(masks, self.clean, self.attacked, self.residual, D)

    def through_images(self, cost: MaskCost, masks: Tensor) -> Tensor:
        """R = |mu + E diag(s) E^T (x_n - mu) - x|^2 + sparsity * |s|, pixel by pixel, as in the code of PIN."""
        rows = [
            [
                (self.mean + self.basis @ torch.diag(s) @ self.basis.T @ (noisy - self.mean) - face).square()
                for s in of_face
            ]
            for of_face, noisy, face in zip(masks, self.noisy, self.face, strict=True)
        ]
        error = torch.stack([torch.stack(row) for row in rows])
        return (error.mean(-1) if cost.reduction == "mean" else error.sum(-1)) + cost.sparsity * masks.sum(-1)


@pytest.fixture
def toy() -> Toy:
    return Toy()


def every() -> Tensor:
    """All masks (B, 64, N)."""
    return EVERY.expand(B, -1, -1)


def chance(logits: Tensor, masks: Tensor) -> Tensor:
    """Probability (B, K) of masks, as somebody else computes it."""
    law = Independent(Bernoulli(logits=logits[:, None]), 1)
    return torch.as_tensor(law.log_prob(masks)).exp()


@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: cost.reduction)
def test_the_closed_form_is_the_cost_of_the_images(cost: MaskCost, toy: Toy) -> None:
    assert torch.allclose(toy.cost_of(cost, every()), toy.through_images(cost, every()), atol=1e-12)


@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: cost.reduction)
def test_with_probabilities_for_masks_it_is_the_mean_over_all_masks(cost: MaskCost, toy: Toy) -> None:
    weighted = (chance(toy.logits, every()) * toy.through_images(cost, every())).sum(dim=1)
    expected = toy.cost_of(cost, toy.logits.sigmoid()[:, None])[:, 0]
    assert torch.allclose(expected, weighted, atol=1e-12)


@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: cost.reduction)
def test_no_mask_costs_less_than_the_oracles(cost: MaskCost, toy: Toy) -> None:
    best = EVERY[toy.through_images(cost, every()).argmin(dim=1)]
    found = cost.oracle(toy.clean, toy.attacked, D)
    assert torch.equal(found.double(), best)
    assert 0 < found.sum() < found.numel(), "a toy on which all or nothing is best shows nothing"


def test_a_sum_at_one_sparsity_is_a_mean_at_that_sparsity_by_the_pixel(toy: Toy) -> None:
    by_sum, by_mean = toy.cost_of(MaskCost(0.4, "sum"), every()), toy.cost_of(MaskCost(0.4 / D, "mean"), every())
    assert torch.allclose(by_sum, D * by_mean, atol=1e-12)


def test_the_published_sparsity_asks_for_188_in_squared_coefficients_before_it_keeps_one() -> None:
    """The threshold is 0.015 * 112 * 112 = 188.2."""
    clean = torch.tensor([[188.0, 188.3]]).sqrt()
    assert MaskCost(0.015).oracle(clean, clean, 112 * 112).tolist() == [[False, True]]


def exact_gradient(cost: MaskCost, toy: Toy) -> Tensor:
    """Of the mean expected cost with respect to the logits."""
    logits = toy.logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(toy.cost_of(cost, logits.sigmoid()[:, None]).mean(), logits)
    return gradient


@pytest.mark.parametrize(
    ("baseline", "factor"), [("batch", 2 - 1 / 2), ("image", 1.0), ("others", 2.0)], ids=["batch", "image", "others"]
)
def test_in_the_mean_over_everything_that_can_be_drawn_reinforce_is_the_gradient_a_known_times(
    baseline: str, factor: float
) -> None:
    """B = K = 2, N = 3: all 4096 outcomes, each with its probability, so nothing is left to chance.

    The factors are K - 1/B, K - 1 and K.
    """
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    clean, attacked = torch.randn(2, 2, 3, generator=generator, dtype=torch.float64)
    cost, rest = MaskCost(0.3, "sum"), torch.tensor([0.5, 4.0], dtype=torch.float64)
    masks = torch.tensor(list(itertools.product([0.0, 1.0], repeat=12)), dtype=torch.float64).reshape(-1, 2, 2, 3)

    def loss(logits: Tensor, masks: Tensor) -> Tensor:
        costs = cost.evaluate(masks, clean, attacked, rest, D)
        return reinforce_loss(logits, masks, costs, baseline)  # type: ignore[arg-type]

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(logits, masks)
    weights = chance(logits, masks.transpose(0, 1).flatten(1, 2)).reshape(2, -1, 2).prod(dim=2).prod(dim=0)
    assert torch.allclose(weights.sum(), torch.ones((), dtype=torch.float64))
    found = torch.einsum("m,mbn->bn", weights, gradients)
    known = logits.clone().requires_grad_()
    (expected,) = torch.autograd.grad(cost.evaluate(known.sigmoid()[:, None], clean, attacked, rest, D).mean(), known)
    assert torch.allclose(found, factor * expected, atol=1e-12)
    assert expected.abs().min() > 1e-3


@pytest.mark.parametrize("baseline", ["batch", "image", "others"])
def test_with_many_draws_reinforce_is_the_gradient_of_the_closed_form(baseline: str, toy: Toy) -> None:
    """D = 40, N = 6, 200,000 masks per image: within 1e-4, and within 3 % of the norm."""
    cost, count = MaskCost(0.01, "mean"), 200_000
    logits = toy.logits.clone().requires_grad_()
    masks = sample_masks(logits, count, torch.Generator().manual_seed(0)).double()
    loss = reinforce_loss(logits, masks, toy.cost_of(cost, masks), baseline)  # type: ignore[arg-type]
    (found,) = torch.autograd.grad(
        loss / {"batch": count - 1 / B, "image": count - 1, "others": count}[baseline], logits
    )
    expected = exact_gradient(cost, toy)
    assert (found - expected).abs().max() < 1e-4
    assert (found - expected).norm() < 0.03 * expected.norm()


def test_the_cost_itself_takes_no_part_in_the_gradient(toy: Toy) -> None:
    logits, masks = toy.logits.clone().requires_grad_(), every().clone().requires_grad_()
    reinforce_loss(logits, masks.detach(), toy.cost_of(COSTS[0], masks), "image").backward()
    assert masks.grad is None and logits.grad is not None


def test_likelihoods_are_torchs() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(3, 50, generator=generator)
    masks = torch.randint(0, 2, (3, 7, 50), generator=generator).float()
    expected = torch.as_tensor(Independent(Bernoulli(logits=logits[:, None]), 1).log_prob(masks))
    assert torch.allclose(log_likelihood(logits, masks), expected, rtol=1e-5)


def test_likelihoods_and_their_gradients_are_finite_where_the_sigmoid_is_saturated() -> None:
    logits = torch.tensor([[-1e4, -200.0, -20.0, 0.0, 20.0, 200.0, 1e4]], requires_grad=True)
    masks = torch.stack([torch.zeros(7), torch.ones(7)])[None]
    found = log_likelihood(logits, masks)
    expected = Independent(Bernoulli(logits=logits.detach()[:, None]), 1).log_prob(masks)
    assert torch.allclose(found, torch.as_tensor(expected), rtol=1e-5)
    (gradient,) = torch.autograd.grad(found[0, 1], logits)
    assert torch.allclose(gradient, 1 - logits.detach().sigmoid(), atol=1e-6)  # s - p


def test_masks_are_drawn_as_often_as_the_logits_say_and_by_the_generator_alone() -> None:
    logits = torch.tensor([[-30.0, -1.0, 0.0, 1.0, 30.0], [3.0, 2.0, 1.0, 0.0, -1.0]])
    masks = sample_masks(logits, 40_000, torch.Generator().manual_seed(3))
    assert masks.shape == (2, 40_000, 5)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    assert (masks.mean(dim=1) - logits.sigmoid()).abs().max() < 0.01
    assert masks[0, :, 0].sum() == 0 and masks[0, :, 4].sum() == 40_000
    torch.manual_seed(9)
    assert torch.equal(sample_masks(logits, 40_000, torch.Generator().manual_seed(3)), masks)
