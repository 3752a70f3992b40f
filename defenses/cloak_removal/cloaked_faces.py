"""Cloaked training photos of public people, made by one cloaking method or a mixture of several.

A defense trained on the cloaks of one method transfers worse to those of others.

The method: docs/methods/puface.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.contracts import Artifact, Attack, Budget, Draw, FitContext, Images, Recognizer, View
from frbench.harness.core.counter_rng import Stream, uniform
from frbench.harness.core.domains import NonNegative, PositiveInt
from frbench.harness.core.errors import ConfigError, warn_once
from frbench.harness.core.face_data import FaceSet, PairBatch
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.images.eight_bit import to_bytes
from frbench.harness.runtime.progress import count_bar
from frbench.harness.threat_model.budgets import Unbounded
from frbench.harness.threat_model.goals import Cloak

_BLOCK = 64  # photos cloaked at a time; an interrupted fit repeats at most these
_DIGEST = 32  # bytes of a SHA-256 behind each block


@dataclass(frozen=True)
class CloakMaker:
    """A cloaking method.

    Attributes:
        attack: the attack that makes the cloaks.
        surrogate: the recognizer that it attacks.
        budget: budget of a bounded attack; others ignore it.
        share: relative share of the photos that this maker cloaks; 0 disables it.
    """

    identity = "recipe.cloak_maker"
    version = 1

    attack: Attack
    surrogate: Recognizer
    budget: Budget
    share: NonNegative = 1.0


@dataclass(frozen=True)
class Cloaked:
    """Cloaked photos in ascending order of their rows.

    Attributes:
        rows: rows (M,) of the photos in the face set.
        cloaked: the cloaked photos, uint8 (M, H, W, 3).
    """

    rows: np.ndarray
    cloaked: Tensor


@dataclass(frozen=True)
class CloakedFaces:
    """A selection of photos and the makers of their cloaks.

    Attributes:
        makers: cloaking methods by arbitrary names.
        num_photos: number of photos, sampled by the seed; all photos if there are fewer.
        all_makers: True cloaks every photo by every maker, so that a photo appears once per maker. False samples one
            maker per photo in proportion to its share. The sample depends on the photo and the maker's name, so that
            disabling a maker reassigns its own photos only.
    """

    identity = "recipe.cloaked_faces"
    version = 1

    makers: Mapping[str, CloakMaker]
    num_photos: PositiveInt
    all_makers: bool = False

    def check_combination(self, where: str) -> None:
        self._active()

    def make(self, context: FitContext) -> Cloaked:
        """Make the cloaks, or load them, one artifact per maker.

        Raises:
            ConfigError: no maker has a share, or an attack needs gradients that its surrogate does not have.
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
        """Rows (M,) of the selected photos in ascending order."""
        order = np.random.default_rng((context.seed, 0)).permutation(len(context.faces.images))
        return np.sort(order[: self.num_photos])

    def assigned(self, rows: np.ndarray, seed: int) -> dict[str, np.ndarray]:
        """Assign each of ``rows`` to the maker of the least exponential variate, whose rate is the maker's share."""
        active = self._active()
        if self.all_makers:
            return dict.fromkeys(active, rows)
        index = torch.from_numpy(rows)
        times = [
            -uniform(index, Draw(seed, Stream.CLOAK_MAKER, _stable_hash(name)), (1,)).double().flatten().log()
            / maker.share
            for name, maker in active.items()
        ]
        first = torch.stack(times).argmin(dim=0).numpy()
        return {name: rows[first == place] for place, name in enumerate(active)}

    def _active(self) -> dict[str, CloakMaker]:
        active = {name: self.makers[name] for name in sorted(self.makers) if self.makers[name].share > 0}
        if not active:
            raise ConfigError(
                f"no maker of cloaks.makers={sorted(self.makers)} has a share above 0; set one, such as share=1"
            )
        return active


