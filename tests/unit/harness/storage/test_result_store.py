"""The store: whole files or none, and nothing that a reader has to guess."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from frbench.harness.storage.result_store import SCHEMA, ResultStore


def record(name: str, status: str = "done") -> dict:
    return {"schema": SCHEMA, "fingerprint": name, "status": status, "reason": None}


def test_records_scores_and_pictures_come_back_as_written(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.write_record(record("b"))
    store.write_record(record("a"))
    assert [each["fingerprint"] for each in store.records()] == ["a", "b"]
    table = pd.DataFrame({"index": [1, 2], "success": [True, False]})
    store.write_scores("a", table)
    pd.testing.assert_frame_equal(store.scores("a"), table)
    pictures = {"probe": np.random.default_rng(0).random((2, 4, 4, 3), np.float32)}
    store.write_sample_images("a", pictures)
    assert np.array_equal(store.sample_images("a")["probe"], pictures["probe"])
    assert store.scores("b") is None and store.sample_images("b") is None and store.record("c") is None


def test_that_cells_which_show_the_same_images_share_their_file(tmp_path: Path) -> None:
    store, random = ResultStore(tmp_path), np.random.default_rng(0)
    natural = random.random((2, 16, 16, 3), np.float32)
    own = {name: random.random((2, 16, 16, 3), np.float32) for name in "abc"}
    for name, images in own.items():
        store.write_sample_images(name, {"probe": natural, "adversarial": images, "index": np.array([3, 5])})
    assert len(list((tmp_path / "sample_images" / "images").iterdir())) == 4
    for name, images in own.items():
        found = store.sample_images(name)
        assert found is not None and sorted(found) == ["adversarial", "index", "probe"]
        assert np.array_equal(found["adversarial"], images) and np.array_equal(found["probe"], natural)
        assert found["index"].tolist() == [3, 5]


def test_finished_means_done_or_refused_and_a_crash_runs_again(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for status in ("done", "refused", "crashed"):
        store.write_record(record(status, status))
    assert [bool(store.finished(s)) for s in ("done", "refused", "crashed")] == [True, True, False]


def test_numbers_that_json_cannot_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        ResultStore(tmp_path).write_record({**record("a"), "measurements": float("nan")})


def test_cached_arrays_are_computed_once_and_again_where_they_are_not_usable(tmp_path: Path) -> None:
    store, calls = ResultStore(tmp_path), []

    def make() -> dict[str, np.ndarray]:
        calls.append(len(calls))
        return {"values": np.array([len(calls)])}

    found = [store.get_or_make("kind", "key/block", make) for _ in range(2)]
    assert [(int(each.arrays["values"][0]), each.made) for each in found] == [(1, True), (1, False)]
    renewed = store.get_or_make("kind", "key/block", make, usable=lambda arrays: arrays["values"][0] > 1)
    assert (int(renewed.arrays["values"][0]), renewed.made) == (2, True)
    assert int(store.get_or_make("kind", "key/block", make).arrays["values"][0]) == 2
    assert dict(store.get_or_make("kind", "empty", dict).arrays) == {}
    assert not store.get_or_make("kind", "empty", make).made


def test_arrays_whose_computation_fails_are_not_cached(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    with pytest.raises(ZeroDivisionError):
        store.get_or_make("kind", "key", lambda: {"values": np.array([1 // 0])})
    assert store.get_or_make("kind", "key", lambda: {"values": np.array([1])}).made
