"""Clean scores of a verifier on all pairs of a dataset, computed once and cached; every threshold derives from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.contracts import Draw, Embeddings, Images, Verifier
from frbench.harness.core.counter_rng import Stream
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import PairSet
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.core.part_contracts import check_part, check_scores
from frbench.harness.core.verifiers import Embedder, cosine
from frbench.harness.evaluation.execution import Execution


@dataclass(frozen=True)
class Calibration:
    """Computes clean scores of verifiers on ``pairs``."""

    pairs: PairSet
    execution: Execution

    def scores(self, verifier: Verifier) -> np.ndarray:
        """Clean scores float32 (N,) of all pairs. Raises FrbenchError: some are not finite."""
        check_part(verifier, (Verifier,), "defense")
        seed = self.execution.seed if verifier.random else None
        key = fingerprint(verifier, self.pairs.digest, seed)
        return self.execution.get_or_make("clean", key, lambda: self._compute(verifier)).arrays["scores"]

    def fresh(self, verifier: Verifier) -> np.ndarray:
        """As ``scores``, neither from the cache nor written to it."""
        check_part(verifier, (Verifier,), "defense")
        return self._compute(verifier)["scores"]

    @torch.no_grad()
    def _compute(self, verifier: Verifier) -> dict[str, np.ndarray]:
        if isinstance(verifier, Embedder) and not verifier.random:
            scores = self._from_embeddings(verifier)
        else:
            scores = self._from_pairs(verifier)
        _check_finite(scores, verifier, self.pairs.name)
        return {"scores": scores}

    def _from_embeddings(self, verifier: Embedder) -> np.ndarray:
        """Scores from one embedding of each distinct image, however many pairs contain it."""
        if verifier.one_sided:
            probes = self._embeddings(verifier.embed_probe, self.pairs.probe)
            references = self._embeddings(verifier.embed_reference, self.pairs.reference)
        else:
            both = self._embeddings(verifier.embed_probe, np.concatenate([self.pairs.probe, self.pairs.reference]))
            probes, references = both[: len(self.pairs)], both[len(self.pairs) :]
        return cosine(probes, references).cpu().numpy()

    def _embeddings(self, embed: Callable[[Images], Embeddings], rows: np.ndarray) -> Tensor:
        """Embeddings (len(rows), D) of the images ``rows``."""
        run = self.execution
        distinct, inverse = np.unique(rows, return_inverse=True)
        parts = [
            embed(self.pairs.load(distinct[part], run.device))
            for part in run.batches_with_progress(len(distinct), "clean scores", "images")
        ]
        return torch.cat(parts)[torch.from_numpy(inverse).to(run.device)]

    def _from_pairs(self, verifier: Verifier) -> np.ndarray:
        run, parts = self.execution, []
        draw = Draw(run.seed, Stream.CALIBRATION)
        for part in run.batches_with_progress(len(self.pairs), "clean scores", "pairs"):
            batch = self.pairs.batch(np.arange(part.start, part.stop), run.device)
            template = verifier.enroll(batch.reference, batch.index, draw)
            scores = verifier.score(batch.probe, template, draw)
            check_scores(verifier, scores, len(batch), "defense")
            parts.append(scores.cpu())
        return torch.cat(parts).numpy()


def _check_finite(scores: np.ndarray, verifier: Verifier, dataset: str) -> None:
    count = int((~np.isfinite(scores)).sum())
    if count:
        kind = type(verifier)
        raise FrbenchError(
            f"{kind.__module__}.{kind.__qualname__} gives NaN or infinite scores for {count} of the {len(scores)} "
            f"clean pairs of {dataset}: check the preprocessing of the recognizer and the defense"
        )
