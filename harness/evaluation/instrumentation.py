"""A verifier wrapper that counts queries and gradients, limits queries, and records the course of the loss.

Attacks do not report their own effort: Crafting hands them this wrapper instead of their verifier.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.contracts import Draw, Goal, Images, Scores, Template, Verifier
from frbench.harness.core.verifiers import Wrapping

LATE_SHARE = 0.1  # share of an attack's queries that counts as its end


class InstrumentedVerifier(Wrapping):
    """Counts what an attack on the pairs ``index`` (N,) does with ``verifier``.

    Args:
        limit: scores computed per pair. Beyond it a score is NaN and is not counted.

    Attributes:
        queries, gradients, zero_gradients, nonfinite_gradients: int64 (N,), in the order of ``index``.
    """

    identity = "verifier.instrumented"
    version = 1

    def __init__(self, verifier: Verifier, index: Tensor, goal: Goal, limit: int | None = None) -> None:
        self.verifier, self.goal, self.limit = verifier, goal, limit
        self._sorted, self._order = index.sort()
        self.queries = torch.zeros_like(index)
        self.gradients, self.zero_gradients, self.nonfinite_gradients = (torch.zeros_like(index) for _ in range(3))
        self._losses: list[tuple[Tensor, Tensor]] = []  # rows and losses of each call

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        rows = self._order[torch.searchsorted(self._sorted, template.index)]
        allowed = None if self.limit is None else self._allowed(rows, self.limit)
        if allowed is None or bool(allowed.all()):
            return self._scored(probe, template, draw, rows)
        scores = 0 * probe.flatten(1)[:, 0] + torch.nan  # differentiable, with gradient zero
        if not bool(allowed.any()):
            return scores
        return scores.masked_scatter(allowed, self._scored(probe[allowed], template[allowed], draw, rows[allowed]))

    def _allowed(self, rows: Tensor, limit: int) -> Tensor:
        """Which rows are within the limit, where a pair may have several rows in one call."""
        ranked, order = rows.sort(stable=True)
        place = torch.arange(len(rows), device=rows.device) - torch.searchsorted(ranked, ranked)
        earlier = torch.empty_like(place).scatter_(0, order, place)
        return self.queries[rows] + earlier < limit

    def _scored(self, probe: Images, template: Template, draw: Draw, rows: Tensor) -> Scores:
        self.queries.index_add_(0, rows, torch.ones_like(rows))
        if probe.requires_grad and torch.is_grad_enabled():
            probe = probe.view_as(probe)
            probe.register_hook(lambda gradient: self._count(gradient, rows))
        scores = self.verifier.score(probe, template, draw)
        self._losses.append((rows, self.goal.loss(scores.detach())))
        return scores

    def _count(self, gradient: Tensor, rows: Tensor) -> None:
        largest = gradient.detach().abs().amax(dim=(1, 2, 3))
        self.gradients.index_add_(0, rows, torch.ones_like(rows))
        self.zero_gradients.index_add_(0, rows, (largest == 0).to(rows.dtype))
        self.nonfinite_gradients.index_add_(0, rows, (~torch.isfinite(largest)).to(rows.dtype))

    def late_gain(self) -> np.ndarray:
        """Share (N,) of the total decrease of each pair's best loss that falls in the last tenth of its queries."""
        count = len(self.queries)
        if not self._losses:
            return np.zeros(count, np.float32)
        rows = torch.cat([rows for rows, _ in self._losses]).cpu().numpy()
        losses = torch.cat([loss for _, loss in self._losses]).double().cpu().numpy()
        order = np.argsort(rows, kind="stable")
        rows, losses = rows[order], np.nan_to_num(losses[order], nan=np.inf)
        calls = np.bincount(rows, minlength=count)
        place = np.arange(len(rows)) - np.repeat(np.cumsum(calls) - calls, calls)
        best = np.full((count, calls.max()), np.inf)
        best[rows, place] = losses
        best = np.minimum.accumulate(best, axis=1)
        each = np.arange(count)
        first, last = best[:, 0], best[each, calls - 1]
        before = best[each, np.maximum(np.ceil(calls * (1 - LATE_SHARE)).astype(int), 1) - 1]
        with np.errstate(invalid="ignore", divide="ignore"):
            share = (before - last) / (first - last)
        return np.where((calls > 0) & (first > last), share, 0).astype(np.float32)

    def facts(self) -> dict[str, np.ndarray]:
        """The four counts and ``late_gain``, each (N,)."""
        return {
            "queries": self.queries.cpu().numpy(),
            "gradients": self.gradients.cpu().numpy(),
            "zero_gradients": self.zero_gradients.cpu().numpy(),
            "nonfinite_gradients": self.nonfinite_gradients.cpu().numpy(),
            "late_gain": self.late_gain(),
        }
