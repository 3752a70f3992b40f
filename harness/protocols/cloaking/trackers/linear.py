"""A linear classifier on frozen embeddings: each dimension standardised, then multinomial logistic regression."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from frbench.harness.core.domains import Positive, PositiveInt
from frbench.harness.core.errors import FrbenchError
from frbench.harness.protocols.cloaking.trackers.base import Answer, Scene, Stage, ranked


@dataclass(frozen=True)
class LinearProbe:
    """scikit-learn's, refit for every scene from the same cold start.

    strength: C, the inverse of the L2 penalty. iterations: where lbfgs stops, converged or not, as in the published
    evaluations.
    """

    identity = "tracker.linear_probe"
    version = 1

    strength: Positive = 1.0
    iterations: PositiveInt = 100
    users: PositiveInt | None = None

    def answers(self, stage: Stage, scenes: Sequence[Scene]) -> Iterator[Answer]:
        tests = stage.tests.cpu().numpy()
        for scene in scenes:
            vectors, own = stage.vectors(scene).cpu().numpy(), stage.own(scene)
            classifier = self._fitted(vectors, stage.labels)
            chances = torch.from_numpy(classifier.predict_proba(tests))
            yield Answer(ranked(chances), classifier.predict(vectors[own]) == stage.labels[own])

    def _fitted(self, vectors: np.ndarray, labels: np.ndarray) -> Any:
        try:
            from sklearn.exceptions import ConvergenceWarning
            from sklearn.linear_model import LogisticRegression
            from sklearn.pipeline import make_pipeline
            from sklearn.preprocessing import StandardScaler
        except ImportError as error:
            raise FrbenchError(
                f'the linear tracker needs scikit-learn: pip install "frbench[cloaking]" ({error})'
            ) from error
        model = LogisticRegression(C=self.strength, max_iter=self.iterations, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return make_pipeline(StandardScaler(), model).fit(vectors, labels)
