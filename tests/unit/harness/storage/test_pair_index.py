"""Decisions from the index are those of the tables of scores, and as fresh."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.fake_records import sweep
from support.file_systems import read_only

from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.storage.result_store import ResultStore

FAKE = sweep(attacks=("fgsm",))
KEYS = sorted(FAKE.frames)


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    store = ResultStore(tmp_path / "results")
    for key in KEYS[:6]:
        store.write_scores(key, FAKE.frames[key])
    store.write_scores("other", pd.DataFrame({"photo": [1, 2]}))
    return store


def differences(store: ResultStore, indexed: bool) -> list[object]:
    outcomes = Outcomes(store.scores, store.decisions if indexed else None)
    pairs = [({"fingerprint": a}, {"fingerprint": b}) for a in KEYS[:6] for b in KEYS[:6]]
    return [outcomes.difference(a, b) for a, b in pairs]


def test_comparisons_with_the_index_are_those_of_the_scores(store: ResultStore) -> None:
    expected = differences(store, indexed=False)
    assert any(each is None for each in expected) and sum(each is not None for each in expected) > 10
    for _ in range(2):
        store = ResultStore(store.root)
        assert differences(store, indexed=True) == expected
    assert store.decisions("other") is None and store.decisions("missing") is None


def test_pairs_in_another_order_are_compared_by_their_numbers(store: ResultStore) -> None:
    key, frame = KEYS[0], FAKE.frames[KEYS[0]]
    store.write_scores("shuffled", frame.sample(frac=0.7, random_state=0))
    outcomes = Outcomes(store.scores, store.decisions)
    found = outcomes.difference({"fingerprint": key}, {"fingerprint": "shuffled"})
    kept = frame.loc[store.scores("shuffled")["index"]]
    assert found is not None and found.only_a == found.only_b == 0
    assert found.total == int(kept["correct"].sum()) and found.both == int((kept["success"] & kept["correct"]).sum())


def test_changed_scores_are_read_again_and_unchanged_ones_are_not(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.decisions(KEYS[0])
    frame = FAKE.frames[KEYS[0]]
    store.write_scores(KEYS[0], frame.assign(success=False))
    (store.root / "scores" / f"{KEYS[1]}.parquet").unlink()
    for key in KEYS[2:6]:  # unreadable, without a change that shows
        path = store.root / "scores" / f"{key}.parquet"
        status, size = path.stat(), path.stat().st_size
        path.write_bytes(bytes(size))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = ResultStore(store.root)
    found = again.decisions(KEYS[0])
    assert found is not None and not found.success.any() and found.attacked.any()
    assert again.decisions(KEYS[1]) is None
    assert all(again.decisions(key) is not None for key in KEYS[2:6])


@pytest.mark.parametrize("name", ["pairs", "pair_numbers"])
@pytest.mark.parametrize("damage", ["deleted", "flipped"])
def test_a_damaged_index_of_pairs_is_made_again(name: str, damage: str, store: ResultStore) -> None:
    expected = differences(store, indexed=True)
    path = store.root / "index" / f"{name}.parquet"
    if damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-5] + b"\0" + path.read_bytes()[-4:])
    assert differences(ResultStore(store.root), indexed=True) == expected


def test_a_read_only_folder_has_decisions_too(store: ResultStore) -> None:
    expected = differences(store, indexed=False)
    with read_only(store.root):
        assert differences(store, indexed=True) == expected


def test_a_pair_counts_as_attacked_where_it_was_right_before_and_has_a_score(store: ResultStore) -> None:
    frame = pd.DataFrame(
        {
            "index": [4, 5, 6, 7],
            "correct": [True, True, False, True],
            "adversarial_score": [0.1, np.nan, 0.2, 0.3],
            "success": [True, True, True, False],
        }
    )
    store.write_scores("small", frame)
    found = ResultStore(store.root).decisions("small")
    assert found is not None and found.pairs.tolist() == [4, 5, 6, 7]
    assert np.unpackbits(found.attacked, count=4).tolist() == [1, 0, 0, 1]
    assert np.unpackbits(found.success, count=4).tolist() == [1, 0, 0, 0]


def test_that_successes_of_noise_are_those_of_the_scores(store: ResultStore) -> None:
    key, frame = KEYS[0], FAKE.frames[KEYS[0]]
    noise = np.where(np.arange(len(frame)) % 3 == 0, frame["threshold"], 2 * frame["same"] - 1.0)
    store.write_scores("noisy", frame.assign(noise_score=noise))
    attacked = frame["correct"] & frame["adversarial_score"].notna()
    crossed = (noise > frame["threshold"]) != frame["same"]
    for _ in range(2):
        outcomes = Outcomes(store.scores, ResultStore(store.root).decisions)
        assert outcomes.noise({"fingerprint": "noisy"}) == (int((crossed & attacked).sum()), int(attacked.sum()))
        assert outcomes.noise({"fingerprint": key}) is None
