"""The bridge to torchattacks: every attack by name, the same images as ours at the same start, and no side effects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from support.torchattacks_cases import COUNT, GOALS, REFUSED, SIZE, THRESHOLD, USABLE, budget_of, quick
from torch import Tensor

from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.attacks.torchattacks import PairVerifier, TorchAttack
from frbench.attacks.torchattacks_table import ATTACKS, VERSION
from frbench.harness.config import build, resolution
from frbench.harness.core.contracts import Budget, Draw, Goal, Images, Scores, Template, View
from frbench.harness.core.errors import FrbenchError, Refused
from frbench.harness.core.face_data import PairBatch
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.threat_model.budgets import L2, Dssim, Linf, Unbounded
from frbench.harness.threat_model.goals import Dodging

torchattacks = pytest.importorskip("torchattacks")

TOGETHER = [name for name in USABLE if not ATTACKS[name].alone]
# What looks away from the clean answer in either direction, does nothing, or is noise: promises no lower loss.
AIMLESS = {"TPGD", "VANILA", "GN"}
ALPHA = 1.5 * (8 / 255) / 10
PLAIN = ProjectedDescent(steps=10, return_best=False)
PAIRS = {
    "FGSM": ({}, replace(PLAIN, steps=1, rel_stepsize=1.0), Linf(8 / 255)),
    "BIM": ({"alpha": ALPHA, "steps": 10}, PLAIN, Linf(8 / 255)),
    "PGD": ({"alpha": ALPHA, "steps": 10, "random_start": False}, PLAIN, Linf(8 / 255)),
    "MIFGSM": ({"alpha": ALPHA, "steps": 10, "decay": 1.0}, replace(PLAIN, momentum=1.0), Linf(8 / 255)),
    "PGDL2": ({"alpha": 0.075, "steps": 10, "random_start": False}, PLAIN, L2(0.5)),
}


@pytest.fixture
def look(linear: Callable, view: Callable) -> View:
    return view(linear(SIZE), COUNT, threshold=THRESHOLD)


def test_that_the_table_names_every_attack_of_the_library_and_no_other() -> None:
    assert torchattacks.__version__ == VERSION
    assert set(ATTACKS) == set(torchattacks.__all__)


@pytest.mark.parametrize(
    ("words", "params"),
    [
        ([], None),
        (["attack.params={steps:20,alpha:0.004}"], {"steps": 20, "alpha": 0.004}),
        (["attack.name=Pixle", "attack.params={x_dimensions:[2,4]}"], {"x_dimensions": [2, 4]}),
        (["+attack.params.steps=3"], {"steps": 3}),
    ],
)
def test_name_and_parameters_come_from_the_command_line(words: list[str], params: dict[str, Any] | None) -> None:
    with initialize_config_module("frbench.conf", version_base="1.3"):
        config = resolution.plain(compose("run", ["attack=torchattacks", "attack.name=VMIFGSM", *words]))
    assert build.instantiate(config["attack"], "attack") == TorchAttack(config["attack"]["name"], params)


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("name", USABLE)
def test_every_attack_of_the_library_works_by_name(name: str, goal: Goal, look: View, batch: Callable) -> None:
    pairs, budget, attack = batch(COUNT, SIZE, same=goal == Dodging()), budget_of(name), quick(name)
    result = attack(look, pairs, goal, budget)
    assert bool(torch.isfinite(result.images).all())
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    if attack.bounded:
        assert bool(budget.fits(result.images, pairs.probe).all())
    template = look.enroll(pairs)
    with torch.no_grad():
        before, after = look.score(pairs.probe, template), look.score(result.images, template)
    assert torch.equal(result.achieved, goal.achieved(after, torch.full((COUNT,), THRESHOLD)))
    if name not in AIMLESS:
        assert goal.loss(after).mean() < goal.loss(before).mean() - 1e-3
    assert all(isinstance(getattr(attack, fact), bool) for fact in ("needs_gradient", "stops_early", "batch_dependent"))


@pytest.mark.parametrize("name", REFUSED)
def test_an_attack_that_cannot_work_on_pairs_is_refused_with_the_reason(name: str, look: View, batch: Callable) -> None:
    with pytest.raises(Refused, match=f"{name} cannot attack pairs: it") as refusal:
        TorchAttack(name)(look, batch(COUNT, SIZE), Dodging(), Linf(0.1))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["DIFGSM", "TIFGSM"])
def test_an_attack_that_makes_images_square_is_refused_on_others(name: str, look: View, batch: Callable) -> None:
    pairs = batch(COUNT, SIZE)
    pairs = replace(pairs, probe=pairs.probe[..., :12])
    with pytest.raises(Refused, match="16x12"):
        TorchAttack(name)(look, pairs, Dodging(), Linf(0.1))


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("name", PAIRS)
def test_native_and_library_make_the_same_images_from_the_same_start(
    name: str, goal: Goal, linear: Callable, batch: Callable, view: Callable
) -> None:
    """Cross-entropy on the two classes is a positive multiple of the cosine's gradient."""
    params, native, budget = PAIRS[name]
    pairs = batch(same=goal == Dodging())
    look = view(linear())
    theirs = TorchAttack(name, params)(look, pairs, goal, budget)
    ours = native(look, pairs, goal, budget)
    differing = ((theirs.images - ours.images).abs() > 1e-5).float().mean()
    assert differing < 1e-3  # a gradient of nearly zero may take either sign
    assert torch.equal(theirs.achieved, ours.achieved)


