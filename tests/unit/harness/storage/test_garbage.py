"""What may be deleted from a store: by age, by size, and nothing that a running process needs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frbench.harness.storage.garbage import (
    Kind,
    Limits,
    StoredFile,
    deletable,
    delete,
    drop_images,
    garbage,
    is_running,
)
from frbench.harness.storage.result_store import ResultStore

DAY = 86400.0
NOW = 1e9
FILES = st.lists(
    st.builds(
        StoredFile,
        path=st.integers(0, 10**6).map(lambda number: Path(f"file{number}")),
        kind=st.sampled_from(Kind),
        size=st.integers(0, 100),
        used=st.floats(NOW - 60 * DAY, NOW),
    ),
    unique_by=lambda file: file.path,
    max_size=30,
)
LIMITS = st.builds(
    Limits,
    now=st.just(NOW),
    older_than=st.floats(0, 60 * DAY),
    cache_at_most=st.none() | st.integers(0, 1000),
    running=st.booleans(),
)
BY_SIZE = (Kind.CACHE, Kind.QUARANTINE)


@given(files=FILES, limits=LIMITS)
def test_what_stays_is_young_small_or_in_use(files: list[StoredFile], limits: Limits) -> None:
    chosen = garbage(files, limits)
    kept = [file for file in files if file not in chosen]
    assert len(chosen) == len(set(chosen)) == len(files) - len(kept)
    if limits.running:
        assert not {file.kind for file in chosen} & {Kind.CACHE, Kind.CHECKPOINT, Kind.SAMPLE_IMAGES}
    free = [file for file in kept if not limits.running or file.kind == Kind.QUARANTINE]
    for file in free:
        if file.kind not in (Kind.TEMPORARY, Kind.LEASE):
            assert limits.now - file.used <= limits.older_than
    if limits.cache_at_most is not None and not limits.running:
        assert sum(file.size for file in kept if file.kind in BY_SIZE) <= limits.cache_at_most
    by_size = [file for file in chosen if file.kind in BY_SIZE and limits.now - file.used <= limits.older_than]
    if by_size:  # the least recently used go first
        assert max(file.used for file in by_size) <= min(
            (file.used for file in free if file.kind in BY_SIZE), default=NOW
        )


@given(files=FILES, limits=LIMITS)
def test_a_second_run_deletes_nothing_more(files: list[StoredFile], limits: Limits) -> None:
    chosen = garbage(files, limits)
    assert garbage([file for file in files if file not in chosen], limits) == []


@pytest.mark.parametrize("kind", [Kind.TEMPORARY, Kind.LEASE])
def test_leftovers_of_processes_go_after_an_hour_whatever_the_limits(kind: Kind) -> None:
    file = StoredFile(Path("file"), kind, 1, NOW - 3601)
    limits = Limits(NOW, older_than=30 * DAY, running=True)
    assert garbage([file], limits) == [file]
    assert garbage([replace(file, used=NOW - 3599)], limits) == []


def test_files_of_a_store_are_found_by_kind_and_folders_left_empty_go(tmp_path: Path) -> None:
    store, sweep = ResultStore(tmp_path), tmp_path / "sweeps" / "abc"
    store.get_or_make("adversarial", f"{'a' * 64}/0", lambda: {"images": np.zeros(3)})
    store.write_record({"fingerprint": "one", "status": "done", "schema": 1})
    expected = {
        "tmp/.host-1-abc.tmp": Kind.TEMPORARY,
        "leases/cell-1.lease": Kind.LEASE,
        "quarantine/runs/two.json": Kind.QUARANTINE,
        "artifacts/key.unfinished": Kind.CHECKPOINT,
        "sweeps/abc/logs/7_0.out": Kind.LOG,
    }
    for name in [*expected, "artifacts/key.safetensors", "sweeps/other/logs/7_0.out", "cache/own_notes.txt"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    found = {
        file.path.relative_to(tmp_path).as_posix(): file.kind
        for file in deletable(store, [sweep])
        if "cache" not in file.path.parts or file.kind == Kind.CACHE
    }
    (cached,) = (name for name, kind in found.items() if kind == Kind.CACHE)
    assert cached.startswith("cache/adversarial/aaa")
    assert {name: kind for name, kind in found.items() if name != cached} == expected
    assert delete(deletable(store, [sweep]), tmp_path) == []
    assert not (tmp_path / cached).parent.exists()
    assert (tmp_path / "runs").exists()
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file() and path.name != "store.json") == [
        "7_0.out",
        "key.safetensors",
        "one.json",
        "own_notes.txt",
    ]


def test_a_store_is_in_use_while_a_lease_is_renewed(tmp_path: Path) -> None:
    marker = tmp_path / "leases" / "cell.lease"
    marker.parent.mkdir()
    marker.touch()
    store = ResultStore(tmp_path)
    assert is_running(store, os.stat(marker).st_mtime + 60)
    assert not is_running(store, os.stat(marker).st_mtime + 600)


def test_the_images_of_an_attacker_are_dropped_and_others_stay(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for kind, key in (("adversarial", "a" * 64), ("adversarial", "b" * 64), ("distance", "a" * 64)):
        store.get_or_make(kind, f"{key}/0", lambda: {"images": np.zeros(3)})
    drop_images(store, ["a" * 64, "c" * 64, "../../runs", ""])
    found = {path.parent.relative_to(tmp_path / "cache").as_posix() for path in (tmp_path / "cache").rglob("*.zst")}
    assert found == {f"adversarial/{'b' * 64}"}


def test_sample_images_without_a_record_go_and_stacks_that_others_share_stay(tmp_path: Path) -> None:
    store, random = ResultStore(tmp_path), np.random.default_rng(0)
    shared, own = (random.random((2, 16, 16, 3), np.float32) for _ in range(2))
    store.write_sample_images("recorded", {"probe": shared})
    store.write_sample_images("unrecorded", {"probe": shared, "adversarial": own})
    (only,) = set(store.image_stacks("unrecorded")) - set(store.image_stacks("recorded"))
    store.write_record({"fingerprint": "recorded", "status": "done", "schema": 3})
    found = [file for file in deletable(store, ()) if file.kind == Kind.SAMPLE_IMAGES]
    assert {file.path.name.split(".")[0] for file in found} == {"unrecorded", only.name.split(".")[0]}
    delete(found, tmp_path)
    images = store.sample_images("recorded")
    assert images is not None
    assert images["probe"].shape == shared.shape
