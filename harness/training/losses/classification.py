"""Classification losses of an ensemble: on the mean embedding or on each member (Amada et al., SafeAI@AAAI 2021).

The method: docs/methods/ensembles.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from torch import Tensor
from torch.nn.functional import normalize

from frbench.harness.training.losses.base import EnsembleOutput
from frbench.harness.training.losses.margins import Margin, margin_loss

# mean: on the normalized mean embedding, under a shared head. member: on each member, averaged. sum: on each member,
# summed, so that each trains as it would alone. both: on the mean embedding, plus a tenth of ``member``.
Classify = Literal["mean", "member", "sum", "both"]
_SHARE = 0.1  # weight of the members in ``both``

Judged = tuple[Tensor, Tensor]  # the loss, and the accuracy of the cosines without margin


def _judged(cosines: Tensor, person: Tensor, margin: Margin, epoch: float) -> Judged:
    right = (cosines.detach().argmax(dim=1) == person).float().mean()
    return margin_loss(margin, cosines, person, epoch), right


def _on_mean(output: EnsembleOutput, margin: Margin, epoch: float) -> Judged:
    fused = normalize(output.embeddings.mean(dim=1), dim=1)
    return _judged(fused @ output.class_centers[0].T, output.person, margin, epoch)


def _on_members(output: EnsembleOutput, margin: Margin, epoch: float) -> Judged:
    cosines = output.cosines.flatten(0, 1)
    return _judged(cosines, output.person.repeat_interleave(output.embeddings.shape[1]), margin, epoch)


def _on_all(output: EnsembleOutput, margin: Margin, epoch: float) -> Judged:
    loss, right = _on_members(output, margin, epoch)
    return output.embeddings.shape[1] * loss, right


def _on_both(output: EnsembleOutput, margin: Margin, epoch: float) -> Judged:
    loss, right = _on_mean(output, margin, epoch)
    return loss + _SHARE * _on_members(output, margin, epoch)[0], right


CLASSIFICATIONS: Mapping[Classify, Callable[[EnsembleOutput, Margin, float], Judged]] = {
    "mean": _on_mean,
    "member": _on_members,
    "sum": _on_all,
    "both": _on_both,
}