@dataclass(frozen=True)
class Cloaks:
    """Recipe of ``cloaked``, uint8 (M, H, W, 3): the photos ``rows`` of the faces, cloaked by ``attack``.

    A cloak depends on the photo, its row and the seed. The target of a targeted attack is a random photo of another
    person, sampled for each photo.
    """

    identity = "recipe.cloaks"
    version = 2

    attack: Attack
    surrogate: Recognizer
    budget: Budget
    rows: Sequence[int]

    needs_recognizer = False

    def fit(self, context: FitContext) -> Artifact:
        """Make the cloaks, resuming from the finished blocks of photos in ``context.unfinished``."""
        rows, path = np.asarray(self.rows), context.unfinished
        shape = context.faces.images.shape[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        done = list(_whole_blocks(path, _BLOCK * int(np.prod(shape))))
        with path.open("ab") as file, count_bar("cloaks", "photos") as report:
            file.truncate(sum(map(len, done)) + _DIGEST * len(done))  # drop an incomplete or damaged block
            for first in range(_BLOCK * len(done), len(rows), _BLOCK):
                pixels = to_bytes(self._cloaked(context, rows[first : first + _BLOCK])).tobytes()
                file.write(pixels + hashlib.sha256(pixels).digest())
                file.flush()
                done.append(pixels)
                report(min(first + _BLOCK, len(rows)), len(rows))
        return {"cloaked": torch.from_numpy(np.frombuffer(bytearray().join(done), np.uint8).reshape(-1, *shape))}

    def _cloaked(self, context: FitContext, rows: np.ndarray) -> Images:
        photos = context.faces.load(rows, context.device)
        index = torch.as_tensor(rows, device=context.device)
        others = other_people(context.faces, rows, context.seed)
        targets = photos if others is None else context.faces.load(others, context.device)
        pairs = PairBatch(photos, photos, targets, index >= 0, torch.zeros_like(index), index)
        unreachable = torch.full((len(context.faces.images),), -1.0, device=context.device)  # no early stopping
        view = View(CosineVerifier(self.surrogate), unreachable, context.seed)
        budget = self.budget if self.attack.bounded else Unbounded()
        return _replace_non_finite(self.attack(view, pairs, Cloak(), budget).images, photos)


def _whole_blocks(path: Path, size: int) -> Iterator[bytes]:
    """The pixels of the blocks of ``size`` bytes in ``path``, each with its digest, up to one that is not whole."""
    if not path.exists():
        return
    with path.open("rb") as file:
        while found := file.read(size + _DIGEST):
            pixels, digest = found[:-_DIGEST], found[-_DIGEST:]
            if len(found) < size + _DIGEST or hashlib.sha256(pixels).digest() != digest:
                warn_once(f"{path} has a block that is incomplete or damaged; it and the rest are made again")
                return
            yield pixels


def other_people(faces: FaceSet, rows: np.ndarray, seed: int) -> np.ndarray | None:
    """Sample for each of the photos ``rows`` a uniform photo of another person; None if there is only one person."""
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


def subset(faces: FaceSet, rows: np.ndarray) -> FaceSet:
    """The photos ``rows`` of ``faces``, in memory."""
    return replace(faces, images=np.ascontiguousarray(faces.images[rows]), identity=faces.identity[rows])


def _check(maker: CloakMaker) -> None:
    if maker.attack.needs_gradient and not maker.surrogate.differentiable:
        raise ConfigError(
            f"{type(maker.attack).__name__} needs gradients and {maker.surrogate.name} has none; use a differentiable "
            "recognizer as the maker's surrogate"
        )
    Cloak().check(maker.attack)


def _stable_hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")


def _replace_non_finite(images: Tensor, photos: Images) -> Images:
    """Replace images with non-finite pixels by the photo."""
    finite = torch.isfinite(images).flatten(1).all(dim=1)
    return torch.where(finite[:, None, None, None], images, photos)
