"""Photos of cloaking users: cloaks as 8-bit files, photos after a defense, and embeddings, each kept in the store.

Cloaks are kept by what the cloaker saw, purified photos by the purifier, and embeddings by the recognizer and the
pixels, so that cells share what they have in common.
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
    """Photos as files: uint8 (M, H, W, 3)."""

    images: np.ndarray

    @cached_property
    def digest(self) -> str:
        return fingerprint(self.images)

    def blocks(self) -> Iterator[np.ndarray]:
        """Numbers of the photos, one block of the cache at a time."""
        photos = np.arange(len(self.images))
        yield from (photos[first : first + BLOCK_SIZE] for first in range(0, len(photos), BLOCK_SIZE))


@dataclass(frozen=True)
class PublishedPhotos:
    """What users publish when all of them cloak.

    Args:
        photos: cloaked, or natural where the cloak is not finite, exceeds the budget, or changes nothing in 8 bits.
        table: one row per photo with the size of its change; ``cloaked`` is false where the photo is natural.
        generated: whether any cloak was made now and not found in the store.
    """

    photos: Photos
    table: pd.DataFrame
    generated: bool


def publish(crafting: Crafting) -> PublishedPhotos:
    """Cloak every photo and round to 8 bits."""
    users, published, tables, generated = crafting.data, [], [], False
    for block in crafting.blocks(np.arange(len(users))):
        generated |= block.generated
        natural = users.batch(block.index).probe
        fits = crafting.budget.fits(block.images, natural) & ~torch.from_numpy(block.facts["broken"])
        published.append(to_bytes(torch.where(fits[:, None, None, None], block.images, natural)))
        measured = sizes(natural, load_images(published[-1], np.arange(len(natural))))
        attacked = {name: block.facts[name] for name in ("broken", "exceeded")}
        columns = {"index": block.index, "fits": fits.numpy(), **attacked}
        tables.append(pd.DataFrame({**columns, **{name: values.numpy() for name, values in measured.items()}}))
    table = pd.concat(tables, ignore_index=True)
    table = table.assign(dssim=(1 - table["ssim"]) / 2, cloaked=table["fits"] & (table["linf"] > 0))
    return PublishedPhotos(Photos(np.concatenate(published)), table, generated)


@dataclass(frozen=True)
class PhotoEmbeddings:
    """Unit embeddings (M, D) of photos; PSNR in dB (M,) and SSIM (M,) of the embedded images to the natural photos."""

    vectors: Tensor
    psnr: np.ndarray
    ssim: np.ndarray

    def cosine_to(self, other: PhotoEmbeddings) -> np.ndarray:
        """Cosine (M,) between the two embeddings of each photo."""
        return cosine(self.vectors, other.vectors).cpu().numpy()


@dataclass(frozen=True)
class EmbeddedPhotos:
    """All photos four times: natural and cloaked, without and with the tracker's defense."""

    natural: PhotoEmbeddings
    purified: PhotoEmbeddings
    cloaked: PhotoEmbeddings
    purified_cloaked: PhotoEmbeddings

    def fidelity_of_natural(self) -> dict[str, float]:
        """Medians over all photos: how similar the defense leaves natural photos."""
        return _medians(self._fidelity(self.purified))

    def fidelity_of_cloaked(self, rows: np.ndarray) -> dict[str, float]:
        """Medians over the photos ``rows``: how similar cloaked photos are to natural ones after the defense.

        ``cosine_bare`` is without the defense; ``..._natural`` of the same photos natural, with it. NaN of no rows.
        """
        found = {**self._fidelity(self.purified_cloaked), "cosine_bare": self.cloaked.cosine_to(self.natural)}
        found |= {f"{name}_natural": values for name, values in self._fidelity(self.purified).items()}
        return _medians({name: values[rows] for name, values in found.items()})

    def _fidelity(self, photos: PhotoEmbeddings) -> dict[str, np.ndarray]:
        return {"psnr": photos.psnr, "ssim": photos.ssim, "cosine": photos.cosine_to(self.natural)}


def _medians(arrays: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {name: float(np.median(values)) if len(values) else float("nan") for name, values in arrays.items()}


@dataclass(frozen=True)
class PhotoEncoder:
    """A tracker's recognizer with the purifier in front of it.

    Args:
        recognizer: embeds the photos.
        purifier: applied to the photos first; None for nothing. Its noise depends on the number of the photo.
        natural: the natural photos, to which PSNR and SSIM are measured.
        execution: where results are kept and networks run.
    """

    recognizer: Recognizer
    purifier: Purifier | None
    natural: Photos
    execution: Execution

    def images(self, photos: Photos, rows: np.ndarray) -> Images:
        """Photos ``rows``, ascending, after the purifier: (n, 3, H, W) on the device."""
        parts = []
        for block in photos.blocks():
            wanted = rows[(rows >= block[0]) & (rows <= block[-1])]
            if len(wanted):
                parts.append(self._purified(photos, block)[torch.from_numpy(wanted - block[0])])
        return torch.cat(parts).to(self.execution.device)

    def embeddings(self, photos: Photos) -> PhotoEmbeddings:
        """Embeddings of all photos after the purifier."""
        parts = [self._embedded(self._purified(photos, block), block) for block in photos.blocks()]
        found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        vectors = torch.from_numpy(found["vectors"]).to(self.execution.device)
        return PhotoEmbeddings(vectors, found["psnr"], found["ssim"])

    def _purified(self, photos: Photos, block: np.ndarray) -> Images:
        """Photos ``block`` after the purifier, on the CPU."""
        plain = load_images(photos.images, block)
        if self.purifier is None:
            return plain
        purifier = self.purifier
        key = fingerprint(purifier, photos.digest, self.execution.seed if purifier.random else None)

        def make() -> dict[str, np.ndarray]:
            purified = self._purify(purifier, plain, block)
            return {} if torch.equal(purified, plain) else {"images": purified.contiguous().numpy()}

        arrays = self.execution.get_or_make("purified", f"{key}/{block[0]}", make).arrays
        return torch.from_numpy(arrays["images"]) if arrays else plain

    @torch.no_grad()
    def _purify(self, purifier: Purifier, images: Images, block: np.ndarray) -> Images:
        run, parts = self.execution, []
        draw = Draw(run.seed, Stream.JUDGING)
        for part in run.batches_with_progress(len(images), "purification", "photos"):
            index = torch.from_numpy(block[part]).to(run.device)
            parts.append(purify(purifier, images[part].to(run.device), index, draw).cpu())
        return torch.cat(parts)

    def _embedded(self, images: Images, block: np.ndarray) -> dict[str, np.ndarray]:
        natural = load_images(self.natural.images, block)
        key = fingerprint(self.recognizer, images, natural)
        return self.execution.get_or_make("embeddings", key, lambda: self._embed(images, natural)).arrays

    @torch.no_grad()
    def _embed(self, images: Images, natural: Images) -> dict[str, np.ndarray]:
        run, parts = self.execution, []
        for part in run.batches_with_progress(len(images), "embeddings", "photos"):
            vectors = self.recognizer.embed(images[part].to(run.device)).cpu()
            psnr = 20 * torch.log10(GRAY_LEVELS / rms(natural[part], images[part]))
            parts.append({"vectors": vectors, "psnr": psnr, "ssim": ssim(natural[part], images[part])})
        return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