@dataclass(frozen=True)
class Recorded:
    """A cosine verifier that keeps what it is shown."""

    inner: CosineVerifier
    shown: list[tuple[Images, Tensor]] = field(default_factory=list)

    differentiable = True
    random = False

    def enroll(self, reference: Images, index: Tensor, draw: Draw) -> Template:
        return self.inner.enroll(reference, index, draw)

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        self.shown.append((probe.detach().clone(), template.index))
        return self.inner.score(probe, template, draw)


def coarse(pairs: PairBatch) -> PairBatch:
    """Probes of four large blocks, so that an image is known again when it is moved, scaled or noisy."""
    return replace(pairs, probe=pairs.probe[..., ::8, ::8].repeat_interleave(8, -1).repeat_interleave(8, -2))


def whose(images: Images, probes: Images) -> list[int]:
    """For each image the probe that it correlates with best."""
    ours, theirs = (each.flatten(1) - each.flatten(1).mean(dim=1, keepdim=True) for each in (images, probes))
    normal = torch.nn.functional.normalize
    return (normal(ours) @ normal(theirs).T).argmax(dim=1).tolist()


@pytest.mark.parametrize("name", [name for name in TOGETHER if name != "VANILA"])
def test_an_attack_that_gets_a_whole_batch_forwards_every_row_in_its_place(
    name: str, look: View, batch: Callable
) -> None:
    pairs, recorded = coarse(batch(COUNT, SIZE)), Recorded(CosineVerifier(look.verifier.recognizer))  # type: ignore[attr-defined]
    quick(name)(replace(look, verifier=recorded), pairs, Dodging(), budget_of(name))
    assert recorded.shown
    for images, index in recorded.shown:
        assert index.tolist() == list(range(COUNT))
        assert whose(images, pairs.probe) == list(range(COUNT))


def test_rows_without_a_reference_are_an_error_and_copies_of_a_single_pair_are_not(look: View, batch: Callable) -> None:
    pairs = batch(COUNT, SIZE)
    template = look.enroll(pairs)
    with pytest.raises(FrbenchError, match="3 images for 4 pairs"):
        PairVerifier(look, template, look.thresholds)(pairs.probe[:3])
    one = PairVerifier(look, template[:1], look.thresholds[:1])
    assert torch.allclose(one(pairs.probe[:1].repeat(3, 1, 1, 1)), one(pairs.probe[:1]).repeat(3, 1), atol=1e-5)


@pytest.mark.parametrize("name", [name for name in USABLE if not TorchAttack(name).batch_dependent])
def test_an_attack_that_says_so_does_not_depend_on_the_batch(name: str, look: View, batch: Callable) -> None:
    """Other company, one other reference among it: the same images, to float noise."""
    pairs, attack = batch(COUNT, SIZE, same=True), quick(name)
    together = attack(look, pairs, Dodging(), budget_of(name))
    other = replace(pairs, reference=pairs.reference[[1, 0, 2, 3]])[torch.tensor([3, 0, 2])]
    apart = attack(look, other, Dodging(), budget_of(name))
    for row, place in ((3, 0), (2, 2)):
        assert torch.allclose(together.images[row], apart.images[place], atol=1e-6)
        assert together.achieved[row] == apart.achieved[place]
        assert together.iterations[row] == apart.iterations[place]


