"""Scores of a victim on the images of pairs. Those that no attack changes are computed once for a victim and cached.

The method: docs/methods/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.contracts import Budget, Draw, Images, Template, Verifier
from frbench.harness.core.counter_rng import Stream, normal
from frbench.harness.core.face_data import PairBatch, PairSet
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.evaluation.execution import Execution
from frbench.harness.evaluation.postprocessed_block import postprocessed
from frbench.harness.images.postprocessing import Postprocessing

Arrays = dict[str, np.ndarray]


class References(NamedTuple):
    """References enrolled by the victim, one template per draw."""

    draws: list[Draw]
    templates: list[Template]

    def select(self, rows: Tensor | slice) -> References:
        """The references of the pairs ``rows``."""
        return References(self.draws, [template[rows] for template in self.templates])


class Received(NamedTuple):
    """Scores (n, draws) after a transform, and whether a face was found (n,)."""

    scores: Tensor
    found: Tensor


@dataclass(frozen=True)
class CleanBlock:
    """What a victim answers about a block of pairs without an attack.

    Attributes:
        references: on the victim's device.
        scores: (n, draws), of the clean probes.
        received: of the clean probes after each transform, by name.
    """

    references: References
    scores: Tensor
    received: Mapping[str, Received]


@dataclass(frozen=True)
class VictimScores:
    """Scores of ``victim`` on images of ``pairs``, at the draws of its decisions.

    Attributes:
        clean_scores: float32 (N,) over all pairs.
        num_draws: decisions of a random victim; others decide once.
        postprocessing: transforms after which images are scored again, by name.
    """

    victim: Verifier
    pairs: PairSet
    clean_scores: np.ndarray
    num_draws: int
    postprocessing: Mapping[str, Postprocessing]
    execution: Execution

    def enroll(self, batch: PairBatch) -> References:
        draws = self._draws()
        return References(draws, [self.victim.enroll(batch.reference, batch.index, draw) for draw in draws])

    def scores(self, images: Images, batch: PairBatch, references: References) -> Tensor:
        """Scores (n, draws) on the CPU."""
        with torch.no_grad():
            each = [self.victim.score(images, template, draw) for draw, template in zip(*references, strict=True)]
        return torch.stack(each, dim=1).cpu()

    def clean(self, batch: PairBatch, references: References) -> Tensor:
        """Scores (n, draws) of the clean probes. A random victim scores them again, on the draws of its decisions."""
        if self.victim.random:
            return self.scores(batch.probe, batch, references)
        return torch.from_numpy(self.clean_scores[batch.index.cpu().numpy()])[:, None]

    def clean_block(self, index: np.ndarray) -> CleanBlock:
        """The answers about the pairs ``index`` without an attack; cached."""
        arrays = self._cached("clean_block", lambda: self._clean_block(index), index, self.postprocessing)
        scores = torch.from_numpy(arrays["scores"])
        received = {
            name: Received(*(torch.from_numpy(arrays[f"{name}/{part}"]) for part in Received._fields))
            for name in self.postprocessing
        }
        return CleanBlock(self._references(index, arrays.get("templates")), scores, received)

    def noise(self, index: np.ndarray, references: References, budget: Budget) -> Tensor:
        """Scores (n, draws) of the pairs ``index`` with random noise of the size of ``budget``; cached."""

        def make() -> Arrays:
            parts = []
            for rows, batch in self._batches(index):
                noise = self.with_noise(batch, budget)
                parts.append(self.scores(noise, batch, references.select(rows)))
            return {"scores": torch.cat(parts).numpy()}

        return torch.from_numpy(self._cached("noise", make, index, budget)["scores"])

    def difference_of_repeats(self, index: np.ndarray) -> float:
        """Largest difference of two scores of the same clean images on the same draw; cached."""

        def make() -> Arrays:
            first, second = (
                torch.cat([self._scored_anew(batch) for _, batch in self._batches(index)]) for _ in range(2)
            )
            return {"differences": (first - second).abs().numpy()}

        return float(self._cached("repeats", make, index, None)["differences"].max())

    def _scored_anew(self, batch: PairBatch) -> Tensor:
        return self.scores(batch.probe, batch, self.enroll(batch))

    def with_noise(self, batch: PairBatch, budget: Budget) -> Images:
        """The clean probes with random noise of the size of ``budget``."""
        draw = Draw(self.execution.seed, Stream.CONTROL_NOISE)
        direction = normal(batch.index, draw, tuple(batch.probe.shape[1:]))
        return budget.around(batch.probe).step(batch.probe, direction.contiguous(memory_format=torch.channels_last), 1)

    def _draws(self) -> list[Draw]:
        count = self.num_draws if self.victim.random else 1
        return [Draw(self.execution.seed, Stream.JUDGING, k=k) for k in range(count)]

    def _batches(self, index: np.ndarray) -> Iterator[tuple[slice, PairBatch]]:
        run = self.execution
        return ((rows, self.pairs.batch(index[rows], run.device)) for rows in run.batches(len(index)))

    def _cached(self, kind: str, make: Callable[[], Arrays], index: np.ndarray, more: object) -> Arrays:
        key = fingerprint(self.victim, self.pairs.digest, index, self.execution.seed, len(self._draws()), more)
        return self.execution.get_or_make(kind, key, make).arrays

    def _clean_block(self, index: np.ndarray) -> Arrays:
        clean = postprocessed(self.pairs.batch(index).probe, self.postprocessing, self.execution)
        parts: list[Arrays] = []
        for rows, batch in self._batches(index):
            references = self.enroll(batch)
            found = {"scores": self.clean(batch, references)}
            for name in self.postprocessing:
                received = clean.rows(name, rows, self.execution.device)
                found[f"{name}/scores"] = self._scores_after(received.images, batch, references, found["scores"])
                found[f"{name}/found"] = received.found.cpu()
            vectors = torch.stack([template.vectors for template in references.templates], dim=1)
            if vectors.ndim == 3:  # embeddings; templates that are images are enrolled faster than read
                found["templates"] = vectors.cpu()
            parts.append({name: tensor.numpy() for name, tensor in found.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _scores_after(self, images: Images, batch: PairBatch, references: References, clean: Tensor) -> Tensor:
        """Scores of transformed clean probes. A file without loss leaves clean probes of 8 bits as they are."""
        return clean if torch.equal(images, batch.probe) else self.scores(images, batch, references)

    def _references(self, index: np.ndarray, vectors: np.ndarray | None) -> References:
        device = self.execution.device
        if vectors is None:
            parts = [self.enroll(batch).templates for _, batch in self._batches(index)]
            joined = [torch.cat([template.vectors for template in each]) for each in zip(*parts, strict=True)]
        else:
            joined = list(torch.from_numpy(vectors).to(device).unbind(dim=1))
        numbers = torch.as_tensor(index, device=device)
        return References(self._draws(), [Template(each, numbers) for each in joined])
