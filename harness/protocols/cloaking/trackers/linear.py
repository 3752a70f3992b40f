"""Linear tracker: standardised embeddings of a frozen recognizer, then multinomial logistic regression."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from frbench.harness.core.domains import Positive, PositiveInt
from frbench.harness.core.errors import FrbenchError
from frbench.harness.protocols.cloaking.trackers.base import Predictions, Scenario, SplitData, ranked


@dataclass(frozen=True)
class LinearProbe:
    """Logistic regression of scikit-learn, refit from a cold start for every scenario.

    Args:
        C: inverse of the L2 penalty.
        max_iter: iterations of lbfgs, which stops there converged or not, as in the published evaluations.
        users: number of users to test; None for all.
    """

    identity = "tracker.linear_probe"
    version = 1
    trainings_per_file: ClassVar[int] = 16  # about a second each

    C: Positive = 1.0
    max_iter: PositiveInt = 100
    users: PositiveInt | None = None

    def predict(self, split: SplitData, scenarios: Sequence[Scenario]) -> Iterator[Predictions]:
        tests = split.tests.cpu().numpy()
        for scenario in scenarios:
            vectors, own = split.vectors(scenario).cpu().numpy(), split.own_photos(scenario)
            classifier = self._fitted(vectors, split.train_labels)
            probabilities = torch.from_numpy(classifier.predict_proba(tests))
            yield Predictions(ranked(probabilities), classifier.predict(vectors[own]) == split.train_labels[own])

    def _fitted(self, vectors: np.ndarray, labels: np.ndarray) -> Any:
        try:
            from sklearn.exceptions import ConvergenceWarning
            from sklearn.linear_model import LogisticRegression
            from sklearn.pipeline import make_pipeline
            from sklearn.preprocessing import StandardScaler
        except ImportError as error:
            raise FrbenchError(
                f'tracker=linear needs scikit-learn: pip install "frbench[cloaking]" ({error})'
            ) from error
        model = LogisticRegression(C=self.C, max_iter=self.max_iter, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return make_pipeline(StandardScaler(), model).fit(vectors, labels)
