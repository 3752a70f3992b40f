"""From uploaded pictures to similarities: decoding within limits, references kept, one forward for whoever waits."""

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
    """An upload that is no face picture for us. ``status``: the HTTP status that says so."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Question(NamedTuple):
    """Two pictures, uint8 (112, 112, 3), RGB."""

    probe: np.ndarray
    reference: np.ndarray


def pixels(data: bytes) -> np.ndarray:
    """The picture of a file, upright: uint8 (112, 112, 3), RGB. Its size is checked before anything is decoded."""
    try:
        return decode(data).pixels
    except NotAnImage as error:
        raise BadUpload(400, f"is not a picture; send one of {', '.join(FORMATS)}") from error
    except WrongSize as error:
        raise BadUpload(422, str(error)) from error
    except BadImage as error:
        raise BadUpload(400, f"{error}; send another") from error


class Answers:
    """``verifier`` asked with pictures; not for several threads at once.

    Where nothing is random the templates of the last ``kept`` references are kept, so that a question costs one
    forward. A random verifier enrolls and scores each question on a draw of its own, counted from the start.
    """

    def __init__(self, verifier: Verifier, seed: int = 0, device: torch.device | str = "cpu", kept: int = 1024) -> None:
        self.verifier, self.seed, self.device, self.kept = verifier, seed, device, kept
        self.asked = 0
        self._templates: OrderedDict[bytes, Tensor] = OrderedDict()

    @torch.no_grad()
    def __call__(self, questions: Sequence[Question]) -> list[float]:
        """Similarities, one for each question."""
        index = torch.arange(self.asked, self.asked + len(questions), device=self.device)
        self.asked += len(questions)
        references = [each.reference for each in questions]
        template = self._enrolled(references, index) if self.verifier.random else self._known(references, index)
        probes = self._load([each.probe for each in questions])
        scores: list[float] = self.verifier.score(probes, template, Draw(self.seed, Stream.QUERY)).tolist()
        return scores

    def _load(self, pictures: Sequence[np.ndarray]) -> Tensor:
        return load_images(np.stack(pictures), np.arange(len(pictures)), self.device)

    def _enrolled(self, references: Sequence[np.ndarray], index: Tensor) -> Template:
        return self.verifier.enroll(self._load(references), index, Draw(self.seed, Stream.QUERY))

    def _known(self, references: Sequence[np.ndarray], index: Tensor) -> Template:
        keys = [hashlib.sha256(picture.tobytes()).digest() for picture in references]
        new = {key: row for row, key in enumerate(keys) if key not in self._templates}
        if new:
            rows = list(new.values())
            vectors = self._enrolled([references[row] for row in rows], index[rows]).vectors
            self._templates.update(zip(new, vectors, strict=True))
        for key in keys:
            self._templates.move_to_end(key)
        template = Template(torch.stack([self._templates[key] for key in keys]), index)
        while len(self._templates) > self.kept:
            self._templates.popitem(last=False)
        return template


class Batcher:
    """Gathers questions for ``wait`` seconds, ``most`` at a time, and has them answered together in a thread."""

    def __init__(self, answer: Callable[[Sequence[Question]], list[float]], wait: float, most: int) -> None:
        self.answer, self.wait, self.most = answer, wait, most
        self._waiting: asyncio.Queue[tuple[Question, asyncio.Future[float]]] = asyncio.Queue()

    async def ask(self, question: Question) -> float:
        """The similarity; whatever goes wrong with the batch is raised to each who asked."""
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((question, future))
        return await future

    async def work(self) -> None:
        """Answer for ever; to be run as a task beside the server."""
        while True:
            questions, futures = zip(*await self._batch(), strict=True)
            try:
                answers = await asyncio.to_thread(self.answer, questions)
            except Exception as error:
                for future in futures:
                    if not future.done():
                        future.set_exception(error)
            else:
                for future, answer in zip(futures, answers, strict=True):
                    if not future.done():  # who hung up is not waiting any more
                        future.set_result(answer)

    async def _batch(self) -> list[tuple[Question, asyncio.Future[float]]]:
        batch = [await self._waiting.get()]
        if self._waiting.qsize() + 1 < self.most:
            await asyncio.sleep(self.wait)
        while len(batch) < self.most and not self._waiting.empty():
            batch.append(self._waiting.get_nowait())
        return batch
