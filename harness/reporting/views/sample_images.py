"""Sample images of cells with what each of them shows. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from frbench.harness.reporting.amplification import amplification
from frbench.harness.reporting.budget_axis import budget_words
from frbench.harness.reporting.pair_outcomes import CellFiles
from frbench.harness.reporting.tables.layout import phrase, threat_model
from frbench.harness.reporting.words import defense_words
from frbench.harness.storage.records import Kind, Record, label


class SampleImage(NamedTuple):
    """An image.

    Attributes:
        image: (H, W, 3) in [0, 1].
        alternative: what it shows, for readers who cannot see it.
        caption: in a few words.
    """

    image: np.ndarray
    alternative: str
    caption: str


class Strip(NamedTuple):
    """Images of one pair or photo, and their title."""

    title: str
    images: tuple[SampleImage, ...]


def strips(files: CellFiles, record: Record, top: int) -> Iterator[Strip]:
    """The first ``top`` pairs or users of a cell; none where it has no sample images."""
    samples = files.sample_images(record["fingerprint"])
    if samples is None:
        return
    of, count = (_cloak, "user") if record["kind"] == Kind.CLOAKING else (_pair, "index")
    for number in range(min(top, len(samples[count]))):
        yield of(record, samples, number)


def cell_words(record: Record) -> str:
    """Attack, budget, goal, attacker and defense of a cell, in one line."""
    goal = label(record, "goal")
    return ", ".join(
        filter(
            None,
            (
                phrase(record, "attack"),
                budget_words(label(record, "budget")),
                goal,
                f"{threat_model(record)} attacker",
                defense_words(label(record, "defense")),
            ),
        )
    )


def _pair(record: Record, samples: Mapping[str, np.ndarray], number: int) -> Strip:
    clean, adversarial, reference = (samples[name][number] for name in ("probe", "adversarial", "reference"))
    pair, threshold = f"pair {int(samples['index'][number])}", float(samples["threshold"][number])
    scores = [float(samples[name][number]) for name in ("clean_score", "adversarial_score")]
    outcome = "success" if samples["success"][number] else "failure"
    difference, factor = _amplified(adversarial, clean)
    change = 255 * float(np.abs(adversarial - clean).max())
    attack = phrase(record, "attack")
    images = (
        SampleImage(clean, f"clean face of {pair}", f"clean, score {scores[0]:.3f}"),
        SampleImage(adversarial, f"face of {pair} after {attack}", f"adversarial, score {scores[1]:.3f}: {outcome}"),
        SampleImage(
            difference,
            f"difference between the two, amplified {factor} times",
            f"difference × {factor}, L∞\u00a0{change:.1f}/255",
        ),
        SampleImage(reference, f"reference face of {pair}", f"reference, threshold {threshold:.3f}"),
    )
    return Strip(f"{cell_words(record)}, {pair}", images)


def _cloak(record: Record, samples: Mapping[str, np.ndarray], number: int) -> Strip:
    natural, cloaked, purified = (samples[name][number] for name in ("natural", "cloaked", "purified"))
    user = f"user {int(samples['user'][number])}"
    cloak, factor = _amplified(cloaked, natural)
    images = (
        SampleImage(natural, f"original photo of {user}", "original"),
        SampleImage(cloaked, f"cloaked photo of {user}", "cloaked"),
        SampleImage(cloak, f"cloak of {user}, amplified {factor} times", f"cloak × {factor}"),
        SampleImage(purified, f"cloaked photo of {user} after the defense", "purified"),
    )
    return Strip(f"{cell_words(record)}, {user}", images)


def _amplified(changed: np.ndarray, natural: np.ndarray) -> tuple[np.ndarray, int]:
    """The difference around mid-gray, and its factor."""
    difference = np.asarray(changed, np.float64) - natural
    factor = amplification([difference])
    return 0.5 + factor * difference, factor
