"""Square: random search with squares that shrink (Andriushchenko et al., ECCV 2020), a vectorised form per pair.

Scores are enough. The schedule is theirs for 10,000 queries, stretched to the queries there are; 0.8 as the first
share of the image is that of specs/ensemble_attacks 6.3 (code: torchattacks attacks/square.py).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import torch
from torch import Tensor

from frbench.attacks.components.active_set import Ledger
from frbench.harness.core.contracts import AttackResult, Ball, Budget, Draw, Goal, Images, View
from frbench.harness.core.counter_rng import Stream, uniform
from frbench.harness.core.domains import PositiveFraction, PositiveInt
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import PairBatch
from frbench.harness.threat_model.budgets import L2Ball, LinfBall, norm

_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries: where the share of the image halves
_BLOCK, _NUMBERS = 64, 8  # moves drawn at once, and the numbers that one move may use
_TINY = 1e-12


def allowance(own: int, view: View) -> int:
    """Scores that an attack may ask for each pair: its own limit, or the view's where that is lower."""
    return own if view.queries is None else min(own, view.queries)


class _Noise(IntEnum):
    """What noise of the attack is for: ``k`` of its draws."""

    MOVES = 0
    START = 1


@dataclass(frozen=True)
class Square:
    """Try squares at random places; each pair keeps what lowers the goal's loss.

    queries: scores for each pair at most. p_init: share of the image, that the first squares cover.
    early_stop: spend nothing more on pairs that pass the view's aim, or else go on to lower the loss.

    The clean image is never asked about: who is attacked is known to be decided correctly.
    """

    identity = "attack.square"
    version = 1

    queries: PositiveInt = 1000
    p_init: PositiveFraction = 0.8
    early_stop: bool = True

    needs_gradient = False
    bounded = True
    batch_dependent = False

    @property
    def stops_early(self) -> bool:
        return self.early_stop

    @torch.no_grad()
    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Attack ``pairs`` within an L-inf or an L2 budget; ``iterations`` are the scores asked for."""
        squares, ledger = _squares(budget.around(pairs.probe)), Ledger(goal, pairs.probe)
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
                tried = squares.moved(ledger.images[rows], rows, side, noise[:, step % _BLOCK])
            scores = view.score(tried, template, step)
            ledger.offer(rows, tried, scores)
            ledger.iterations[rows] += 1
            if self.stops_early:
                going = ~goal.achieved(scores, wanted)
                if not bool(going.all()):
                    rows, wanted, index, noise = rows[going], wanted[going], index[going], noise[going]
                    template = template[going]
        return AttackResult(ledger.images, goal.achieved(ledger.scores, aim), ledger.iterations)

    def _side(self, spent: float, edge: int) -> int:
        """Pixels on a side of the square when a share ``spent`` of the queries has been used."""
        share = self.p_init / 2 ** bisect_left(_HALVINGS, int(spent * 10_000))
        return min(max(round(math.sqrt(share) * edge), 1), edge)


def _squares(ball: Ball) -> _BoxSquares | _RoundSquares:
    if isinstance(ball, LinfBall):
        return _BoxSquares(ball.lower, ball.upper)
    if isinstance(ball, L2Ball):
        return _RoundSquares(ball.clean, ball.radius)
    raise ConfigError("attack=square takes an L-inf, an L2 or no budget: take budget=linf_*, l2_* or unbounded")


def _signs(noise: Tensor) -> Tensor:
    return (noise < 0.5).to(noise.dtype) * 2 - 1


def _window(noise: Tensor, side: int, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Pixel rows (n, 1, side, 1) and columns (n, 1, 1, side) of a square anywhere in the image, by ``noise`` (n, 2)."""
    height, width = shape[2:]
    places = torch.tensor([height - side + 1, width - side + 1], device=noise.device)
    corner = (noise * places).long().clamp_max(places - 1)
    along = torch.arange(side, device=noise.device)
    return (corner[:, :1] + along)[:, None, :, None], (corner[:, 1:] + along)[:, None, None, :]


