"""Square: score-based random search with squares of decreasing size, vectorized over pairs.

Andriushchenko et al., ECCV 2020, Algorithms 1 to 3. The schedule is the authors' for 10,000 queries, rescaled to the
number of queries; ``p_init`` defaults to 0.8 as in torchattacks.

The method: docs/methods/attacks_within_a_budget.md.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import torch
from torch import Tensor

from frbench.attacks.components.active_set import BestIterates
from frbench.harness.core.contracts import Attack, AttackResult, Ball, Budget, Draw, Goal, Images, View
from frbench.harness.core.counter_rng import Stream, uniform
from frbench.harness.core.domains import PositiveFraction, PositiveInt
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import PairBatch
from frbench.harness.threat_model.budgets import L2Ball, LinfBall, norm

_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries: where the square's area halves
_BLOCK, _NUMBERS = 64, 8  # moves drawn at once, and random numbers per move
_TINY = 1e-12


def allowance(own: int, view: View) -> int:
    """Queries per pair: the smaller of the attack's own limit and the view's."""
    return own if view.queries is None else min(own, view.queries)


class _Noise(IntEnum):
    """Purpose of a draw: its ``k``."""

    MOVES = 0
    START = 1


@dataclass(frozen=True)
class Square(Attack):
    """Changes squares at random positions; each pair keeps a change that lowers the goal's loss.

    Attributes:
        queries: scores per pair at most.
        p_init: fraction of the image's area that the first squares cover.
        early_stop: make no more queries for a pair whose score passes the view's aim.

    The clean image is not queried: only pairs that the victim decides correctly are attacked.
    """

    identity = "attack.square"
    version = 1

    queries: PositiveInt = 1000
    p_init: PositiveFraction = 0.8
    early_stop: bool = True

    needs_gradient = False

    @property
    def stops_early(self) -> bool:
        return self.early_stop

    @torch.no_grad()
    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Attack ``pairs`` within an L-inf or an L2 budget; ``iterations`` are queries."""
        squares, best = _squares(budget.around(pairs.probe)), BestIterates(goal, pairs.probe)
        template, aim = view.enroll(pairs), view.aim(goal, pairs.index)
        rows, wanted, index = torch.arange(len(pairs), device=pairs.index.device), aim, pairs.index
        limit = allowance(self.queries, view)
        for step in range(limit):
            if not len(rows):
                break
            if step % _BLOCK == 0:
                noise = uniform(index, Draw(view.seed, Stream.ATTACK, step // _BLOCK, _Noise.MOVES), (_BLOCK, _NUMBERS))
            if step == 0:
                tried = squares.start(index, view.seed)
            else:
                side = self._side(step / limit, min(pairs.probe.shape[2:]))
                tried = squares.moved(best.images[rows], rows, side, noise[:, step % _BLOCK])
            scores = view.score(tried, template, step)
            best.update(rows, tried, scores)
            best.iterations[rows] += 1
            if self.stops_early:
                going = ~goal.achieved(scores, wanted)
                if not bool(going.all()):
                    rows, wanted, index, noise = rows[going], wanted[going], index[going], noise[going]
                    template = template[going]
        return AttackResult(best.images, goal.achieved(best.scores, aim), best.iterations)

    def _side(self, spent: float, edge: int) -> int:
        """Side of the square in pixels after a fraction ``spent`` of the queries."""
        area = self.p_init / 2 ** bisect_left(_HALVINGS, int(spent * 10_000))
        return min(max(round(math.sqrt(area) * edge), 1), edge)


def _squares(ball: Ball) -> _LinfSquares | _L2Squares:
    if isinstance(ball, LinfBall):
        return _LinfSquares(ball.lower, ball.upper)
    if isinstance(ball, L2Ball):
        return _L2Squares(ball.clean, ball.radius)
    raise ConfigError("attack=square supports L-inf and L2 budgets only; use budget=linf_*, l2_* or unbounded")


def _signs(noise: Tensor) -> Tensor:
    return (noise < 0.5).to(noise.dtype) * 2 - 1


def _window(noise: Tensor, side: int, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Pixel rows (n, 1, side, 1) and columns (n, 1, 1, side) of a square at a position given by ``noise`` (n, 2)."""
    height, width = shape[2:]
    places = torch.tensor([height - side + 1, width - side + 1], device=noise.device)
    corner = (noise * places).long().clamp_max(places - 1)
    along = torch.arange(side, device=noise.device)
    return (corner[:, :1] + along)[:, None, :, None], (corner[:, 1:] + along)[:, None, None, :]


@dataclass(frozen=True)
class _LinfSquares:
    """L-inf moves: each channel of a square is set to the lower or the upper bound."""

    lower: Images
    upper: Images

    def start(self, index: Tensor, seed: int) -> Images:
        """Vertical stripes, one pixel wide."""
        channels, width = self.lower.shape[1], self.lower.shape[3]
        up = uniform(index, Draw(seed, Stream.ATTACK, k=_Noise.START), (channels, 1, width)) < 0.5
        return torch.where(up, self.upper, self.lower)

    def moved(self, images: Images, rows: Tensor, side: int, noise: Tensor) -> Images:
        """``images`` (n, C, H, W) of the pairs ``rows`` with one square of ``side`` pixels changed, in place."""
        channel = torch.arange(images.shape[1], device=rows.device)[:, None, None]
        y, x = _window(noise[:, :2], side, images.shape)
        here, pair = torch.arange(len(rows), device=rows.device)[:, None, None, None], rows[:, None, None, None]
        up = noise[:, 2 : 2 + images.shape[1], None, None] < 0.5
        lower, upper, old = (
            self.lower[pair, channel, y, x],
            self.upper[pair, channel, y, x],
            images[here, channel, y, x],
        )
        idle = (torch.where(up, upper, lower) == old).flatten(1).all(dim=1)  # a move without effect is inverted
        images[here, channel, y, x] = torch.where(up ^ idle[:, None, None, None], upper, lower)
        return images


@dataclass(frozen=True)
class _L2Squares:
    """L2 moves: the norm of one square moves to another one, as two bumps of opposite sign (Algorithm 3)."""

    clean: Images
    radius: Tensor

    def start(self, index: Tensor, seed: int) -> Images:
        """Five by five tiles of bumps, each with a random sign and one of two orientations."""
        channels, height, width = self.clean.shape[1:]
        side = max(min(height, width) // 5, 1)
        (ty, y, inside_y), (tx, x, inside_x) = (_tiles(edge, side, index.device) for edge in (height, width))
        noise = uniform(index, Draw(seed, Stream.ATTACK, k=_Noise.START), (channels + 1, height // side, width // side))
        per_pixel = noise[:, :, ty[:, None], tx]
        eta = _etas(side).to(index.device)[(per_pixel[:, -1] < 0.5).long(), y[:, None], x]
        change = eta[:, None] * _signs(per_pixel[:, :-1]) * (inside_y[:, None] & inside_x)
        return self._scaled(self.clean, change, self._radius(slice(None)))

    def moved(self, images: Images, rows: Tensor, side: int, noise: Tensor) -> Images:
        """As in ``_LinfSquares``; ``side`` becomes odd and at least 3, if the image is large enough."""
        edge = min(images.shape[2:])
        side = min(max(side, 3) | 1, edge - (edge % 2 == 0))
        clean, radius = self.clean[rows], self._radius(rows)
        change = images - clean
        first, second = (_window(noise[:, at : at + 2], side, images.shape) for at in (0, 2))
        here = torch.arange(len(rows), device=rows.device)[:, None, None, None]
        channel = torch.arange(images.shape[1], device=rows.device)[:, None, None]
        old, before = change[here, channel, *first], change.square().sum(dim=(2, 3), keepdim=True)
        for window in (first, second):
            change[here, channel, *window] = 0
        taken = before - change.square().sum(dim=(2, 3), keepdim=True)
        free = (radius.square() - before.sum(dim=1, keepdim=True)).clamp_min(0) / images.shape[1]
        eta = _etas(side).to(rows.device)[(noise[:, 4] < 0.5).long()]
        signs = _signs(noise[:, 5 : 5 + images.shape[1], None, None])
        bump = eta[:, None] * signs + old / _length(old).clamp_min(_TINY)
        change[here, channel, *first] = bump / _length(bump).clamp_min(_TINY) * (taken.clamp_min(0) + free).sqrt()
        return self._scaled(clean, change, radius)

    def _radius(self, rows: Tensor | slice) -> Tensor:
        return self.radius if len(self.radius) == 1 else self.radius[rows]

    @staticmethod
    def _scaled(clean: Images, change: Tensor, radius: Tensor) -> Images:
        return (clean + change * (radius / norm(change).clamp_min(_TINY))).clamp_(0, 1)


def _length(windows: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(windows, dim=(2, 3), keepdim=True)
    return length


def _tiles(edge: int, side: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Per pixel along an edge: its tile, its position in the tile, and whether it is in one; tiles are centred."""
    count = edge // side
    along = torch.arange(edge, device=device) - (edge - side * count) // 2
    inside = (along >= 0) & (along < side * count)
    return (along // side).clamp(0, count - 1), along % side, inside


def _bump(height: int, width: int) -> Tensor:
    """A bump of unit norm: the sum of 1/k^2 over the centred rectangles around a pixel (Equation 2)."""
    down, across = torch.arange(height) - height // 2, torch.arange(width) - width // 2
    ring = torch.maximum(down.abs()[:, None], across.abs()[None])
    each = 1 / torch.arange(1, max(height // 2, width // 2) + 2, dtype=torch.float32) ** 2
    hill = each.flip(0).cumsum(0).flip(0)[ring]
    length: Tensor = torch.linalg.vector_norm(hill)
    return hill / length.clamp_min(_TINY)


@cache
def _etas(side: int) -> Tensor:
    """Two bumps of opposite sign, stacked vertically and horizontally, each of unit norm: (2, side, side)."""
    eta = torch.cat([_bump(side // 2, side), -_bump(side - side // 2, side)])
    eta /= torch.linalg.vector_norm(eta)
    return torch.stack([eta, eta.T])
