"""Clean scores of a verifier on the whole set, computed once and kept; all thresholds come from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.contracts import Draw, Verifier
from frbench.harness.core.counter_rng import Stream
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import PairSet
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.core.part_contracts import check_part, check_scores
from frbench.harness.core.verifiers import Embedder, cosine
from frbench.harness.runtime.progress import over
from frbench.harness.storage.result_store import ResultStore


@dataclass(frozen=True)
class Calibration:
    """Where clean scores come from: the pairs, the store that keeps them, and how to run a network."""

    pairs: PairSet
    store: ResultStore
    seed: int
    batch_size: int
    device: torch.device

    def scores(self, verifier: Verifier) -> np.ndarray:
        """Clean scores float32 (N,) of all pairs."""
        check_part(verifier, (Verifier,), "defense")
        key = fingerprint(verifier, self.pairs.digest, self.seed if verifier.random else None)
        with self.store.lock(f"clean-{key}"):
            kept = self.store.cached("clean", key)
            if kept is None:
                kept = {"scores": self._measured(verifier)}
                _check_finite(kept["scores"], verifier, self.pairs.name)
                self.store.cache("clean", key, kept)
        return kept["scores"]

    @torch.no_grad()
    def _measured(self, verifier: Verifier) -> np.ndarray:
        if isinstance(verifier, Embedder) and not verifier.random:
            return self._by_image(verifier)
        return self._by_pair(verifier)

    def _by_image(self, verifier: Embedder) -> np.ndarray:
        """Each distinct image once, however many pairs name it."""
        if verifier.one_sided:
            probes = self._vectors(verifier.embed_probe, self.pairs.probe)
            references = self._vectors(verifier.embed_reference, self.pairs.reference)
        else:
            both = self._vectors(verifier.embed_probe, np.concatenate([self.pairs.probe, self.pairs.reference]))
            probes, references = both[: len(self.pairs)], both[len(self.pairs) :]
        return cosine(probes, references).cpu().numpy()

    def _vectors(self, embed, rows: np.ndarray) -> Tensor:  # type: ignore[no-untyped-def]
        """Embeddings (len(rows), D)."""
        distinct, back = np.unique(rows, return_inverse=True)
        parts = [
            embed(self.pairs.load(distinct[first : first + self.batch_size], self.device))
            for first in over(range(0, len(distinct), self.batch_size), "clean scores", "images", self.batch_size)
        ]
        return torch.cat(parts)[torch.from_numpy(back).to(self.device)]

    def _by_pair(self, verifier: Verifier) -> np.ndarray:
        parts = []
        for first in over(range(0, len(self.pairs), self.batch_size), "clean scores", "pairs", self.batch_size):
            batch = self.pairs.batch(np.arange(first, min(first + self.batch_size, len(self.pairs))), self.device)
            draw = Draw(self.seed, Stream.CALIBRATION)
            template = verifier.enroll(batch.reference, batch.index, draw)
            scores = verifier.score(batch.probe, template, draw)
            check_scores(verifier, scores, len(batch), "defense")
            parts.append(scores.cpu())
        return torch.cat(parts).numpy()


def _check_finite(scores: np.ndarray, verifier: Verifier, dataset: str) -> None:
    """Refuse a recognizer or defense that gives no numbers for some pairs: no threshold could be set on them."""
    broken = int((~np.isfinite(scores)).sum())
    if broken:
        kind = type(verifier)
        raise FrbenchError(
            f"{kind.__module__}.{kind.__qualname__} gives scores that are not finite for {broken} of the {len(scores)} "
            f"clean pairs of {dataset}: look at the preprocessing of the recognizer and at the defense"
        )
