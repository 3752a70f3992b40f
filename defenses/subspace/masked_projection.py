"""Projection of a face on the eigenfaces that a network selects for it, shared by PIN and AIS, and its relaxations.

The method: docs/methods/subspace_projections.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from frbench.defenses.components.artifact_tensors import load_network
from frbench.defenses.components.purifier import FittedPurifierDefense
from frbench.defenses.subspace.eigenfaces import Eigenspace, gray, to_rgb
from frbench.harness.core.contracts import Draw, Fitted, Images, Recipe
from frbench.harness.core.counter_rng import uniform
from frbench.harness.core.face_data import FaceSource
from frbench.harness.core.purifiers import Purifier, Sides

Masking = Literal["bernoulli", "threshold_half", "threshold_mean"]


class Gate(Protocol):
    """How a mask (B, N) multiplies coefficients (B, N), forward and backward.

    Attributes:
        through_selector: whether gradients flow through the selector network.
        samples_mask: whether the output depends on the sampled mask.
    """

    @property
    def through_selector(self) -> bool: ...

    @property
    def samples_mask(self) -> bool: ...

    def __call__(self, coefficients: Tensor, keep: Tensor, mask: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Direct:
    """The sampled mask as a constant: the exact gradient of the projection for a given mask."""

    identity = "purifier.mask_direct"
    version = 1

    through_selector, samples_mask = False, True

    def __call__(self, coefficients: Tensor, keep: Tensor, mask: Tensor) -> Tensor:
        return coefficients * mask


@dataclass(frozen=True)
class MeanMask:
    """The keep probabilities instead of the mask: the expectation of the purified face over masks."""

    identity = "purifier.mask_mean"
    version = 1

    through_selector, samples_mask = True, False

    def __call__(self, coefficients: Tensor, keep: Tensor, mask: Tensor) -> Tensor:
        return coefficients * keep


@dataclass(frozen=True)
class StraightThroughMask:
    """The sampled mask forward, the gradient of the keep probabilities backward (straight-through estimator)."""

    identity = "purifier.mask_straight_through"
    version = 1

    through_selector, samples_mask = True, True

    def __call__(self, coefficients: Tensor, keep: Tensor, mask: Tensor) -> Tensor:
        return coefficients * (mask + keep - keep.detach())


@dataclass(frozen=True)
class SelectionGradient:
    """Straight-through gradients through the mask alone: an attack on the selection of eigenfaces."""

    identity = "verifier.mask_steering"
    version = 1

    through_selector, samples_mask = True, True

    def __call__(self, coefficients: Tensor, keep: Tensor, mask: Tensor) -> Tensor:
        return coefficients.detach() * (mask + keep - keep.detach())


@dataclass(frozen=True)
class MaskedProjection:
    """Project the gray face on the eigenfaces that ``selector`` keeps for it, without clipping.

    Attributes:
        selector: network from gray faces (N, 1, H, W) in [-1, 1] to keep logits (N, components).
        mask: ``bernoulli`` samples each bit, ``threshold_half`` keeps probabilities above 0.5, ``threshold_mean`` above
            the mean of the image.
        gate: how the mask multiplies the coefficients.
    """

    identity = "purifier.masked_projection"
    version = 1

    artifact: Fitted
    selector: nn.Module = field(compare=False, repr=False)
    space: Eigenspace = field(compare=False, repr=False)
    mask: Masking = "bernoulli"
    gate: Gate = Direct()

    differentiable = True
    unclamped = True

    @property
    def random(self) -> bool:
        return self.mask == "bernoulli" and self.gate.samples_mask

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        return self.purify_once(images, index)(draw)

    def purify_once(self, images: Images, index: Tensor) -> Callable[[Draw], Images]:
        """Run the selector once; the result maps a draw to purified images."""
        faces = gray(images)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.gate.through_selector):
            keep = torch.sigmoid(self.selector(faces.reshape(-1, 1, *images.shape[2:])).float())
        coefficients = self.space.coefficients(faces)

        def sample(draw: Draw) -> Images:
            mask = self._mask(keep.detach(), index, draw).to(keep.dtype)
            return to_rgb(self.space.faces(self.gate(coefficients, keep, mask)), images)

        return sample

    def _mask(self, keep: Tensor, index: Tensor, draw: Draw) -> Tensor:
        if self.mask == "bernoulli":
            return keep > uniform(index, draw, (keep.shape[1],))
        return keep > (0.5 if self.mask == "threshold_half" else keep.mean(dim=1, keepdim=True))


@dataclass(frozen=True)
class WithinSubspace:
    """The purifier with its gradient projected on the ``leading`` eigenfaces.

    The attack then perturbs directions that the projection is likely to keep. The forward pass is unchanged.
    """

    identity = "verifier.within_subspace"
    version = 1

    purifier: MaskedProjection
    space: Eigenspace = field(compare=False, repr=False)
    leading: int = 200

    differentiable = True
    unclamped = True

    @property
    def random(self) -> bool:
        return self.purifier.random

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        return self.purifier(self._restricted(images), index, draw)

    def purify_once(self, images: Images, index: Tensor) -> Callable[[Draw], Images]:
        return self.purifier.purify_once(self._restricted(images), index)

    def _restricted(self, images: Images) -> Images:
        space = Eigenspace(self.space.mean, self.space.basis[:, : self.leading])
        face = space.project(images)
        return images.detach() + face - face.detach()


class SelectionRecipe(Recipe, Protocol):
    """A recipe whose artifact holds ``mean``, ``basis`` and the weights of ``network()`` under ``network/``."""

    def network(self) -> nn.Module: ...


@dataclass(frozen=True)
class SelectionDefense(FittedPurifierDefense):
    """A masked projection fitted by ``recipe`` on ``faces``, of people outside the test set.

    Attributes:
        mask: ``bernoulli`` samples each bit, ``threshold_half`` keeps probabilities above 0.5, ``threshold_mean`` above
            the mean of the image.
    """

    faces: FaceSource = field(compare=False)  # identified by the digest of its images, not by paths
    recipe: SelectionRecipe
    mask: Masking = "bernoulli"
    apply_to: Sides = "both"
    artifact: Fitted | None = field(default=None, repr=False)

    option: ClassVar[str]

    def purifier(self) -> MaskedProjection:
        """The purifier; raises FrbenchError if the defense is not fitted."""
        tensors = self.ready.tensors
        space = Eigenspace.of(tensors, tensors["mean"].device)
        return MaskedProjection(self.ready, load_network(self.recipe.network(), tensors), space, self.mask)

    def differentiable_purifiers(self) -> Mapping[str, Purifier]:
        purifier = self.purifier()
        return {
            "direct": purifier,
            "mean_mask": replace(purifier, gate=MeanMask()),
            "straight_through": replace(purifier, gate=StraightThroughMask()),
            "subspace": WithinSubspace(purifier, purifier.space),
            "steering": replace(purifier, gate=SelectionGradient()),
        }
