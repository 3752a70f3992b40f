"""Jobs that craft shards of one cell: the run of the whole cell finds every block, and its record is the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import LinearRecognizer, random_pair_set
from support.cloaked_cells import cloaking_cell, negatives
from support.toy_cells import NoiseDefense, toy_cell

from frbench.attacks.lots import Lots, LotsDescent
from frbench.harness.evaluation import crafting
from frbench.harness.evaluation.cell import CalibratesVictim, Cell, CraftsImages, run_cell
from frbench.harness.evaluation.shards import Filled, Shard
from frbench.harness.protocols import feature_distance_crafting
from frbench.harness.protocols.feature_distance import FeatureDistance
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.budgets import Unbounded
from frbench.harness.threat_model.goals import Impersonation
from frbench.harness.threat_model.threats import Adaptive

SIZE = 16


def recognizer() -> LinearRecognizer:
    return LinearRecognizer(torch.randn(3 * SIZE * SIZE, 12, generator=torch.Generator().manual_seed(0)))


def verification() -> Cell:
    return toy_cell(random_pair_set(size=SIZE), recognizer(), defense=NoiseDefense(), threat=Adaptive())


def feature_distance() -> Cell:
    walk = Lots(LotsDescent(step_size=3 / 255, steps=25, direction="sign"))
    protocol = FeatureDistance((1.2, 0.6), far_levels=(0.1,))
    nouns = {"attack": walk, "goal": Impersonation(), "budget": Unbounded(), "protocol": protocol}
    return toy_cell(random_pair_set(size=SIZE), recognizer(), **nouns)


def cloaking() -> Cell:
    return cloaking_cell(negatives)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crafting, "BLOCK_SIZE", 8)
    monkeypatch.setattr(feature_distance_crafting, "BLOCK_SIZE", 8)


def without_card(store: ResultStore, name: str) -> str:
    record = store.record(name)
    assert record is not None
    assert record["status"] == "done", record["reason"]
    rest = {key: value for key, value in record.items() if key not in ("card", "checksum")}  # of the card too
    return json.dumps(rest, sort_keys=True)


@pytest.mark.parametrize("make", [verification, feature_distance, cloaking])
def test_shards_leave_the_whole_cell_nothing_to_craft(make: Callable[[], Cell], tmp_path: Path) -> None:
    cell, whole, shared = make(), ResultStore(tmp_path / "whole"), ResultStore(tmp_path / "shared")
    run_cell(cell, whole)
    assert isinstance(cell.protocol, CraftsImages)
    filled = [cell.protocol.craft(make(), shared, Shard(number, 3)) for number in (2, 0, 1)]
    assert all(each.made > 0 and not each.found for each in filled)
    blocks = sum((each.made for each in filled), 0)
    assert cell.protocol.craft(make(), shared, Shard(0, 1)) == Filled(0, blocks)
    card = run_cell(make(), shared)["card"]
    assert card["attack_generated"] is False
    assert without_card(shared, cell.fingerprint()) == without_card(whole, cell.fingerprint())
    folders = {path.parent.name for path in (shared.root / "cache").glob("*/*/*") if path.parts[-3] != "purified"}
    assert set(card["adversarial_images"]) == folders


@pytest.mark.parametrize("make", [verification, feature_distance])
def test_clean_scores_that_were_computed_ahead_are_found(make: Callable[[], Cell], tmp_path: Path) -> None:
    cell, store = make(), ResultStore(tmp_path)
    assert isinstance(cell.protocol, CalibratesVictim)
    cell.protocol.calibrate(cell, store)
    scores = store.root / "cache" / "clean"
    before = {path.name for path in scores.iterdir()}
    assert run_cell(make(), store)["status"] == "done"
    assert {path.name for path in scores.iterdir()} == before
