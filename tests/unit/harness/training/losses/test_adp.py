"""Adaptive diversity promoting: the safe form against the naive one, and the two ends of its scale."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from frbench.harness.training.losses.adp import Adp, entropy_of_mean, wrong
from frbench.harness.training.losses.base import EnsembleOutput
from frbench.harness.training.losses.diversity import log_volume

PEOPLE = 10


def naive(logits: Tensor, person: Tensor) -> tuple[Tensor, Tensor]:
    """Entropy and log-determinant as the authors compute them, from probabilities."""
    shares = logits.softmax(dim=2)
    mean = shares.mean(dim=1)
    entropy = -(mean * (mean + 1e-20).log()).sum(dim=1)
    keep = one_hot(person, logits.shape[2])[:, None].expand_as(logits) == 0
    others = normalize(shares[keep].reshape(*logits.shape[:2], -1), dim=2)
    return entropy, torch.logdet(others @ others.mT + 1e-6 * torch.eye(logits.shape[1], dtype=logits.dtype))


@pytest.mark.parametrize("scale", [1.0, 5.0, 16.0])
def test_the_safe_form_is_the_naive_one(scale: float) -> None:
    torch.manual_seed(0)
    logits = scale * (torch.rand(32, 3, PEOPLE, dtype=torch.float64) * 2 - 1)
    person = torch.randint(PEOPLE, (32,))
    entropy, volume = naive(logits, person)
    assert torch.allclose(entropy_of_mean(logits), entropy, atol=1e-8)
    assert torch.allclose(log_volume(wrong(logits, person), 1e-6)[0], volume, atol=1e-6)
    single = logits.float()
    assert torch.allclose(entropy_of_mean(single).double(), entropy, atol=1e-4)
    assert torch.allclose(log_volume(wrong(single, person), 1e-6)[0], volume, atol=1e-4)


def test_the_loss_adds_up_from_cosines_with_each_own_head() -> None:
    torch.manual_seed(1)
    embeddings, class_centers = (
        normalize(torch.randn(each, dtype=torch.float64), dim=-1) for each in ((4, 3, 8), (3, PEOPLE, 8))
    )
    person = torch.tensor([0, 3, 3, 9])
    logits = 16 * torch.stack([embeddings[:, k] @ class_centers[k].T for k in range(3)], dim=1)
    entropy, volume = naive(logits, person)
    loss, figures = Adp(alpha=2.0, beta=0.5, scale=16.0)(EnsembleOutput(embeddings, class_centers, person))
    assert float(loss) == pytest.approx(float(-2 * entropy.mean() - 0.5 * volume.mean()), abs=1e-6)
    assert float(figures["entropy"]) == pytest.approx(float(entropy.mean()))
    assert float(figures["log_volume"]) == pytest.approx(float(volume.mean()), abs=1e-6)
    assert float(Adp(0.0, 0.0)(EnsembleOutput(embeddings, class_centers, person))[0]) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_identical_members_span_nothing(dtype: torch.dtype) -> None:
    torch.manual_seed(2)
    logits = (10 * torch.randn(6, 1, PEOPLE, dtype=dtype)).expand(-1, 3, -1)
    volume = log_volume(wrong(logits, torch.arange(6)), 1e-6)[0]
    assert torch.allclose(volume, torch.full_like(volume, -26.53), atol=0.15 if dtype is torch.float32 else 0.006)


def test_wrong_predictions_that_have_nothing_in_common_span_everything() -> None:
    logits = torch.zeros(1, 3, PEOPLE)
    for member, mistaken_for in enumerate((2, 5, 7)):
        logits[0, member, mistaken_for] = 60.0
    logits[0, :, 0] = 500.0  # the true one, however sure
    assert float(log_volume(wrong(logits, torch.tensor([0])), 1e-6)[0]) == pytest.approx(0.0, abs=1e-4)


def test_the_volume_has_no_slope_along_the_true_logit() -> None:
    torch.manual_seed(3)
    logits = (5 * torch.randn(4, 3, PEOPLE)).requires_grad_(True)
    person = torch.tensor([1, 1, 8, 0])
    log_volume(wrong(logits, person), 1e-6)[0].sum().backward()
    assert logits.grad is not None
    true = one_hot(person, PEOPLE)[:, None].expand_as(logits).bool()
    assert (logits.grad[true] == 0).all()
    assert (logits.grad[~true] != 0).any()


def test_the_entropy_is_that_of_the_mean_and_greatest_where_all_are_alike() -> None:
    assert float(entropy_of_mean(torch.zeros(1, 3, PEOPLE))) == pytest.approx(math.log(PEOPLE), abs=1e-6)
    apart = torch.zeros(1, 3, PEOPLE)
    apart[0, [0, 1, 2], [0, 1, 2]] = 200.0
    assert float(entropy_of_mean(apart)) == pytest.approx(math.log(3), abs=1e-6), "each is sure, their mean is not"


def test_logits_of_the_published_scale_have_finite_gradients() -> None:
    embeddings = normalize(torch.eye(3, 8).expand(2, -1, -1).clone(), dim=2).requires_grad_(True)
    class_centers = torch.eye(5, 8)[None].expand(3, -1, -1)
    loss, _ = Adp(scale=64.0)(EnsembleOutput(embeddings, class_centers, torch.tensor([0, 4])))
    loss.backward()
    assert embeddings.grad is not None and torch.isfinite(embeddings.grad).all() and bool(torch.isfinite(loss))
