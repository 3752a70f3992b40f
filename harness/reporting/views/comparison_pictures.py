"""Sample images that two compared runs have of the same pairs. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from frbench.harness.reporting.amplification import amplification
from frbench.harness.reporting.views.comparison import NAMES, Comparison
from frbench.harness.reporting.views.sample_images import SampleImage, Strip

Samples = Mapping[str, np.ndarray]
_NEEDED = {"index", "probe", "adversarial", "reference", "adversarial_score", "threshold"}


def picture_strips(found: Comparison, a: Samples | None, b: Samples | None, most: int) -> tuple[Strip, ...]:
    """The clean face, both adversarial faces and both differences of compared pairs, flipped pairs first.

    Args:
        found: the comparison.
        a: sample images of the first run, None if there are none.
        b: sample images of the second run.
        most: pairs.
    """
    if not found.parts or a is None or b is None or not all(set(each) >= _NEEDED for each in (a, b)):
        return ()
    return tuple(islice(_strips(found, (a, b)), most))


def _strips(found: Comparison, samples: tuple[Samples, Samples]) -> Iterator[Strip]:
    places = [{int(index): place for place, index in enumerate(each["index"])} for each in samples]
    part = found.parts[0]
    rows = {int(row["index"]): row for row in part.rows.to_dict("records")}
    flipped = [int(index) for index in part.flipped["index"]]
    for index in dict.fromkeys([*flipped, *rows]):
        if all(index in each for each in places):
            yield _strip(rows[index], samples, [each[index] for each in places])


def _strip(row: Mapping[Hashable, Any], samples: Sequence[Samples], places: Sequence[int]) -> Strip:
    won = [bool(row["success_a"]), bool(row["success_b"])]
    pair = f"pair {row['index']}"
    clean = samples[0]["probe"][places[0]]
    attacked = [each["adversarial"][place] for each, place in zip(samples, places, strict=True)]
    differences = [np.asarray(each, np.float64) - clean for each in attacked]
    factor = amplification(differences)
    outcome = _OUTCOME[won[0], won[1]]
    images = [SampleImage(clean, f"clean face of {pair}", "clean")]
    for run, image, each, place, success in zip(NAMES, attacked, samples, places, won, strict=True):
        score, threshold = (float(each[name][place]) for name in ("adversarial_score", "threshold"))
        said = f"{run}: score {score:.3f}, threshold {threshold:.3f}: {'success' if success else 'failure'}"
        images.append(SampleImage(image, f"face of {pair} after the attack of {run}", said))
    for run, difference in zip(NAMES, differences, strict=True):
        alternative = f"change by the attack of {run} on {pair}, amplified {factor} times"
        images.append(SampleImage(0.5 + factor * difference, alternative, f"change in {run} × {factor}"))
    images.append(SampleImage(samples[0]["reference"][places[0]], f"reference face of {pair}", "reference"))
    return Strip(f"{pair}: {outcome}", tuple(images))


_OUTCOME = {
    (True, True): "both attacks succeed",
    (True, False): "A alone succeeds",
    (False, True): "B alone succeeds",
    (False, False): "both attacks fail",
}
