"""Facts about each attack of torchattacks 3.5.1 that the adapter needs, one line per attack.

A new release of the library needs a new table; no code compares an attack's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import TypedDict  # typing's own is unknown to pydantic before Python 3.12

from frbench.harness.core.contracts import Budget
from frbench.harness.core.domains import (
    AtLeastTwo,
    Fraction,
    NonNegative,
    OddPixels,
    PixelChange,
    Positive,
    PositiveFraction,
    PositiveInt,
    Seed,
)
from frbench.harness.threat_model.budgets import L2, Linf

VERSION = "3.5.1"


@dataclass(frozen=True)
class LibraryAttack:
    """How to call one attack of the library, and its capabilities.

    Attributes:
        norms: supported budgets, each with the constructor arguments for its norm; empty for an unbounded attack.
        radius: name of the parameter for the radius of the budget.
        fixed: parameters that only work with one value for two classes.
        alone: gets one pair at a time, because it forwards parts, copies or single images of a batch.
        mixes: pairs of a batch share random numbers or a stopping rule, so results depend on the batch.
        random_start: default of the parameter of that name; a random start is drawn per batch and mixes its pairs.
        queries: name of the parameter for the number of queries, which the view's limit sets.
        spare: queries beyond that number.
        square: needs images of equal height and width.
        refused: why the attack cannot attack pairs.
    """

    identity = "attack.torchattacks_entry"
    version = 1

    norms: Mapping[type[Budget], Mapping[str, Any]] = field(default_factory=dict)
    radius: str = "eps"
    fixed: Mapping[str, Any] = field(default_factory=dict)
    alone: bool = False
    mixes: bool = False
    random_start: bool = False
    needs_gradient: bool = True
    stops_early: bool = False
    queries: str | None = None
    spare: int = 0
    square: bool = False
    refused: str | None = None

    @property
    def bounded(self) -> bool:
        return bool(self.norms)

    @property
    def of_budget(self) -> set[str]:
        """Parameters that the budget sets."""
        return {self.radius, *(name for norm in self.norms.values() for name in norm)} if self.bounded else set()


_LINF: Mapping[type[Budget], Mapping[str, Any]] = {Linf: {}}
_L2: Mapping[type[Budget], Mapping[str, Any]] = {L2: {}}
_EITHER: Mapping[type[Budget], Mapping[str, Any]] = {Linf: {"norm": "Linf"}, L2: {"norm": "L2"}}
_TWO = {"n_classes": 2}  # the true class and the other; the two dummy columns are never a target

ATTACKS: Mapping[str, LibraryAttack] = {
    # Controls: no change, and Gaussian noise with its own standard deviation.
    "VANILA": LibraryAttack(needs_gradient=False),
    "GN": LibraryAttack(needs_gradient=False, alone=True),
    # Sign steps on the whole batch in order.
    "FGSM": LibraryAttack(_LINF),
    "BIM": LibraryAttack(_LINF),
    "RFGSM": LibraryAttack(_LINF, mixes=True),
    "PGD": LibraryAttack(_LINF, random_start=True),
    "EOTPGD": LibraryAttack(_LINF, random_start=True),
    "FFGSM": LibraryAttack(_LINF, mixes=True),
    "TPGD": LibraryAttack(_LINF, mixes=True),  # ignores the label: away from the clean prediction in either direction
    "MIFGSM": LibraryAttack(_LINF),
    # With two classes the gradient of its margin loss, by whose norm it divides, vanishes.
    "UPGD": LibraryAttack(_LINF, fixed={"loss": "ce"}),
    "DIFGSM": LibraryAttack(_LINF, mixes=True, square=True),
    "TIFGSM": LibraryAttack(_LINF, mixes=True, square=True),
    "Jitter": LibraryAttack(_LINF, mixes=True),
    "NIFGSM": LibraryAttack(_LINF),
    "SINIFGSM": LibraryAttack(_LINF),
    "VMIFGSM": LibraryAttack(_LINF, mixes=True),
    "VNIFGSM": LibraryAttack(_LINF, mixes=True),
    "PIFGSM": LibraryAttack(_LINF, "max_epsilon"),
    "PIFGSMPP": LibraryAttack(_LINF, "max_epsilon"),
    "PGDL2": LibraryAttack(_L2, random_start=True),
    # For randomised smoothing: noisy copies of each image.
    "PGDRS": LibraryAttack(_LINF, alone=True),
    "PGDRSL2": LibraryAttack(_L2, alone=True),
    # Smallest perturbations. CW and EAD stop all pairs when the summed cost of the batch rises; EAD's kappa above zero
    # changes whole columns of the batch.
    "CW": LibraryAttack(mixes=True, stops_early=True),
    "EADL1": LibraryAttack(fixed={"kappa": 0}, mixes=True, stops_early=True),
    "EADEN": LibraryAttack(fixed={"kappa": 0}, mixes=True, stops_early=True),
    "DeepFool": LibraryAttack(alone=True, stops_early=True),
    "SparseFool": LibraryAttack(alone=True, stops_early=True),
    "FAB": LibraryAttack(_EITHER, fixed=_TWO, alone=True, stops_early=True),
    # These return the clean image of a pair unless they succeed.
    "APGD": LibraryAttack(_EITHER, alone=True, stops_early=True),
    "APGDT": LibraryAttack(_EITHER, fixed=_TWO, alone=True, stops_early=True),
    "AutoAttack": LibraryAttack(_EITHER, fixed=_TWO, alone=True, stops_early=True),
    # Score-based. Square also queries the clean image, its initial image and its result.
    "Square": LibraryAttack(_EITHER, alone=True, needs_gradient=False, stops_early=True, queries="n_queries", spare=3),
    "SPSA": LibraryAttack(_LINF, alone=True, needs_gradient=False),
    "OnePixel": LibraryAttack(alone=True, needs_gradient=False, stops_early=True),
    "Pixle": LibraryAttack(alone=True, needs_gradient=False, stops_early=True),
    "JSMA": LibraryAttack(
        refused="its saliency map over pairs of pixel values needs tensors of 5.3 GiB at 112x112, and without a target "
        "attacks class (label + 1) mod 10, which does not exist with two classes; use another attack"
    ),
    "MultiAttack": LibraryAttack(
        refused="its parameters are attack objects, which params cannot hold; use attack=worst_case or "
        "attack.name=AutoAttack"
    ),
    "LGV": LibraryAttack(
        refused="it fine-tunes a classifier on labelled images; use threat=transfer with another recognizer"
    ),
}


class Params(TypedDict, total=False):
    """Domains of the library's parameters; parameters of equal name have the same meaning in all attacks."""

    N: PositiveInt
    abort_early: bool
    alpha: Positive
    alpha_max: PositiveFraction
    amplification: Positive
    batch_max: PositiveInt
    beta: NonNegative
    binary_search_steps: PositiveInt
    c: Positive
    decay: NonNegative
    delta: Positive
    diversity_prob: Fraction
    eot_iter: PositiveInt
    eps: PixelChange
    eps_for_division: Positive
    eta: Positive
    inf_batch: PositiveInt
    initial_const: Positive
    kappa: NonNegative
    kernel_name: str
    lam: Positive
    len_kernel: OddPixels
    loss: str
    lr: Positive
    m: PositiveInt
    max_batch_size: PositiveInt
    max_epsilon: PixelChange
    max_iterations: PositiveInt
    momentum: NonNegative
    multi_targeted: bool
    n_classes: AtLeastTwo
    n_queries: PositiveInt
    n_restarts: PositiveInt
    nb_iter: PositiveInt
    nb_sample: PositiveInt
    noise_batch_size: PositiveInt
    noise_sd: NonNegative
    noise_type: str
    norm: str
    nsig: Positive
    num_iter_set: PositiveInt
    overshoot: NonNegative
    p_init: PositiveFraction
    pixel_mapping: str
    pixels: PositiveInt
    popsize: PositiveInt
    prob: Fraction
    project_factor: Positive
    random_start: bool
    resc_schedule: bool
    resize_rate: Positive
    restarts: PositiveInt
    rho: PositiveFraction
    scale: Positive
    seed: Seed | None
    std: NonNegative
    steps: PositiveInt
    update_each_iteration: bool
    verbose: bool
    version: str
    x_dimensions: Sequence[Positive]
    y_dimensions: Sequence[Positive]
