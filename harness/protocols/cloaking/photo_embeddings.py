"""What users publish and what a tracker makes of it: cloaks as files, photos behind a defense, embeddings.

Everything here is found in the store where it was made before: cloaks by what the cloaker saw, purified photos by the
purifier, embeddings by the recognizer and the very pixels, so that cells share all that they have in common.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from frbench.harness.core.contracts import Draw, Images, Recognizer
from frbench.harness.core.counter_rng import Stream
from frbench.harness.core.face_data import load_images
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.core.purifiers import Purifier, purify
from frbench.harness.core.verifiers import cosine
from frbench.harness.evaluation.crafting import BLOCK_SIZE, Crafting
from frbench.harness.evaluation.execution import Execution
from frbench.harness.images.eight_bit import to_bytes
from frbench.harness.metrics.perturbation import GRAY_LEVELS, rms, sizes, ssim


@dataclass(frozen=True)
class Photos:
    """Photos as files hold them: uint8 (M, H, W, 3)."""

    images: np.ndarray

    @cached_property
    def digest(self) -> str:
        return fingerprint(self.images)

    def blocks(self) -> Iterator[np.ndarray]:
        """Photo numbers, so many at a time as a file of the cache holds."""
        photos = np.arange(len(self.images))
        yield from (photos[first : first + BLOCK_SIZE] for first in range(0, len(photos), BLOCK_SIZE))


@dataclass(frozen=True)
class Cloaks:
    """What users upload. table: one row per photo; ``worn`` is false where it stayed natural.

    That is where the cloak broke, left the budget, or changed nothing in 8 bits.
    """

    photos: Photos
    table: pd.DataFrame
    generated: bool


def cloaks(crafting: Crafting) -> Cloaks:
    """The cloak of every photo, rounded to 8 bits; a photo whose cloak broke or left the budget stays natural."""
    users, uploaded, tables, generated = crafting.data, [], [], False
    for block in crafting.blocks(np.arange(len(users))):
        generated |= block.generated
        natural = users.batch(block.index).probe
        fits = crafting.budget.fits(block.images, natural) & ~torch.from_numpy(block.facts["broken"])
        worn = torch.where(fits[:, None, None, None], block.images, natural)
        uploaded.append(to_bytes(worn))
        measured = sizes(natural, load_images(uploaded[-1], np.arange(len(worn))))
        attacked = {name: block.facts[name] for name in ("broken", "exceeded")}
        columns = {"index": block.index, "fits": fits.numpy(), **attacked}
        tables.append(pd.DataFrame({**columns, **{name: values.numpy() for name, values in measured.items()}}))
    table = pd.concat(tables, ignore_index=True)
    table = table.assign(dssim=(1 - table["ssim"]) / 2, worn=table["fits"] & (table["linf"] > 0))
    return Cloaks(Photos(np.concatenate(uploaded)), table, generated)


@dataclass(frozen=True)
class Seen:
    """Photos as the recognizer has them: unit vectors (M, D); psnr in dB and ssim (M,) against the natural photos."""

    vectors: Tensor
    psnr: np.ndarray
    ssim: np.ndarray

    def likeness(self, other: Seen) -> np.ndarray:
        """Cosine (M,) of each photo here and there."""
        return cosine(self.vectors, other.vectors).cpu().numpy()


@dataclass(frozen=True)
class Looks:
    """All photos four times: natural and cloaked, as they are and behind the tracker's defense."""

    natural: Seen
    purified: Seen
    cloaked: Seen
    both: Seen

    def of_natural(self) -> dict[str, float]:
        """Medians over all photos of what the defense does to natural ones."""
        return _medians(self._behind(self.purified))

    def of_cloaked(self, rows: np.ndarray) -> dict[str, float]:
        """Medians over the photos ``rows`` of what is left of their cloaks behind the defense; NaN of none.

        ``cosine_bare`` is of the cloaks without it, ``..._natural`` of the same photos natural behind it.
        """
        found = {**self._behind(self.both), "cosine_bare": self.cloaked.likeness(self.natural)}
        found |= {f"{name}_natural": values for name, values in self._behind(self.purified).items()}
        return _medians({name: values[rows] for name, values in found.items()})

    def _behind(self, seen: Seen) -> dict[str, np.ndarray]:
        return {"psnr": seen.psnr, "ssim": seen.ssim, "cosine": seen.likeness(self.natural)}


def _medians(arrays: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {name: float(np.median(values)) if len(values) else float("nan") for name, values in arrays.items()}


@dataclass(frozen=True)
class Enrolment:
    """The tracker's own machinery. purifier: what it passes its photos through, None for nothing.

    natural: what fidelity is measured against. Noise of a random purifier hangs on the number of the photo.
    """

    recognizer: Recognizer
    purifier: Purifier | None
    natural: Photos
    execution: Execution

    def images(self, photos: Photos, rows: np.ndarray) -> Images:
        """Photos ``rows``, rising, behind the defense: (n, 3, H, W) on the device."""
        parts = []
        for block in photos.blocks():
            wanted = rows[(rows >= block[0]) & (rows <= block[-1])]
            if len(wanted):
                parts.append(self._purified(photos, block)[torch.from_numpy(wanted - block[0])])
        return torch.cat(parts).to(self.execution.device)

    def seen(self, photos: Photos) -> Seen:
        """All photos, behind the defense, as the recognizer has them."""
        parts = [self._seen(self._purified(photos, block), block) for block in photos.blocks()]
        found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return Seen(torch.from_numpy(found["vectors"]).to(self.execution.device), found["psnr"], found["ssim"])

    def _purified(self, photos: Photos, block: np.ndarray) -> Images:
        """Photos ``block`` behind the defense, on the CPU."""
        plain = load_images(photos.images, block)
        if self.purifier is None:
            return plain
        purifier = self.purifier
        key = fingerprint(purifier, photos.digest, self.execution.seed if purifier.random else None)

        def make() -> dict[str, np.ndarray]:
            purified = self._passed(purifier, plain, block)
            return {} if torch.equal(purified, plain) else {"images": purified.contiguous().numpy()}

        arrays = self.execution.store.get_or_make("purified", f"{key}/{block[0]}", make).arrays
        return torch.from_numpy(arrays["images"]) if arrays else plain

    @torch.no_grad()
    def _passed(self, purifier: Purifier, images: Images, block: np.ndarray) -> Images:
        run, parts = self.execution, []
        draw = Draw(run.seed, Stream.JUDGING)
        for part in run.batches_with_progress(len(images), "purification", "photos"):
            index = torch.from_numpy(block[part]).to(run.device)
            parts.append(purify(purifier, images[part].to(run.device), index, draw).cpu())
        return torch.cat(parts)

    def _seen(self, images: Images, block: np.ndarray) -> dict[str, np.ndarray]:
        natural = load_images(self.natural.images, block)
        key = fingerprint(self.recognizer, images, natural)
        return self.execution.store.get_or_make("embeddings", key, lambda: self._embedded(images, natural)).arrays

    @torch.no_grad()
    def _embedded(self, images: Images, natural: Images) -> dict[str, np.ndarray]:
        run, parts = self.execution, []
        for part in run.batches_with_progress(len(images), "embeddings", "photos"):
            vectors = self.recognizer.embed(images[part].to(run.device)).cpu()
            psnr = 20 * torch.log10(GRAY_LEVELS / rms(natural[part], images[part]))
            parts.append({"vectors": vectors, "psnr": psnr, "ssim": ssim(natural[part], images[part])})
        return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
