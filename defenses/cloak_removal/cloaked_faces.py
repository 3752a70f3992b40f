"""Photos of other people and their cloaks, by one maker or a mixture of several, for all that learn from them.

specs/cloaks_puface 5.4. What learns from the cloaks of one maker undoes those of others less well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.contracts import Artifact, Attack, Budget, Draw, FitContext, Images, Recognizer, View
from frbench.harness.core.counter_rng import Stream, uniform
from frbench.harness.core.domains import NonNegative, PositiveInt
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import FaceSet, PairBatch
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.images.postprocessing import to_bytes
from frbench.harness.runtime.progress import count_bar
from frbench.harness.threat_model.budgets import Unbounded
from frbench.harness.threat_model.goals import Cloak

_BLOCK = 64  # photos cloaked at a time, and lost at most when the work is interrupted


@dataclass(frozen=True)
class CloakMaker:
    """One way to make cloaks: ``attack`` on ``surrogate``.

    budget: for attacks that are bounded; the others have limits of their own.
    share: of the photos, relative to the shares of the other makers; 0 leaves this maker out.
    """

    identity = "recipe.cloak_maker"
    version = 1

    attack: Attack
    surrogate: Recognizer
    budget: Budget
    share: NonNegative = 1.0


@dataclass(frozen=True)
class Cloaked:
    """Photos ``rows`` (M,) of the faces and their cloaks uint8 (M, H, W, 3), ascending by row."""

    rows: np.ndarray
    cloaked: Tensor


@dataclass(frozen=True)
class CloakedFaces:
    """Which photos are cloaked, and by which of ``makers``, a mapping of free names.

    count: number of photos, drawn by the seed; all of them when there are fewer.
    each: True: every maker cloaks every photo, and a photo appears once per maker. False: one maker per photo, drawn
        with probability proportional to its share. The draw belongs to the photo and the maker's name, so leaving a
        maker out moves only its own photos to others.
    """

    identity = "recipe.cloaked_faces"
    version = 1

    makers: Mapping[str, CloakMaker]
    count: PositiveInt
    each: bool = False

    def check_combination(self, where: str) -> None:
        self._active()

    def made(self, context: FitContext) -> Cloaked:
        """The cloaks, found or made, one artifact per maker.

        Raises FrbenchError: no maker has a share; a surrogate has no gradients and the attack needs them. Raises
        Refused: an attack cannot make cloaks.
        """
        rows = self.rows(context)
        active = self._active()
        for maker in active.values():
            _check(maker)
        parts = [(own, active[name]) for name, own in self.assigned(rows, context.seed).items() if len(own)]
        cloaks = [
            context.part(Cloaks(maker.attack, maker.surrogate, maker.budget, tuple(own.tolist())))["cloaked"].cpu()
            for own, maker in parts
        ]
        every = np.concatenate([own for own, _ in parts])
        order = np.argsort(every, kind="stable")
        return Cloaked(every[order], torch.cat(cloaks)[torch.from_numpy(order)])

    def rows(self, context: FitContext) -> np.ndarray:
        """Which photos (M,), in ascending order."""
        order = np.random.default_rng((context.seed, 0)).permutation(len(context.faces.images))
        return np.sort(order[: self.count])

    def assigned(self, rows: np.ndarray, seed: int) -> dict[str, np.ndarray]:
        """Maker -> the ``rows`` that it cloaks: the first of exponential times whose rates are the shares."""
        active = self._active()
        if self.each:
            return dict.fromkeys(active, rows)
        index = torch.from_numpy(rows)
        times = [
            -uniform(index, Draw(seed, Stream.CLOAK_MAKER, _number(name)), (1,)).double().flatten().log() / maker.share
            for name, maker in active.items()
        ]
        first = torch.stack(times).argmin(dim=0).numpy()
        return {name: rows[first == place] for place, name in enumerate(active)}

    def _active(self) -> dict[str, CloakMaker]:
        active = {name: self.makers[name] for name in sorted(self.makers) if self.makers[name].share > 0}
        if not active:
            raise ConfigError(
                f"makers={sorted(self.makers)} of the cloaks: none has a share above 0; give one, such as share=1"
            )
        return active


@dataclass(frozen=True)
class Cloaks:
    """Recipe: ``cloaked`` uint8 (M, H, W, 3), the photos ``rows`` of the faces as ``attack`` cloaks them.

    A cloak depends on the photo, its row and the seed. A targeted attack aims at a photo of another person, drawn for
    each photo.
    """

    identity = "recipe.cloaks"
    version = 2

    attack: Attack
    surrogate: Recognizer
    budget: Budget
    rows: Sequence[int]

    needs_recognizer = False

    def fit(self, context: FitContext) -> Artifact:
        """Continue from ``context.unfinished``, to which finished blocks of photos are appended."""
        rows, path = np.asarray(self.rows), context.unfinished
        shape = context.faces.images.shape[1:]
        block = _BLOCK * int(np.prod(shape))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file, count_bar("cloaks", "photos") as report:
            file.truncate(file.tell() // block * block)  # a part of a block may have been written
            for first in range(file.tell() // block * _BLOCK, len(rows), _BLOCK):
                file.write(to_bytes(self._cloaked(context, rows[first : first + _BLOCK])).tobytes())
                file.flush()
                report(min(first + _BLOCK, len(rows)), len(rows))
        return {"cloaked": torch.from_numpy(np.fromfile(path, np.uint8).reshape(-1, *shape))}

    def _cloaked(self, context: FitContext, rows: np.ndarray) -> Images:
        photos = context.faces.load(rows, context.device)
        index = torch.as_tensor(rows, device=context.device)
        others = other_people(context.faces, rows, context.seed)
        decoys = photos if others is None else context.faces.load(others, context.device)
        pairs = PairBatch(photos, photos, decoys, index >= 0, torch.zeros_like(index), index)
        never = torch.full((len(context.faces.images),), -1.0, device=context.device)  # a threshold nothing passes
        view = View(CosineVerifier(self.surrogate), never, context.seed)
        budget = self.budget if self.attack.bounded else Unbounded()
        return _whole(self.attack(view, pairs, Cloak(), budget).images, photos)


def other_people(faces: FaceSet, rows: np.ndarray, seed: int) -> np.ndarray | None:
    """For each of the photos ``rows`` a photo of another person, uniform; None when there is only one person."""
    order = np.argsort(faces.identity, kind="stable")
    _, person, sizes = np.unique(faces.identity, return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        return None
    own = person.reshape(-1)[rows]
    first = (np.cumsum(sizes) - sizes)[own]
    draw = uniform(torch.from_numpy(rows), Draw(seed, Stream.CLOAK_TARGET), (1,)).double().flatten().numpy()
    place = np.floor(draw * (len(order) - sizes[own])).astype(np.int64)
    chosen: np.ndarray = order[np.where(place < first, place, place + sizes[own])]
    return chosen


def _check(maker: CloakMaker) -> None:
    if maker.attack.needs_gradient and not maker.surrogate.differentiable:
        raise ConfigError(
            f"{type(maker.attack).__name__} needs gradients and {maker.surrogate.name} gives none; take a "
            "differentiable recognizer as the maker's surrogate"
        )
    Cloak().check(maker.attack)


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")


def _whole(images: Tensor, photos: Images) -> Images:
    """``images``, but the photo itself where one is not finite."""
    finite = torch.isfinite(images).flatten(1).all(dim=1)
    return torch.where(finite[:, None, None, None], images, photos)
