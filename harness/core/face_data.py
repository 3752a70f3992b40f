"""Face data sets: pairs to verify, users with their photos, faces by identity, and the options that open them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

Images = Tensor
Mask = Tensor


class ImageStack(Protocol):
    """Images uint8 (M, H, W, 3), RGB: an array, usually memory-mapped, or an object that decodes rows on access."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: np.ndarray | slice, /) -> np.ndarray:
        """The images ``rows`` (N, H, W, 3); callers never read a whole stack at once."""
        ...


@dataclass(frozen=True)
class PairBatch:
    """N pairs as network input.

    Args:
        probe: images (N, 3, H, W) that the attacker changes.
        reference: enrolled images (N, 3, H, W).
        decoy: images of a third person to resemble; the same tensor as ``reference`` without such a person.
        same: bool (N,), genuine pair or not.
        fold: int64 (N,).
        index: int64 (N,), global pair numbers, on which noise and thresholds depend.
    """

    probe: Images
    reference: Images
    decoy: Images
    same: Mask
    fold: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: Tensor | slice) -> PairBatch:
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        cut = {id(part): part[rows] for part in parts.values()}  # what is one tensor stays one
        return PairBatch(**{name: cut[id(part)] for name, part in parts.items()})


def load_images(stack: ImageStack, rows: np.ndarray, device: torch.device | str = "cpu") -> Images:
    """Rows of a uint8 (M, H, W, 3) stack as float32 (N, 3, H, W) in [0, 1], stored channels-last."""
    images = torch.from_numpy(np.ascontiguousarray(stack[rows]))
    return images.to(device).permute(0, 3, 1, 2).to(torch.float32).div_(255)


# Remark on a data set -> the flag that it raises, for remarks that affect measurements.
REMARK_FLAGS = {
    "images_unreadable": "images_left_out",
    "images_of_other_formats": "images_left_out",
    "images_outside_people": "images_left_out",
    "images_absent": "images_left_out",
    "pairs_left_out": "images_left_out",
    "pairs_of_one_image": "photo_with_itself",
}


def remark_flags(remarks: Mapping[str, int], pairs: int) -> list[str]:
    """The flags that ``remarks`` on a set of ``pairs`` pairs raise, each once.

    Pairs of an image with itself raise a flag above 1 %: CFP's list has 3 of 7,000, which change no number.
    """
    least = {"pairs_of_one_image": pairs // 100}
    raised = (flag for name, flag in REMARK_FLAGS.items() if remarks.get(name, 0) > least.get(name, 0))
    return list(dict.fromkeys(raised))


@dataclass(frozen=True)
class PairSet:
    """Pairs over a memory-mapped stack of images; a dataset option opens to it.

    images:   uint8 (M, H, W, 3), RGB, aligned; usually a ``numpy.memmap``.
    probe, reference, decoy: int64 (N,), rows of ``images``.
    same:     bool (N,), genuine pair or not.
    fold:     int64 (N,), official fold of the pair.
    identity: int64 (M,), person of each image, -1 if the source does not say.
    attacked: int64 (A,), sorted pair numbers to attack; calibration always uses all N pairs.
    digest:   SHA-256 over images and pair lists (not over ``attacked``).
    people:   the people in the set, as ``person_key`` names them; empty if the source does not say.
    remarks:  how often the source was incomplete, altered or odd, by name, such as ``pairs_left_out``; kept in the
              record. ``REMARK_FLAGS`` lists those that raise a flag.
    photos:   name (M,) of each image, such as its file relative to the folder of the set; empty if the source has none.
    """

    name: str
    images: ImageStack
    probe: np.ndarray
    reference: np.ndarray
    decoy: np.ndarray
    same: np.ndarray
    fold: np.ndarray
    identity: np.ndarray
    attacked: np.ndarray
    digest: str
    people: tuple[str, ...] = ()
    remarks: Mapping[str, int] = field(default_factory=dict)
    photos: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.probe)

    def photo_names(self, index: np.ndarray) -> dict[str, list[str]]:
        """Names of ``probe`` and ``reference`` of the pairs numbered ``index``; empty if the source has none."""
        columns = {"probe": self.probe, "reference": self.reference} if self.photos else {}
        return {name: [self.photos[row] for row in rows[index]] for name, rows in columns.items()}

    def load(self, rows: np.ndarray, device: torch.device | str = "cpu") -> Images:
        """Images ``rows`` as float32 (N, 3, H, W) in [0, 1], stored channels-last."""
        return load_images(self.images, rows, device)

    def batch(self, index: np.ndarray, device: torch.device | str = "cpu") -> PairBatch:
        """The pairs numbered ``index``."""
        return PairBatch(
            probe=self.load(self.probe[index], device),
            reference=self.load(self.reference[index], device),
            decoy=self.load(self.decoy[index], device),
            same=torch.as_tensor(self.same[index], device=device),
            fold=torch.as_tensor(self.fold[index], device=device),
            index=torch.as_tensor(index, device=device),
        )


