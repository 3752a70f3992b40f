"""What PIN and AIS share: a face projected on the eigenvectors that a network keeps for it, and its stand-ins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from frbench.defenses.components.artifact_keys import under
from frbench.defenses.components.purifier import FittedPurifierDefense
from frbench.defenses.subspace.eigenfaces import Eigenspace, colour, gray
from frbench.harness.core.contracts import Draw, Fitted, Images, Recipe
from frbench.harness.core.counter_rng import uniform
from frbench.harness.core.face_data import FaceSource
from frbench.harness.core.verifiers import Purifier, Sides

Masking = Literal["bernoulli", "half", "mean"]


class Gate(Protocol):
    """How coefficients a (B, N) pass: by the true mask (B, N) forward, by what it says backward.

    ``watches``: whether the gradient runs through the network that chooses. ``draws``: whether a drawn mask matters.
    """

    @property
    def watches(self) -> bool: ...

    @property
    def draws(self) -> bool: ...

    def __call__(self, coefficients: Tensor, keep: Tensor, mask: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Direct:
    """The mask is a constant: the exact gradient of a drawn mask (specs/pin_ais 9, A1)."""

    identity = "purifier.mask_direct"
    version = 1

    watches, draws = False, True

    def __call__(self, coefficients: Tensor, keep: Tensor, mask: Tensor) -> Tensor:
        return coefficients * mask


@dataclass(frozen=True)
class MeanMask:
    """The probabilities in place of the mask, forward too: what the purifier gives in the mean over draws (A2)."""

    identity = "purifier.mask_mean"
    version = 1

    watches, draws = True, False

    def __call__(self, coefficients: Tensor, keep: Tensor, mask: Tensor) -> Tensor:
        return coefficients * keep


@dataclass(frozen=True)
class ThroughMask:
    """The drawn mask forward, the probabilities' derivative backward (A3)."""

    identity = "purifier.mask_straight_through"
    version = 1

    watches, draws = True, True

    def __call__(self, coefficients: Tensor, keep: Tensor, mask: Tensor) -> Tensor:
        return coefficients * (mask + keep - keep.detach())


@dataclass(frozen=True)
class Steering:
    """Only the mask has a derivative: can the attacker switch off identity by the choice alone? (A7)."""

    identity = "verifier.mask_steering"
    version = 1

    watches, draws = True, True

    def __call__(self, coefficients: Tensor, keep: Tensor, mask: Tensor) -> Tensor:
        return coefficients.detach() * (mask + keep - keep.detach())


@dataclass(frozen=True)
class Selected:
    """Gray, projected on the kept eigenvectors of the image itself, copied to three channels; not clipped.

    mask: bernoulli draws each bit; half keeps where p > 0.5; mean where p is above the image's mean.
    chooser: gray faces (N, 1, H, W) in [-1, 1] to logits (N, components).
    """

    identity = "purifier.masked_projection"
    version = 1

    artifact: Fitted
    chooser: nn.Module = field(compare=False, repr=False)
    space: Eigenspace = field(compare=False, repr=False)
    mask: Masking = "bernoulli"
    gate: Gate = Direct()

    differentiable = True
    unclamped = True

    @property
    def random(self) -> bool:
        return self.mask == "bernoulli" and self.gate.draws

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        return self.seen(images, index)(draw)

    def seen(self, images: Images, index: Tensor) -> Callable[[Draw], Images]:
        """The images purified by any draw; what does not depend on the draw is done once."""
        faces = gray(images)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.gate.watches):
            keep = torch.sigmoid(self.chooser(faces.reshape(-1, 1, *images.shape[2:])).float())
        coefficients = self.space.coefficients(faces)

        def redrawn(draw: Draw) -> Images:
            mask = self._mask(keep.detach(), index, draw).to(keep.dtype)
            return colour(self.space.faces(self.gate(coefficients, keep, mask)), images)

        return redrawn

    def _mask(self, keep: Tensor, index: Tensor, draw: Draw) -> Tensor:
        if self.mask == "bernoulli":
            return keep > uniform(index, draw, (keep.shape[1],))
        return keep > (0.5 if self.mask == "half" else keep.mean(dim=1, keepdim=True))


@dataclass(frozen=True)
class WithinSubspace:
    """A purifier whose gradient is projected on the leading eigenvectors: few degrees of freedom (A6).

    Forward it is the purifier itself; an attack then moves along faces, not along what projection takes away.
    """

    identity = "verifier.within_subspace"
    version = 1

    purifier: Selected
    space: Eigenspace = field(compare=False, repr=False)
    leading: int = 200

    differentiable = True
    unclamped = True

    @property
    def random(self) -> bool:
        return self.purifier.random

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        return self.purifier(self._restricted(images), index, draw)

    def seen(self, images: Images, index: Tensor) -> Callable[[Draw], Images]:
        return self.purifier.seen(self._restricted(images), index)

    def _restricted(self, images: Images) -> Images:
        space = Eigenspace(self.space.mean, self.space.basis[:, : self.leading])
        face = space.project(images)
        return images.detach() + face - face.detach()


class SelectionRecipe(Recipe, Protocol):
    """A recipe whose artifact holds ``mean`` and ``basis``, and under ``network/`` the weights of ``network()``."""

    def network(self) -> nn.Module: ...


@dataclass(frozen=True)
class SelectionDefense(FittedPurifierDefense):
    """``recipe`` fitted on ``faces``, people other than those of the test set; ``mask`` as ``Selected`` has it."""

    faces: FaceSource = field(compare=False)  # known by the digest of what it opens to, not by its paths
    recipe: SelectionRecipe
    mask: Masking = "bernoulli"
    purify: Sides = "both"
    artifact: Fitted | None = field(default=None, repr=False)

    def purifier(self) -> Selected:
        """Raises FrbenchError: not fitted."""
        tensors = self.ready.tensors
        network = self.recipe.network().requires_grad_(False)
        network.load_state_dict(under(tensors, "network"))
        device = tensors["mean"].device
        return Selected(self.ready, network.to(device).eval(), Eigenspace.of(tensors, device), self.mask)

    def stand_ins(self) -> Mapping[str, Purifier]:
        """The usual one first; specs/pin_ais 9 lists them."""
        purifier = self.purifier()
        return {
            "direct": purifier,
            "mean_mask": replace(purifier, gate=MeanMask()),
            "straight_through": replace(purifier, gate=ThroughMask()),
            "subspace": WithinSubspace(purifier, purifier.space),
            "steering": replace(purifier, gate=Steering()),
        }
