"""Is the recognizer fed as it was trained? Measured on clean pairs before anything is attacked."""

from __future__ import annotations

from collections.abc import Mapping

from frbench.harness.errors import FrbenchError

USUAL = 90.0
CAUSES = (
    "the usual causes are swapped channels (recognizer.bgr), a wrong range or normalisation "
    "(recognizer.mean, .std, .scale), and a crop or alignment other than the five-point 112x112 template"
)


def check_clean_accuracy(
    name: str, accuracy_percent: float, dataset: str, floor: float | Mapping[str, float] | None
) -> str | None:
    """None where the accuracy is fine, a warning where nothing is known and it is below 90 %.

    floor: least accuracy in per cent, for every dataset or by dataset name. Below it FrbenchError is raised: numbers
    of attacks on a mis-fed recognizer mean nothing (peers b5).
    """
    least = floor.get(dataset) if isinstance(floor, Mapping) else floor
    if least is None:
        if accuracy_percent >= USUAL:
            return None
        return f"{name} is right on {accuracy_percent:.2f} % of the clean pairs of {dataset}: {CAUSES}"
    # Written so that an accuracy that is not a number is refused too.
    if not accuracy_percent >= least:
        raise FrbenchError(
            f"{name} is right on {accuracy_percent:.2f} % of the clean pairs of {dataset}, "
            f"expected at least {least:g} %: {CAUSES}"
        )
    return None
