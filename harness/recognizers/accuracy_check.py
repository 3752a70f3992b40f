"""The check of a recognizer's clean accuracy before any attack, which finds wrong preprocessing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from frbench.harness.core.errors import ConfigError

USUAL = 90.0
FLOOR = 75.0  # minimum in per cent where none is stated: any face recognizer exceeds it on the usual pairs
CAUSES = (
    "the usual causes are swapped channels (recognizer.bgr), a wrong range or normalisation "
    "(recognizer.mean, .std, .scale), and a crop or alignment other than the five-point 112x112 template; "
    "recognizer.preprocessing=auto tries the usual ways"
)


@runtime_checkable
class StatesAccuracy(Protocol):
    """A recognizer that states its minimum clean accuracy in per cent, for every data set or by name."""

    @property
    def min_clean_accuracy(self) -> float | Mapping[str, float] | None: ...


def stated_accuracy(recognizer: object) -> float | Mapping[str, float] | None:
    """The minimum clean accuracy in per cent that ``recognizer`` states; None where it states none."""
    return recognizer.min_clean_accuracy if isinstance(recognizer, StatesAccuracy) else None


def check_clean_accuracy(
    name: str,
    accuracy_percent: float,
    dataset: str,
    min_clean_accuracy: float | Mapping[str, float] | None,
    allowed: bool = False,
) -> str | None:
    """Compare a recognizer's clean accuracy with the minimum that its YAML states.

    Args:
        name: The recognizer.
        accuracy_percent: Its verification accuracy on the clean pairs of ``dataset``.
        dataset: The name of the data set.
        min_clean_accuracy: Minimum in per cent, for every data set or by name; 75 where it states none.
        allowed: Return a warning where the accuracy is below the minimum, in place of raising.

    Returns:
        A warning, or None. Without a stated minimum, an accuracy below 90 % is a warning.

    Raises:
        ConfigError: The accuracy is below the minimum: a recognizer with wrong preprocessing gives meaningless attack
            results.
    """
    stated = min_clean_accuracy.get(dataset) if isinstance(min_clean_accuracy, Mapping) else min_clean_accuracy
    least = FLOOR if stated is None else stated
    found = f"{name} is right on {accuracy_percent:.2f} % of the clean pairs of {dataset}"
    # Written so that an accuracy that is not a number is refused too.
    if not accuracy_percent >= least:
        if allowed:
            return f"{found}, expected at least {least:g} %: {CAUSES}"
        raise ConfigError(
            f"{found}, expected at least {least:g} %: {CAUSES}, allow_low_accuracy=true goes on and marks the record"
        )
    return f"{found}: {CAUSES}" if stated is None and accuracy_percent < USUAL else None