@dataclass(frozen=True)
class UserSet:
    """Users and the photos that they publish, for ``protocol=cloaking``; its dataset options open to it.

    images:   uint8 (M, H, W, 3), RGB, aligned, ordered by user; usually a ``numpy.memmap``.
    identity: int64 (M,), user of each photo, numbered from 0.
    targets:  uint8 (T, H, W, 3), photos that targeted cloaks resemble; may be ``images``.
    target:   int64 (M,), row of ``targets`` for each photo. All photos of a user have targets of one other person.
    digest:   SHA-256 over the photos, their users and the targets.
    people:   the users, as ``person_key`` names them.
    remarks:  as in ``PairSet``.
    """

    name: str
    images: ImageStack
    identity: np.ndarray
    targets: ImageStack
    target: np.ndarray
    digest: str
    people: tuple[str, ...] = ()
    remarks: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.identity)

    def load(self, rows: np.ndarray, device: torch.device | str = "cpu") -> Images:
        """Photos ``rows`` as float32 (N, 3, H, W) in [0, 1], stored channels-last."""
        return load_images(self.images, rows, device)

    @property
    def attacked(self) -> np.ndarray:
        """Numbers of the photos to cloak: all of them."""
        return np.arange(len(self))

    def batch(self, index: np.ndarray, device: torch.device | str = "cpu") -> PairBatch:
        """The photos numbered ``index``, each paired with itself; the decoy is its target."""
        photos = self.load(index, device)
        return PairBatch(
            probe=photos,
            reference=photos.clone(),
            decoy=load_images(self.targets, self.target[index], device),
            same=torch.ones(len(index), dtype=torch.bool, device=device),
            fold=torch.zeros(len(index), dtype=torch.int64, device=device),
            index=torch.as_tensor(index, device=device),
        )


TestSet = PairSet | UserSet  # what a cell evaluates


@dataclass(frozen=True)
class FaceSet:
    """Faces by identity, for fitting defenses and training recognizers. Fields as in ``PairSet``.

    people: each identity as ``person_key`` names it; overlap with a test set is detected by these names.
    """

    name: str
    images: ImageStack
    identity: np.ndarray
    people: tuple[str, ...]
    digest: str
    remarks: Mapping[str, int] = field(default_factory=dict)

    def load(self, rows: np.ndarray, device: torch.device | str = "cpu") -> Images:
        """Images ``rows`` as float32 (N, 3, H, W) in [0, 1], stored channels-last."""
        return load_images(self.images, rows, device)


def person_key(source: str, person: str) -> str:
    """The name of a person across sets: in plain lower-case letters, or the number with its ``source``."""
    if not any(letter.isalpha() for letter in person):
        return f"{source}/{person}"
    return " ".join("".join(letter if letter.isalnum() else " " for letter in person.casefold()).split())


class PairSource(Protocol):
    """A dataset option for verification: opens pairs, decoding once into ``cache``."""

    @property
    def name(self) -> str: ...

    def open(self, cache: Path) -> PairSet: ...


class UserSource(Protocol):
    """A dataset option for ``protocol=cloaking``: opens users with their photos, decoding once into ``cache``."""

    @property
    def name(self) -> str: ...

    def open(self, cache: Path) -> UserSet: ...


class FaceSource(Protocol):
    """An identities option: opens faces by identity, for fitting and training."""

    @property
    def name(self) -> str: ...

    def open(self, cache: Path) -> FaceSet: ...
