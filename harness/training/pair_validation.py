"""Accuracy on pairs while training, to look at: it chooses nothing."""

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

_CHUNK = 128  # images looked at together


@runtime_checkable
class Validated(Protocol):
    """A recipe whose training is validated on pairs. validation: name -> source of pairs."""

    @property
    def validation(self) -> Mapping[str, PairSource]: ...


@dataclass(frozen=True)
class Validation:
    """Pairs to verify by the cosine, each ``source`` opened on first use and with its images kept in ``cache``."""

    identity = "training.pair_validation"
    version = 1

    sources: Mapping[str, PairSource]
    cache: Path | None

    @cached_property
    def pairs(self) -> dict[str, PairSet]:
        """Raises FrbenchError: there is no cache to open them with."""
        if self.sources and self.cache is None:
            raise FrbenchError("pairs to validate on need a folder for decoded images: context.cache is missing")
        opened = {name: source.open(self.cache) for name, source in self.sources.items() if self.cache is not None}
        for name, pairs in opened.items():
            check_pairs(self.sources[name], pairs)
        return opened

    def accuracy(self, look: Callable[[Images], Tensor], device: torch.device) -> dict[str, Tensor]:
        """Per cent, k-fold, by set: ``look`` gives unit embeddings (N, K, d) of K members.

        Of several members: ``NAME`` by the mean of their cosines, and ``NAME_0`` and so on by one each.
        """
        found: dict[str, Tensor] = {}
        for name, pairs in self.pairs.items():
            rows, place = np.unique(np.stack([pairs.probe, pairs.reference]), return_inverse=True)
            parts = [rows[first : first + _CHUNK] for first in range(0, len(rows), _CHUNK)]
            units = torch.cat([look(pairs.load(part, device)) for part in parts]).cpu().numpy()
            probe, reference = place.reshape(2, -1)
            cosines = np.einsum("nkd,nkd->nk", units[probe], units[reference])
            judged = {name: cosines.mean(axis=1)}
            if cosines.shape[1] > 1:
                judged |= {f"{name}_{member}": each for member, each in enumerate(cosines.T)}
            for each, scores in judged.items():
                percent = 100 * kfold_accuracy(scores, pairs.same, pairs.fold).accuracy
                found[each] = torch.tensor(percent, dtype=torch.float64)
        return found
