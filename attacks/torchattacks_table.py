"""What the bridge has to know of each attack of torchattacks 3.5.1 (specs/ensemble_attacks 7.4; code: TA attacks/*.py).

One line an attack: a new release of the library is a new table, and no code asks for an attack by its name.
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
    """How one attack of the library is told its budget, fed with pairs, and to be believed.

    norms:    budgets that it keeps to, each with what its constructor is told of the norm; none: it knows no limit.
    radius:   its parameter for the size of the budget.
    fixed:    parameters that the bridge sets and a user may not, because two classes work with no other value.
    alone:    it forwards parts, copies or single images of a batch, so it gets one pair at a time.
    mixes:    pairs of a batch share random numbers or a stopping rule, so a result depends on its batch.
    random_start: default of the parameter of that name; a random start is drawn for the batch and mixes its pairs.
    queries:  its parameter for a number of scores, which a limit of the view sets.
    spare:    scores that it asks for beyond that number.
    square:   it takes images as high as they are wide.
    refused:  why it cannot work here at all.
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
        """Names of the parameters that the budget sets."""
        return {self.radius, *(name for norm in self.norms.values() for name in norm)} if self.bounded else set()


_LINF: Mapping[type[Budget], Mapping[str, Any]] = {Linf: {}}
_L2: Mapping[type[Budget], Mapping[str, Any]] = {L2: {}}
_EITHER: Mapping[type[Budget], Mapping[str, Any]] = {Linf: {"norm": "Linf"}, L2: {"norm": "L2"}}
_TWO = {"n_classes": 2}  # the true class and the other; the two dummy columns are never a target

ATTACKS: Mapping[str, LibraryAttack] = {
    # Controls: nothing, and Gaussian noise of its own size.
    "VANILA": LibraryAttack(needs_gradient=False),
    "GN": LibraryAttack(needs_gradient=False, alone=True),
    # Sign steps on the whole batch in order.
    "FGSM": LibraryAttack(_LINF),
    "BIM": LibraryAttack(_LINF),
    "RFGSM": LibraryAttack(_LINF, mixes=True),
    "PGD": LibraryAttack(_LINF, random_start=True),
    "EOTPGD": LibraryAttack(_LINF, random_start=True),
    "FFGSM": LibraryAttack(_LINF, mixes=True),
    "TPGD": LibraryAttack(_LINF, mixes=True),  # away from the clean answer, in either direction: it sees no label
    "MIFGSM": LibraryAttack(_LINF),
    # With two classes its losses have one direction, and the margin's gradient, by whose size it divides, ends at zero.
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
    # Smallest changes. CW and EAD stop all pairs when the summed cost of the batch rises; EAD's kappa above zero
    # changes whole columns of the batch.
    "CW": LibraryAttack(mixes=True, stops_early=True),
    "EADL1": LibraryAttack(fixed={"kappa": 0}, mixes=True, stops_early=True),
    "EADEN": LibraryAttack(fixed={"kappa": 0}, mixes=True, stops_early=True),
    "DeepFool": LibraryAttack(alone=True, stops_early=True),
    "SparseFool": LibraryAttack(alone=True, stops_early=True),
    "FAB": LibraryAttack(_EITHER, fixed=_TWO, alone=True, stops_early=True),
    # Those that keep a pair's clean image unless it is fooled.
    "APGD": LibraryAttack(_EITHER, alone=True, stops_early=True),
    "APGDT": LibraryAttack(_EITHER, fixed=_TWO, alone=True, stops_early=True),
    "AutoAttack": LibraryAttack(_EITHER, fixed=_TWO, alone=True, stops_early=True),
    # Scores alone. Square asks for the clean image's, its start's and its result's beside the counted ones.
    "Square": LibraryAttack(_EITHER, alone=True, needs_gradient=False, stops_early=True, queries="n_queries", spare=3),
    "SPSA": LibraryAttack(_LINF, alone=True, needs_gradient=False),
    "OnePixel": LibraryAttack(alone=True, needs_gradient=False, stops_early=True),
    "Pixle": LibraryAttack(alone=True, needs_gradient=False, stops_early=True),
    "JSMA": LibraryAttack(
        refused="it weighs every pair of pixel values, 5.3 GiB a tensor at 112x112, and without a target it aims at "
        "class (label + 1) mod 10, which two classes do not have"
    ),
    "MultiAttack": LibraryAttack(
        refused="it is made of attack objects, which a name and params cannot give; "
        "take attack=worst_case, or attack.name=AutoAttack"
    ),
    "LGV": LibraryAttack(
        refused="it trains copies of a classifier on a loader of labelled images; "
        "take threat=transfer with another recognizer"
    ),
}


class Params(TypedDict, total=False):
    """Domains of the library's own parameters, by name: where two attacks share a name, it means the same."""

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
