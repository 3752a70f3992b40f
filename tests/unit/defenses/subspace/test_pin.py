"""PIN: the selector against the closed-form oracle, and the contents of its artifact."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy.fft import idctn
from scipy.linalg import hadamard
from support.reference_fits import CPU, SIDE, SmallPin
from torch import Tensor, nn

from frbench.defenses.components.artifact_tensors import without_prefix
from frbench.defenses.subspace.eigenfaces import Eigenspace, gray
from frbench.defenses.subspace.mask_losses import MaskCost
from frbench.defenses.subspace.networks import PinNetwork
from frbench.defenses.subspace.pin import DenoiserRecipe, PinDefense, PinRecipe, add_noise, initialise_head
from frbench.harness.core.contracts import Fitted
from frbench.harness.core.face_data import FaceSet
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.training.artifacts import ArtifactBuilder
from frbench.harness.training.loop import Schedule

N, COUNT = 8, 32
SHORT = Schedule(epochs=1, batch_size=8, lr=0.003, optimizer="adam")


RECIPE = SmallPin(
    components=N,
    width=4,
    hidden=64,
    denoiser=DenoiserRecipe(8, 0.04, Schedule(epochs=30, batch_size=8, lr=0.01, optimizer="adam")),
    cost=MaskCost(0.01),
    schedule=Schedule(epochs=40, batch_size=8, lr=0.0005, optimizer="adam"),
    noise=0.0,
)


@pytest.fixture(scope="module")
def people() -> FaceSet:
    """Each face is the sum of four of eight cosine patterns, each added or taken away: four masks for 32 faces.

    Columns of the design are orthogonal, so the patterns are the eigenfaces; squares are zero or about twice what
    ``RECIPE.cost`` asks for.
    """
    rows = np.kron(np.eye(2), hadamard(4))
    design = np.concatenate(
        [sign * rows[:, order] for order in (range(8), (0, 4, 1, 5, 2, 6, 3, 7)) for sign in (1, -1)]
    )
    patterns = idctn(np.eye(N + 1, SIDE**2)[1:].reshape(N, SIDE, SIDE), axes=(1, 2), norm="ortho")
    heights = np.linspace(1.1, 0.9, N) * np.sqrt(2 * RECIPE.cost.sparsity) * SIDE
    shapes = np.einsum("fn,n,nhw->fhw", design, heights, patterns)
    stack = ((shapes + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
    return FaceSet("toy", stack[..., None].repeat(3, axis=3), np.arange(COUNT), (), "pin")


@pytest.fixture(scope="module")
def workshop(people: FaceSet, tmp_path_factory: pytest.TempPathFactory) -> ArtifactBuilder:
    """One for all tests here: eigenfaces and denoiser are made once."""
    return ArtifactBuilder(people, None, ResultStore(tmp_path_factory.mktemp("results")), 0, CPU)


def seen(workshop: ArtifactBuilder, recipe: PinRecipe, artifact: Fitted) -> tuple[Tensor, Tensor]:
    """Keep-probabilities (COUNT, N) of the training faces, and the mask of least cost."""
    purifier = PinDefense(None, recipe, artifact=artifact).purifier()  # type: ignore[arg-type]
    images = workshop.faces.load(np.arange(COUNT))
    with torch.no_grad():
        keep = purifier.selector(gray(images).reshape(-1, 1, SIDE, SIDE)).sigmoid()
    clean = purifier.space.coefficients(gray(images))
    return keep, recipe.cost.oracle(clean, clean, SIDE**2)


def expected_cost(workshop: ArtifactBuilder, recipe: PinRecipe, artifact: Fitted) -> float:
    keep, _ = seen(workshop, recipe, artifact)
    space = Eigenspace.of(artifact.tensors, CPU)
    clean = space.coefficients(gray(workshop.faces.load(np.arange(COUNT))))
    return float(recipe.cost.evaluate(keep[:, None], clean, clean, torch.zeros(COUNT), SIDE**2).mean())


@pytest.mark.parametrize(
    ("estimator", "rate", "init_from_oracle"),
    [("exact", 0.0003, False), ("logistic", 0.003, True)],
    ids=["exact", "logistic"],
)
def test_trained_on_clean_faces_it_becomes_the_threshold_oracle(
    estimator: str, rate: float, init_from_oracle: bool, workshop: ArtifactBuilder
) -> None:
    """No fixed mask comes near, since the best mask depends on the image."""
    schedule = replace(RECIPE.schedule, lr=rate)
    recipe = replace(RECIPE, estimator=estimator, init_from_oracle=init_from_oracle, schedule=schedule)
    artifact = workshop.artifact(recipe)
    keep, oracle = seen(workshop, recipe, artifact)
    often = oracle.float().mean(dim=0)
    fixed = torch.maximum(often, 1 - often).mean()
    assert fixed < 0.6
    assert ((keep > 0.5) == oracle).float().mean() > 0.95
    history = artifact.tensors["history/cost"]
    assert history[-1] < history[0]


@pytest.mark.parametrize("baseline", ["batch", "image", "others"])
def test_reinforce_lowers_the_expected_cost_too(baseline: str, workshop: ArtifactBuilder) -> None:
    schedule = replace(RECIPE.schedule, epochs=12)
    recipe = replace(
        RECIPE, estimator="reinforce", baseline=baseline, mask_samples=20, init_from_oracle=False, schedule=schedule
    )
    before = replace(recipe, schedule=replace(schedule, epochs=0))
    costs = [expected_cost(workshop, each, workshop.artifact(each)) for each in (before, recipe)]
    assert costs[1] < 0.9 * costs[0]


def test_init_from_oracle_starts_at_the_frequency_of_the_oracle(workshop: ArtifactBuilder) -> None:
    """At twice the usual sparsity, for the lower half of the patterns: no face of theirs is worth keeping them."""
    nothing = replace(RECIPE, cost=MaskCost(0.02), schedule=replace(RECIPE.schedule, epochs=0))
    artifact = workshop.artifact(nothing)
    _, oracle = seen(workshop, nothing, artifact)
    often = oracle.float().mean(dim=0)
    assert often.min() == 0 and often.max() == 0.5
    said = artifact.tensors["network/head.choice.bias"].sigmoid()
    assert torch.allclose(said, often.clamp(0.02, 0.98), atol=1e-5)
    ignorant = workshop.artifact(replace(nothing, init_from_oracle=False)).tensors["network/head.choice.bias"].sigmoid()
    assert (ignorant - 0.5).abs().max() < 0.05


def test_initial_keep_probabilities_lie_within_two_per_cent_of_zero_and_one() -> None:
    network = PinNetwork(2, 4, 2, 3)
    initialise_head(network.head, torch.tensor([0.0, 0.3, 1.0]))
    assert torch.allclose(network.head.choice.bias.sigmoid(), torch.tensor([0.02, 0.3, 0.98]), atol=1e-6)


def test_the_artifact_holds_basis_network_and_history(workshop: ArtifactBuilder) -> None:
    recipe = replace(RECIPE, schedule=replace(SHORT, epochs=2))
    tensors = workshop.artifact(recipe).tensors
    assert tensors["mean"].shape == (SIDE**2,) and tensors["basis"].shape == (SIDE**2, N)
    network = {name.removeprefix("network/") for name in tensors if name.startswith("network/")}
    assert network == set(recipe.network().state_dict())
    history = {name: each for name, each in tensors.items() if name.startswith("history/")}
    logged = {"loss", "cost", "kept", "oracle_kept", "agreement", "undecided"}
    assert {name.removeprefix("history/") for name in history} == logged
    assert all(each.shape == (2,) and bool(each.isfinite().all()) for each in history.values())
    assert {name.split("/")[0] for name in tensors} == {"mean", "basis", "network", "history"}


def test_the_denoiser_is_the_one_that_was_fitted_and_stays_so(workshop: ArtifactBuilder) -> None:
    fitted = workshop.part(RECIPE.denoiser)
    tensors = workshop.artifact(replace(RECIPE, schedule=replace(SHORT, epochs=2))).tensors
    weights = without_prefix(fitted, "network")
    assert weights
    assert all(torch.equal(tensors[f"network/denoiser.{name}"], each) for name, each in weights.items())
    assert fitted["history/second_pass"].shape == (30,)


def test_the_denoiser_learns(workshop: ArtifactBuilder) -> None:
    history = workshop.part(RECIPE.denoiser)["history/second_pass"]
    assert history[-1] < 0.5 * history[0]


def test_noise_has_the_strength_asked_for_relative_to_the_whole_batch() -> None:
    faces = torch.cat([torch.zeros(1, 1, 32, 32), torch.ones(3, 1, 32, 32)])
    added = add_noise(faces, 0.04, torch.Generator().manual_seed(0)) - faces
    assert float(added.norm()) == pytest.approx(0.04 * float(faces.norm()), rel=1e-4)
    assert float(added[0].norm()) == pytest.approx(float(added[1].norm()), rel=0.1), "a dark face gets as much"


class Undecided(SmallPin):
    """A network that says one half whatever it sees, in any precision."""

    def network(self) -> PinNetwork:
        network = super().network()
        for each in network.head.choice.parameters():
            nn.init.zeros_(each)
        return network


def test_only_the_networks_run_in_mixed_precision(workshop: ArtifactBuilder) -> None:
    """What an eigenvector costs is a small difference of large numbers, of which bfloat16 knows three digits."""
    usual = {each.name: getattr(RECIPE, each.name) for each in fields(RECIPE)}
    still = Schedule(epochs=1, batch_size=8, lr=0.0)
    recipe = replace(Undecided(**usual), noise=0.04, init_from_oracle=False, schedule=still)
    mixed = replace(recipe, schedule=replace(still, precision="mixed"))
    full, half = (workshop.artifact(each).tensors for each in (recipe, mixed))
    assert float(half["history/cost"]) == pytest.approx(float(full["history/cost"]), rel=1e-6)
    assert float(half["history/oracle_kept"]) == float(full["history/oracle_kept"])
