"""Diversity of features: the geometry worked out by hand, the residuals, the ramp, the guard, and the diagnosis."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from torch import Tensor
from torch.nn.functional import normalize

from frbench.harness.training.losses.base import EnsembleOutput
from frbench.harness.training.losses.classification import CLASSIFICATIONS
from frbench.harness.training.losses.diversity import Diversity, Kind, log_volume, pairwise_cosine, residuals
from frbench.harness.training.losses.diversity_metrics import diagnosis, rotated_cosine, rotation, tilt
from frbench.harness.training.losses.margins import ArcFace, margin_loss

AXES = torch.eye(5, dtype=torch.float64)
THIRDS = torch.stack([math.cos(a) * AXES[1] + math.sin(a) * AXES[2] for a in (0, 2 * math.pi / 3, 4 * math.pi / 3)])


def around(degrees: float, directions: Tensor) -> Tensor:
    """Members so many degrees from the first axis, towards ``directions``."""
    angle = math.radians(degrees)
    return math.cos(angle) * AXES[0] + math.sin(angle) * directions


# members (3, 5), pairwise cosine, log-determinant, cosine of their mean with the person's row
GEOMETRY = {
    "all identical": (AXES[[0, 0, 0]], 1.0, -26.53, 1.0),
    "mutually orthogonal": (AXES[:3], 0.0, 0.0, None),
    "at 120 degrees in a plane": (THIRDS, -0.5, -13.00, None),
    "20 degrees, orthogonal residuals": (around(20, AXES[1:4]), 0.883, -3.27, 0.979),
    "20 degrees, residuals at 120": (around(20, THIRDS), 0.825, -2.51, 1.0),
    "40 degrees, residuals at 120": (around(40, THIRDS), 0.380, -0.39, 1.0),
}


def seen(embeddings: Tensor, own_heads: bool = False, progress: float = 1.0) -> EnsembleOutput:
    """One image of the first of three people, whose rows are the axes."""
    class_centers = AXES[None, :3].to(embeddings.dtype)
    return EnsembleOutput(
        embeddings[None],
        class_centers.expand(3, -1, -1) if own_heads else class_centers,
        torch.zeros(1, dtype=int),
        progress,
    )


def random_output(people: int = 6, dim: int = 8, members: int = 3, batch: int = 4, seed: int = 0) -> EnsembleOutput:
    generator = torch.Generator().manual_seed(seed)
    embeddings = normalize(torch.randn(batch, members, dim, generator=generator), dim=2)
    class_centers = normalize(torch.randn(1, people, dim, generator=generator), dim=2)
    return EnsembleOutput(embeddings, class_centers, torch.randint(people, (batch,), generator=generator))


@pytest.mark.parametrize("name", GEOMETRY)
def test_the_table_of_geometries(name: str) -> None:
    embeddings, cosine, volume, to_row = GEOMETRY[name]
    look = seen(embeddings)
    found, _ = log_volume(look.embeddings, 1e-6)
    assert float(found) == pytest.approx(volume, abs=0.006)
    assert float(pairwise_cosine(look.embeddings)) == pytest.approx(cosine, abs=6e-4)
    loss, figures = Diversity("logdet", weight=0.5, ramp=0.0)(look)
    assert float(loss) == pytest.approx(-0.5 * volume, abs=0.004)
    assert float(figures["raised"]) == 0
    assert float(Diversity("cos", weight=2.0, ramp=0.0)(look)[0]) == pytest.approx(2 * cosine, abs=2e-3)
    if to_row is not None:
        assert float(normalize(embeddings.mean(dim=0), dim=0)[0]) == pytest.approx(to_row, abs=6e-4)


def test_orthogonal_members_tilt_as_the_table_says_and_members_at_120_degrees_cancel() -> None:
    mean = normalize(GEOMETRY["mutually orthogonal"][0].mean(dim=0), dim=0)
    about = EnsembleOutput(AXES[None, :3], mean[None, None], torch.zeros(1, dtype=int))
    assert torch.allclose(tilt(about), torch.tensor(54.7356, dtype=torch.float64), atol=1e-3)
    assert float(THIRDS.mean(dim=0).norm()) < 1e-12
    assert torch.allclose(tilt(seen(around(20, THIRDS))), torch.tensor(20.0, dtype=torch.float64), atol=1e-6)


def test_the_single_precision_of_training_gives_the_table_too() -> None:
    for embeddings, cosine, volume, _ in GEOMETRY.values():
        found, _ = log_volume(embeddings.float()[None], 1e-6)
        assert float(found) == pytest.approx(volume, abs=0.15)
        assert float(pairwise_cosine(embeddings.float()[None])) == pytest.approx(cosine, abs=6e-4)


def test_residuals_leave_out_the_person_and_nothing_else() -> None:
    look = random_output()
    rest, own = residuals(look), look.own
    assert torch.allclose((rest * own).sum(dim=2), torch.zeros(4, 3), atol=1e-6)
    assert torch.allclose(rest.norm(dim=2), torch.ones(4, 3), atol=1e-5)
    back = (look.embeddings * own).sum(dim=2, keepdim=True) * own
    assert torch.allclose(normalize(look.embeddings - back, dim=2), rest, atol=1e-6)
    assert float(pairwise_cosine(residuals(seen(around(20, THIRDS))))) == pytest.approx(-0.5)
    assert float(log_volume(residuals(seen(around(20, AXES[1:4]))), 1e-6)[0]) == pytest.approx(0.0, abs=1e-5)


def test_what_lies_on_the_row_itself_has_no_residual_and_a_finite_gradient() -> None:
    embeddings = AXES[[0, 0, 1]].float().requires_grad_(True)
    for kind in get_args(Kind):
        loss, _ = Diversity(kind, ramp=0.0)(seen(embeddings))
        (gradient,) = torch.autograd.grad(loss, embeddings)
        assert torch.isfinite(gradient).all() and bool(torch.isfinite(loss))


@pytest.mark.parametrize("kind", ["res_logdet", "res_cos"])
def test_the_row_of_the_person_does_not_learn_of_residuals(kind: Kind) -> None:
    look = random_output()
    class_centers = look.class_centers.clone().requires_grad_(True)
    embeddings = look.embeddings.clone().requires_grad_(True)
    Diversity(kind, ramp=0.0)(EnsembleOutput(embeddings, class_centers, look.person))[0].backward()
    assert class_centers.grad is None
    assert embeddings.grad is not None and bool((embeddings.grad != 0).any())


@settings(max_examples=25)
@given(st.integers(0, 1000))
def test_the_volume_does_not_care_how_members_are_numbered_or_all_turned(seed: int) -> None:
    look = random_output(seed=seed)
    turn = torch.from_numpy(np.linalg.qr(np.random.default_rng(seed).normal(size=(8, 8)))[0]).float()
    for kind in ("logdet", "cos"):
        value = Diversity(kind, ramp=0.0)(look)[0]
        for embeddings in (look.embeddings[:, [2, 0, 1]], look.embeddings @ turn):
            assert torch.allclose(
                Diversity(kind, ramp=0.0)(EnsembleOutput(embeddings, look.class_centers, look.person))[0],
                value,
                atol=1e-4,
            )
    exact = np.linalg.slogdet((look.embeddings @ look.embeddings.mT).double().numpy() + 1e-6 * np.eye(3))[1].mean()
    assert float(Diversity("logdet", 1.0, 0.0)(look)[1]["value"]) == pytest.approx(-exact, abs=1e-3)


def test_the_weight_rises_over_the_first_tenth() -> None:
    full = float(Diversity("cos", 1.0)(seen(AXES[[0, 0, 1]]))[0])
    for progress, share in ((0.0, 0.0), (0.05, 0.5), (0.1, 1.0), (0.6, 1.0)):
        loss, figures = Diversity("cos", 1.0)(seen(AXES[[0, 0, 1]], progress=progress))
        assert float(loss) == pytest.approx(share * full)
        assert float(figures["value"]) == pytest.approx(full), "logged without its weight"


def test_a_determinant_that_rounding_has_spoilt_is_raised_and_counted() -> None:
    embeddings = AXES[[0, 0, 1]].clone().requires_grad_(True)
    volume, raised = log_volume(embeddings[None], 0.0)  # with nothing added this one is singular
    assert float(raised) == 1
    assert float(volume.detach()) == pytest.approx(math.log(2e-4 + 1e-8) + math.log(1 + 1e-4), abs=1e-6)
    (gradient,) = torch.autograd.grad(volume.sum(), embeddings)
    assert torch.isfinite(gradient).all()
    assert float(log_volume(embeddings[None], 1e-6)[1]) == 0


def test_where_people_are_told_apart() -> None:
    look, margin = random_output(), ArcFace(16, 0.3)
    each = [margin_loss(margin, look.embeddings[:, k] @ look.class_centers[0].T, look.person) for k in range(3)]
    mean = margin_loss(margin, normalize(look.embeddings.sum(dim=1), dim=1) @ look.class_centers[0].T, look.person)
    wanted = {"mean": mean, "member": sum(each) / 3, "sum": sum(each), "both": mean + 0.1 * sum(each) / 3}
    assert wanted.keys() == CLASSIFICATIONS.keys()
    for name, classify in CLASSIFICATIONS.items():
        assert torch.allclose(classify(look, margin, 0.0)[0], wanted[name])
    own = EnsembleOutput(look.embeddings, normalize(torch.randn(3, 6, 8), dim=2), look.person)
    each = [margin_loss(margin, own.embeddings[:, k] @ own.class_centers[k].T, own.person) for k in range(3)]
    assert torch.allclose(CLASSIFICATIONS["member"](own, margin, 0.0)[0], sum(each) / 3)


def test_the_rotation_is_that_of_scipy_and_undoes_a_rotation_of_a_member() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 20, 6))
    assert np.allclose(rotation(torch.from_numpy(one), torch.from_numpy(other)), orthogonal_procrustes(one, other)[0])
    turn = torch.from_numpy(np.linalg.qr(rng.normal(size=(6, 6)))[0])
    first, rows = (normalize(torch.from_numpy(rng.normal(size=(20, 6))), dim=1) for _ in range(2))
    embeddings = torch.stack([first, first @ turn], dim=1)
    person = torch.arange(20)
    hidden = EnsembleOutput(embeddings, torch.stack([rows, rows @ turn]), person)
    assert float(pairwise_cosine(embeddings).mean()) < 0.5, "they look diverse"
    assert float(rotated_cosine(hidden)) == pytest.approx(1.0), "and say the same"
    shared = EnsembleOutput(embeddings, rows[None], person)
    assert float(rotated_cosine(shared)) == pytest.approx(float(pairwise_cosine(embeddings).mean()))
    found = diagnosis(hidden)
    assert found["tilt"].shape == (2,) and float(found["rotated_cosine"]) == pytest.approx(1.0)
    assert set(diagnosis(EnsembleOutput(embeddings[:, :1], rows[None], person))) == {"tilt"}
