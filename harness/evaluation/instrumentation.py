"""An attack watched from outside: scores asked for, gradients taken and what they were worth, how the loss fell.

No attack reports on itself: what it gets in place of its verifier counts every score of every pair, stops answering
where a limit is reached, and looks at every gradient that passes through.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.contracts import Draw, Goal, Images, Scores, Template, Verifier
from frbench.harness.core.verifiers import Wrapping

LATE = 0.1  # the share of an attack's scores that counts as its end


class Watched(Wrapping):
    """A verifier that notes what is done with it, for the pairs ``index`` (N,).

    limit: scores answered for each pair; beyond it a score is NaN, and nothing is computed or counted.
    ``queries``, ``gradients``, ``zero_gradients``, ``nonfinite_gradients``: int64 (N,), in the order of ``index``.
    """

    identity = "verifier.instrumented"
    version = 1

    def __init__(self, verifier: Verifier, index: Tensor, goal: Goal, limit: int | None = None) -> None:
        self.verifier, self.goal, self.limit = verifier, goal, limit
        self._sorted, self._order = index.sort()
        self.queries = torch.zeros_like(index)
        self.gradients, self.zero_gradients, self.nonfinite_gradients = (torch.zeros_like(index) for _ in range(3))
        self._track: list[tuple[Tensor, Tensor]] = []

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        rows = self._order[torch.searchsorted(self._sorted, template.index)]
        allowed = None if self.limit is None else self._allowed(rows, self.limit)
        if allowed is None or bool(allowed.all()):
            return self._answer(probe, template, draw, rows)
        scores = 0 * probe.flatten(1)[:, 0] + torch.nan  # with a gradient to ask for, which is zero
        if not bool(allowed.any()):
            return scores
        answered = self._answer(probe[allowed], template[allowed], draw, rows[allowed])
        return scores.masked_scatter(allowed, answered)

    def _allowed(self, rows: Tensor, limit: int) -> Tensor:
        """Which of these questions are still within the limit, where one pair may stand in several rows."""
        ranked, order = rows.sort(stable=True)
        place = torch.arange(len(rows), device=rows.device) - torch.searchsorted(ranked, ranked)
        earlier = torch.empty_like(place).scatter_(0, order, place)
        return self.queries[rows] + earlier < limit

    def _answer(self, probe: Images, template: Template, draw: Draw, rows: Tensor) -> Scores:
        self.queries.index_add_(0, rows, torch.ones_like(rows))
        if probe.requires_grad and torch.is_grad_enabled():
            probe = probe.view_as(probe)
            probe.register_hook(lambda gradient: self._look(gradient, rows))
        scores = self.verifier.score(probe, template, draw)
        self._track.append((rows, self.goal.loss(scores.detach())))
        return scores

    def _look(self, gradient: Tensor, rows: Tensor) -> None:
        largest = gradient.detach().abs().amax(dim=(1, 2, 3))
        self.gradients.index_add_(0, rows, torch.ones_like(rows))
        self.zero_gradients.index_add_(0, rows, (largest == 0).to(rows.dtype))
        self.nonfinite_gradients.index_add_(0, rows, (~torch.isfinite(largest)).to(rows.dtype))

    def late_gain(self) -> np.ndarray:
        """Of what each pair's best loss fell in all, the share that fell in the last tenth of its scores, (N,)."""
        count = len(self.queries)
        if not self._track:
            return np.zeros(count, np.float32)
        rows = torch.cat([rows for rows, _ in self._track]).cpu().numpy()
        losses = torch.cat([loss for _, loss in self._track]).double().cpu().numpy()
        order = np.argsort(rows, kind="stable")
        rows, losses = rows[order], np.nan_to_num(losses[order], nan=np.inf)
        calls = np.bincount(rows, minlength=count)
        place = np.arange(len(rows)) - np.repeat(np.cumsum(calls) - calls, calls)
        best = np.full((count, calls.max()), np.inf)
        best[rows, place] = losses
        best = np.minimum.accumulate(best, axis=1)
        each = np.arange(count)
        first, last = best[:, 0], best[each, calls - 1]
        before = best[each, np.maximum(np.ceil(calls * (1 - LATE)).astype(int), 1) - 1]
        with np.errstate(invalid="ignore", divide="ignore"):
            share = (before - last) / (first - last)
        return np.where((calls > 0) & (first > last), share, 0).astype(np.float32)

    def facts(self) -> dict[str, np.ndarray]:
        """Everything noted, one array (N,) each."""
        counts = ("queries", "gradients", "zero_gradients", "nonfinite_gradients")
        return {name: getattr(self, name).cpu().numpy() for name in counts} | {"late_gain": self.late_gain()}
