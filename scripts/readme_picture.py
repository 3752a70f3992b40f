"""The picture of the README: rendered faces, their adversarial images and the amplified difference.

    python scripts/readme_picture.py [--out docs/images/clean_adversarial_difference] [--pairs 3]

It needs no data and no network: the faces are rendered, and the recognizer is part of the package.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from frbench.harness import api
from frbench.harness.reporting.figures.image_grids import PairRow, pair_grid
from frbench.harness.reporting.figures.style import save

COLOURS = 256  # of the PNG, for a small file
TITLE = "PGD within 8/255: the same person is no longer recognised\nscore: cosine similarity with the reference"
FACES = api.dataset("synthetic", people=30, photos_per_person=4, pairs=200, limit=40)


def rows(count: int, results: str) -> list[PairRow]:
    """The first ``count`` attacked pairs; ``results`` is the folder of the result store."""
    cell = {"dataset": FACES, "recognizer": "tiny", "attack": "pgd", "goal": "dodging", "budget": "linf_8"}
    result = api.evaluate(**cell, device="cpu", results=results)
    pairs = result.pairs.query("correct").head(count)
    images = result.images(list(pairs["index"]))
    clean, adversarial, reference = (each.permute(0, 2, 3, 1).numpy() for each in images)
    return [
        PairRow(
            f"pair {pair.number}",
            clean=clean[i],
            adversarial=adversarial[i],
            reference=reference[i],
            clean_score=pair.clean_score,
            adversarial_score=pair.adversarial_score,
            threshold=pair.threshold,
            success=pair.success,
        )
        for i, pair in enumerate(pairs.rename(columns={"index": "number"}).itertuples(index=False))
    ]


def main(words: Sequence[str] | None = None) -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images/clean_adversarial_difference"))
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args(words)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as results:
        figure = pair_grid(rows(options.pairs, results), TITLE)
    (path,) = save(figure, options.out, "png")
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
