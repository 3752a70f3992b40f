"""Where in an ensemble people are told apart: on the mean of the members, or on each. Spec: ensemble_attacks 2.3."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from torch import Tensor
from torch.nn.functional import normalize

from frbench.harness.training.losses.base import Seen
from frbench.harness.training.losses.margins import Margin, margin_loss

# mean: on the normalised mean of the members, under a shared head. member: on each, averaged. sum: on each, summed, so
# that each learns as it would alone. both: on the mean, and a tenth on each.
Classify = Literal["mean", "member", "sum", "both"]
_SHARE = 0.1  # of the members, in ``both``

Judged = tuple[Tensor, Tensor]  # the loss, and the share of images that the cosines without margin name rightly


def _judged(cosines: Tensor, person: Tensor, margin: Margin, epoch: float) -> Judged:
    right = (cosines.detach().argmax(dim=1) == person).float().mean()
    return margin_loss(margin, cosines, person, epoch), right


def _on_mean(seen: Seen, margin: Margin, epoch: float) -> Judged:
    fused = normalize(seen.units.mean(dim=1), dim=1)
    return _judged(fused @ seen.centres[0].T, seen.person, margin, epoch)


def _on_members(seen: Seen, margin: Margin, epoch: float) -> Judged:
    cosines = seen.cosines.flatten(0, 1)
    return _judged(cosines, seen.person.repeat_interleave(seen.units.shape[1]), margin, epoch)


def _on_all(seen: Seen, margin: Margin, epoch: float) -> Judged:
    loss, right = _on_members(seen, margin, epoch)
    return seen.units.shape[1] * loss, right


def _on_both(seen: Seen, margin: Margin, epoch: float) -> Judged:
    loss, right = _on_mean(seen, margin, epoch)
    return loss + _SHARE * _on_members(seen, margin, epoch)[0], right


CLASSIFICATIONS: Mapping[Classify, Callable[[Seen, Margin, float], Judged]] = {
    "mean": _on_mean,
    "member": _on_members,
    "sum": _on_all,
    "both": _on_both,
}