def test_a_random_start_makes_a_result_depend_on_its_batch() -> None:
    assert TorchAttack("PGD").batch_dependent
    assert not TorchAttack("PGD", {"random_start": False}).batch_dependent
    assert not TorchAttack("UPGD").batch_dependent
    assert TorchAttack("UPGD", {"random_start": True}).batch_dependent


@pytest.mark.parametrize("name", ["PGD", "GN", "APGD", "FAB", "Square", "SPSA", "OnePixel", "Pixle", "PGDRS"])
def test_global_random_state_neither_matters_nor_changes(name: str, look: View, batch: Callable) -> None:
    pairs, attack = batch(COUNT, SIZE), quick(name)
    found = []
    for seed in (5, 99):
        torch.manual_seed(seed)
        np.random.seed(seed)
        expected = torch.rand(3), np.random.rand(3)
        torch.manual_seed(seed)
        np.random.seed(seed)
        found.append(attack(look, pairs, Dodging(), budget_of(name)).images)
        assert torch.equal(torch.rand(3), expected[0])
        assert np.array_equal(np.random.rand(3), expected[1])
    assert torch.equal(*found)
    other = attack(replace(look, seed=7), pairs, Dodging(), budget_of(name)).images
    assert name == "FAB" or not torch.equal(found[0], other)  # FAB's first start is the clean image


BAD: Mapping[str, tuple[TorchAttack, Budget, str]] = {
    "unknown": (TorchAttack("Vmi-fgsm"), Linf(0.1), "use VMIFGSM"),
    "unheard of": (TorchAttack("xxxxx"), Linf(0.1), "use VANILA or GN or FGSM"),
    "parameter": (TorchAttack("PGD", {"stepz": 3}), Linf(0.1), "no parameter stepz; use eps, alpha, steps"),
    "epsilon": (TorchAttack("PGD", {"eps": 0.3}), Linf(0.1), "takes its eps from the budget"),
    "norm": (TorchAttack("APGD", {"norm": "L2"}), Linf(0.1), "takes its norm from the budget"),
    "classes": (
        TorchAttack("APGDT", {"n_classes": 10}),
        Linf(0.1),
        "got n_classes=10, but APGDT supports pairs with n_classes=2 only",
    ),
    "value": (TorchAttack("APGD", {"loss": "hinge"}), Linf(0.1), "APGD rejects these values: unknown loss"),
    "kind": (TorchAttack("PGD", {"steps": "many"}), Linf(0.1), "PGD rejects these values"),
    "constructor": (TorchAttack("Pixle", {"restarts": -1}), Linf(0.1), "restarts must be"),
    "L2 for Linf": (TorchAttack("PGD"), L2(1.0), "one Linf radius"),
    "Linf for L2": (TorchAttack("PGDL2"), Linf(1.0), "one L2 radius"),
    "none for either": (TorchAttack("Square"), Unbounded(), "one Linf or L2 radius"),
    "structure": (TorchAttack("BIM"), Dssim(0.01), "one Linf radius"),
    "a radius for each": (TorchAttack("BIM"), Linf(torch.full((COUNT,), 0.1)), "one Linf radius"),
}


@pytest.mark.parametrize(("attack", "budget", "message"), BAD.values(), ids=BAD)
def test_what_the_user_can_mend_is_said_in_one_line(
    attack: TorchAttack, budget: Budget, message: str, look: View, batch: Callable
) -> None:
    with pytest.raises(FrbenchError, match=message) as error:
        attack(look, batch(COUNT, SIZE), Dodging(), budget)
    assert "\n" not in str(error.value)


def test_a_failure_of_the_recognizer_is_not_put_down_to_the_parameters(
    look: View, batch: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Scores:
        raise ValueError("the network's own")

    pairs = batch(COUNT, SIZE)
    broken = Recorded(CosineVerifier(look.verifier.recognizer))  # type: ignore[attr-defined]
    monkeypatch.setattr(Recorded, "score", fail)
    with pytest.raises(ValueError, match="the network's own"):
        TorchAttack("BIM")(replace(look, verifier=broken), pairs, Dodging(), Linf(0.1))