@dataclass(frozen=True)
class _BoxSquares:
    """L-inf: each channel of a square goes to the lower or to the upper bound."""

    lower: Images
    upper: Images

    def start(self, index: Tensor, seed: int) -> Images:
        """Vertical stripes, one pixel wide."""
        channels, width = self.lower.shape[1], self.lower.shape[3]
        up = uniform(index, Draw(seed, Stream.ATTACK, k=_Noise.START), (channels, 1, width)) < 0.5
        return torch.where(up, self.upper, self.lower)

    def moved(self, images: Images, rows: Tensor, side: int, noise: Tensor) -> Images:
        """``images`` (n, C, H, W), ours to change, of the pairs ``rows`` with a square of ``side`` pixels each."""
        channel = torch.arange(images.shape[1], device=rows.device)[:, None, None]
        y, x = _window(noise[:, :2], side, images.shape)
        here, pair = torch.arange(len(rows), device=rows.device)[:, None, None, None], rows[:, None, None, None]
        up = noise[:, 2 : 2 + images.shape[1], None, None] < 0.5
        lower, upper, old = (
            self.lower[pair, channel, y, x],
            self.upper[pair, channel, y, x],
            images[here, channel, y, x],
        )
        idle = (torch.where(up, upper, lower) == old).flatten(1).all(dim=1)  # what would be no change is turned round
        images[here, channel, y, x] = torch.where(up ^ idle[:, None, None, None], upper, lower)
        return images


@dataclass(frozen=True)
class _RoundSquares:
    """L2: one square takes over what another one and itself had of the length, as two bumps of opposite sign."""

    clean: Images
    radius: Tensor

    def start(self, index: Tensor, seed: int) -> Images:
        """Five by five tiles of bumps, each with a sign and one of two directions."""
        channels, height, width = self.clean.shape[1:]
        side = max(min(height, width) // 5, 1)
        (ty, y, inside_y), (tx, x, inside_x) = (_tiles(edge, side, index.device) for edge in (height, width))
        noise = uniform(index, Draw(seed, Stream.ATTACK, k=_Noise.START), (channels + 1, height // side, width // side))
        spread = noise[:, :, ty[:, None], tx]
        eta = _etas(side).to(index.device)[(spread[:, -1] < 0.5).long(), y[:, None], x]
        change = eta[:, None] * _signs(spread[:, :-1]) * (inside_y[:, None] & inside_x)
        return self._scaled(self.clean, change, self._radius(slice(None)))

    def moved(self, images: Images, rows: Tensor, side: int, noise: Tensor) -> Images:
        """As in ``_BoxSquares``; ``side`` is made odd and at least 3, where the image has room for it."""
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
    """For each pixel along an edge: its tile, its place in it, and whether it is in any; tiles lie in the middle."""
    count = edge // side
    along = torch.arange(edge, device=device) - (edge - side * count) // 2
    inside = (along >= 0) & (along < side * count)
    return (along // side).clamp(0, count - 1), along % side, inside


def _bump(height: int, width: int) -> Tensor:
    """Length 1, highest in the middle: the sum of 1/k^2 over the nested rectangles that hold a pixel (their eq. 2)."""
    down, across = torch.arange(height) - height // 2, torch.arange(width) - width // 2
    ring = torch.maximum(down.abs()[:, None], across.abs()[None])
    each = 1 / torch.arange(1, max(height // 2, width // 2) + 2, dtype=torch.float32) ** 2
    hill = each.flip(0).cumsum(0).flip(0)[ring]
    length: Tensor = torch.linalg.vector_norm(hill)
    return hill / length.clamp_min(_TINY)


@cache
def _etas(side: int) -> Tensor:
    """Two bumps of opposite sign, one above the other and one beside the other, each of length 1: (2, side, side)."""
    eta = torch.cat([_bump(side // 2, side), -_bump(side - side // 2, side)])
    eta /= torch.linalg.vector_norm(eta)
    return torch.stack([eta, eta.T])
