"""Batched comparison of uploaded images: decoding within limits, cached references, one forward pass per batch."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.contracts import Draw, Template, Verifier
from frbench.harness.core.counter_rng import Stream
from frbench.harness.core.face_data import load_images
from frbench.harness.images.aligned_images import FORMATS, BadImage, NotAnImage, WrongSize, decode


class BadUpload(Exception):
    """An upload that is not an aligned face image, with the HTTP ``status`` of the response."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Comparison(NamedTuple):
    """Two images to compare, uint8 (112, 112, 3), RGB."""

    probe: np.ndarray
    reference: np.ndarray


def decode_upload(data: bytes) -> np.ndarray:
    """The upright image in a file: uint8 (112, 112, 3), RGB. Its size is checked before it is decoded.

    Raises:
        BadUpload: it is not an image, damaged, or of another size.
    """
    try:
        return decode(data).pixels
    except NotAnImage as error:
        raise BadUpload(400, f"is not an image; send one of {', '.join(FORMATS)}") from error
    except WrongSize as error:
        raise BadUpload(422, str(error)) from error
    except BadImage as error:
        raise BadUpload(400, f"{error}; send another image") from error


class Comparator:
    """Similarities of images by ``verifier``; not thread-safe.

    The templates of the last ``cache_size`` references are cached, so that a comparison costs one forward pass. A
    randomized verifier enrolls and scores each comparison on a new draw.
    """

    def __init__(
        self, verifier: Verifier, seed: int = 0, device: torch.device | str = "cpu", cache_size: int = 1024
    ) -> None:
        self.verifier, self.seed, self.device, self.cache_size = verifier, seed, device, cache_size
        self.count = 0
        self._templates: OrderedDict[bytes, Tensor] = OrderedDict()

    @torch.no_grad()
    def __call__(self, comparisons: Sequence[Comparison]) -> list[float]:
        """Similarities, one per comparison."""
        index = torch.arange(self.count, self.count + len(comparisons), device=self.device)
        self.count += len(comparisons)
        references = [each.reference for each in comparisons]
        template = self._enroll(references, index) if self.verifier.random else self._cached(references, index)
        probes = self._load([each.probe for each in comparisons])
        scores: list[float] = self.verifier.score(probes, template, Draw(self.seed, Stream.QUERY)).tolist()
        return scores

    def _load(self, images: Sequence[np.ndarray]) -> Tensor:
        return load_images(np.stack(images), np.arange(len(images)), self.device)

    def _enroll(self, references: Sequence[np.ndarray], index: Tensor) -> Template:
        return self.verifier.enroll(self._load(references), index, Draw(self.seed, Stream.QUERY))

    def _cached(self, references: Sequence[np.ndarray], index: Tensor) -> Template:
        keys = [hashlib.sha256(image.tobytes()).digest() for image in references]
        new = {key: row for row, key in enumerate(keys) if key not in self._templates}
        if new:
            rows = list(new.values())
            vectors = self._enroll([references[row] for row in rows], index[rows]).vectors
            self._templates.update(zip(new, vectors, strict=True))
        for key in keys:
            self._templates.move_to_end(key)
        template = Template(torch.stack([self._templates[key] for key in keys]), index)
        while len(self._templates) > self.cache_size:
            self._templates.popitem(last=False)
        return template


class Batcher:
    """Collects comparisons into batches and computes each batch in a thread.

    Args:
        compare: similarities of a batch.
        wait: seconds that the first comparison of a batch waits for others.
        max_batch: comparisons per batch.
    """

    def __init__(self, compare: Callable[[Sequence[Comparison]], list[float]], wait: float, max_batch: int) -> None:
        self.compare, self.wait, self.max_batch = compare, wait, max_batch
        self._queue: asyncio.Queue[tuple[Comparison, asyncio.Future[float]]] = asyncio.Queue()

    async def submit(self, comparison: Comparison) -> float:
        """The similarity of a comparison. An error in its batch is raised for every comparison of the batch."""
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((comparison, future))
        return await future

    async def run(self) -> None:
        """Process batches until cancelled."""
        while True:
            comparisons, futures = zip(*await self._batch(), strict=True)
            try:
                similarities = await asyncio.to_thread(self.compare, comparisons)
            except Exception as error:
                for future in futures:
                    if not future.done():
                        future.set_exception(error)
            else:
                for future, similarity in zip(futures, similarities, strict=True):
                    if not future.done():  # the client may have disconnected
                        future.set_result(similarity)

    async def _batch(self) -> list[tuple[Comparison, asyncio.Future[float]]]:
        batch = [await self._queue.get()]
        if self._queue.qsize() + 1 < self.max_batch:
            await asyncio.sleep(self.wait)
        while len(batch) < self.max_batch and not self._queue.empty():
            batch.append(self._queue.get_nowait())
        return batch
