"""Verification accuracy on pairs during training, which is logged and decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import Images, PairSet, PairSource
from frbench.harness.core.part_contracts import check_pairs
from frbench.harness.metrics.verification import kfold_accuracy

_CHUNK = 128  # images of a forward pass


@runtime_checkable
class HasValidationPairs(Protocol):
    """A recipe whose training is validated on pairs. validation: name -> source of pairs."""

    @property
    def validation(self) -> Mapping[str, PairSource]: ...


@dataclass(frozen=True)
class Validation:
    """Pairs to verify by cosine similarity; each source is opened on first use, with its images in ``cache``."""

    identity = "training.pair_validation"
    version = 1

    sources: Mapping[str, PairSource]
    cache: Path | None

    @cached_property
    def pairs(self) -> dict[str, PairSet]:
        """Raises FrbenchError: there is no cache folder."""
        if self.sources and self.cache is None:
            raise FrbenchError("validation pairs need a folder for decoded images; set context.cache")
        opened = {name: source.open(self.cache) for name, source in self.sources.items() if self.cache is not None}
        for name, pairs in opened.items():
            check_pairs(self.sources[name], pairs)
        return opened

    def accuracy(self, embed: Callable[[Images], Tensor], device: torch.device) -> dict[str, Tensor]:
        """k-fold accuracy in per cent, by set.

        Args:
            embed: Unit embeddings (N, K, d) of K members.
            device: Of the images.

        Returns:
            ``NAME``, by the mean cosine of the members; for K > 1 also ``NAME_0`` and so on, by one member each.
        """
        found: dict[str, Tensor] = {}
        for name, pairs in self.pairs.items():
            rows, place = np.unique(np.stack([pairs.probe, pairs.reference]), return_inverse=True)
            parts = [rows[first : first + _CHUNK] for first in range(0, len(rows), _CHUNK)]
            embeddings = torch.cat([embed(pairs.load(part, device)) for part in parts]).cpu().numpy()
            probe, reference = place.reshape(2, -1)
            cosines = np.einsum("nkd,nkd->nk", embeddings[probe], embeddings[reference])
            judged = {name: cosines.mean(axis=1)}
            if cosines.shape[1] > 1:
                judged |= {f"{name}_{member}": each for member, each in enumerate(cosines.T)}
            for each, scores in judged.items():
                percent = 100 * kfold_accuracy(scores, pairs.same, pairs.fold).accuracy
                found[each] = torch.tensor(percent, dtype=torch.float64)
        return found
