"""The folder of a record has each image without loss beyond 8 bits, and is whole or not there."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frbench.harness.reporting.export.photo_names import PairNames
from frbench.harness.reporting.export.run_folder import ImagesOfPairs, write_run

NAMES = PairNames([3, 5], {"probe": ["Ann/1.jpg", "Ann/1.jpg"], "reference": ["Bo/2.jpg", "Bo/3.jpg"]})


def images(seed: int = 0) -> ImagesOfPairs:
    levels = np.random.default_rng(seed).integers(0, 256, (2, 12, 12, 3))
    probe = np.float32(levels) / np.float32(255)
    adversarial = np.clip(probe + np.float32(0.3 / 255) * np.array([0, 1], np.float32)[:, None, None, None], 0, 1)
    return ImagesOfPairs(np.array([3, 5]), {"probe": probe[[0, 0]], "adversarial": adversarial, "reference": probe})


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_that_images_are_read_back_as_they_were_in_8_bits(tmp_path: Path) -> None:
    given = images()
    done = write_run(tmp_path / "run", NAMES, {3: {"success": True}}, [given])
    assert (done.pairs, done.rounded) == (2, 1)
    rows = list(csv.DictReader((tmp_path / "run" / "pairs.csv").open(encoding="utf-8")))
    assert [row["pair"] for row in rows] == ["3", "5"]
    assert [row["adversarial"] for row in rows] == ["adversarial/Ann/1_pair_3.png", "adversarial/Ann/1_pair_5.png"]
    assert [row["success"] for row in rows] == ["True", ""]
    for number, row in enumerate(rows):
        for version, stack in given.images.items():
            assert np.array_equal(read(tmp_path / "run" / row[version]), np.rint(stack[number] * 255)), version
    assert sorted(path.name for path in (tmp_path / "run" / "probe" / "Ann").iterdir()) == ["1.png"]


def test_that_an_earlier_export_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write_run(tmp_path / "run", NAMES, {}, [images()])
    write_run(tmp_path / "run", PairNames([3, 5], {}), {}, [images(1)])
    assert not (tmp_path / "run" / "probe" / "Ann").exists()
    assert (tmp_path / "run" / "probe" / "pair_000003.png").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_that_a_folder_of_somebody_else_is_never_deleted(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("precious")
    with pytest.raises(OSError):
        write_run(tmp_path / "run", NAMES, {}, [images()])
    assert (tmp_path / "run" / "mine.txt").read_text() == "precious"


def test_that_a_failed_export_leaves_nothing(tmp_path: Path) -> None:
    def parts() -> Iterator[ImagesOfPairs]:
        yield images()
        raise ValueError("damaged")

    with pytest.raises(ValueError):
        write_run(tmp_path / "run", NAMES, {}, parts())
    assert list(tmp_path.iterdir()) == []
