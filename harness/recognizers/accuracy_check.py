"""Is the recognizer fed as it was trained? Measured on clean pairs before anything is attacked."""

from __future__ import annotations

from collections.abc import Mapping

from frbench.harness.core.errors import ConfigError

USUAL = 90.0
FLOOR = 75.0  # least accuracy in per cent where nothing is stated: recognizers of faces have more on any pairs in use
CAUSES = (
    "the usual causes are swapped channels (recognizer.bgr), a wrong range or normalisation "
    "(recognizer.mean, .std, .scale), and a crop or alignment other than the five-point 112x112 template; "
    "recognizer.preprocessing=auto tries the usual ways"
)


def check_clean_accuracy(
    name: str,
    accuracy_percent: float,
    dataset: str,
    floor: float | Mapping[str, float] | None,
    allowed: bool = False,
) -> str | None:
    """None where the accuracy is fine, a warning where it is below 90 % and no floor is stated.

    floor: least accuracy in per cent, for every dataset or by dataset name; 75 where it does not say. Below it
        FrbenchError is raised: numbers of attacks on a recognizer that is fed wrongly mean nothing (peers b5).
    allowed: warn instead of raising.
    """
    stated = floor.get(dataset) if isinstance(floor, Mapping) else floor
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
