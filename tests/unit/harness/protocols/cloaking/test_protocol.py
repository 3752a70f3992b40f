"""Cloaking: measurements when every user cloaks in turn, on users with known answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from support.cloaked_cells import cloaking_cell, measured, natural, negatives, users

from frbench.defenses.input_transforms.blur import BlurDefense
from frbench.harness.core.contracts import Images
from frbench.harness.core.face_data import PairBatch
from frbench.harness.evaluation.cell import Cell
from frbench.harness.protocols.cloaking.splits import split
from frbench.harness.protocols.cloaking.trackers.linear import LinearProbe
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.threat_model.threats import Adaptive


def test_that_cloaks_that_are_the_natural_photos_give_the_ordinary_error(store: ResultStore) -> None:
    data = users(people=8, spread=140)  # hard enough to be wrong at times
    for tracker in (None, LinearProbe()):
        cell = cloaking_cell(natural, data=data)
        protocol = cell.protocol if tracker is None else replace(cell.protocol, tracker=tracker)
        found = measured(replace(cell, protocol=protocol), store)
        clean, attack = found["clean"], found["attack"]
        assert 0 < attack["asr"] < 1
        assert attack["asr"] == pytest.approx(1 - clean["accuracy"]) == pytest.approx(attack["no_cloak_error"])
        assert attack["fit_accuracy"] == pytest.approx(clean["fit_accuracy"]) == pytest.approx(1, abs=0.1)
        assert attack["asr_denominator"] == clean["pairs"] == 8 * 3 * 3
        assert attack["asr_low"] <= attack["asr"] <= attack["asr_high"]
        assert (attack["linf"]["max"], attack["border_probe_accuracy"], attack["fidelity"]["psnr"]) == (
            None,
            None,
            None,
        )
        assert attack["left_natural"] == attack["photos"]
        assert found["flags"] == ["low_clean_accuracy", "left_natural"]


def test_that_who_looks_like_the_opposite_is_lost_and_a_leaked_photo_brings_him_back(store: ResultStore) -> None:
    lost = measured(cloaking_cell(negatives), store)["attack"]
    assert (lost["asr"], lost["normal_accuracy"], lost["no_cloak_error"]) == (1, 1, 0)
    assert (lost["asr_successes"], lost["asr_denominator"], lost["users"]) == (45, 45, 5)
    assert (lost["asr_low"], lost["asr_high"], lost["top1"]) == (1, 1, 0)
    back = measured(cloaking_cell(negatives, protocol={"uncloaked_training_photos": 1}), store)["attack"]
    assert (back["asr"], back["top1"]) == (0, 1)


def test_that_others_who_cloak_too_are_none_of_the_normal_ones(store: ResultStore) -> None:
    found = measured(cloaking_cell(negatives, protocol={"fraction": 0.5}), store)["attack"]
    assert (found["normal_accuracy"], found["asr"]) == (1, 1)
    everybody = measured(cloaking_cell(negatives, protocol={"fraction": 1.0}), store)["attack"]
    assert everybody["normal_accuracy"] is None


def test_that_the_rows_have_the_predicted_user_of_each_photo(store: ResultStore) -> None:
    cell = cloaking_cell(negatives)
    measured(cell, store)
    rows = store.scores(cell.fingerprint())
    assert rows is not None
    identity = cell.users.identity
    np.testing.assert_array_equal(identity[rows["index"]], rows["user"])
    np.testing.assert_array_equal(rows["recognised"], rows["predicted"] == rows["user"])
    assert rows.groupby(["split", "user"]).size().eq(3).all() and len(rows) == 45
    for number in range(3):
        test = split(identity, 0.3, cell.seed, number).test
        np.testing.assert_array_equal(np.sort(rows[rows["split"] == number]["index"]), test)


def learnt_from(cell: Cell) -> np.ndarray:
    """Photos on which the tracker trains in some split, of the three that a cell has."""
    parts = [split(cell.users.identity, 0.3, cell.seed, number).train for number in range(3)]
    return np.unique(np.concatenate(parts))


def darker(pairs: PairBatch) -> Images:
    """By user: the later, the larger the change, in gray levels that are no whole numbers."""
    return (pairs.probe - (pairs.index // 10)[:, None, None, None] * 4.4 / 255).clamp(0, 1)


def test_that_cloaks_are_files_of_8_bits_and_what_leaves_the_budget_stays_natural(store: ResultStore) -> None:
    cell = cloaking_cell(darker, budget=Linf(9 / 255))
    found = measured(cell, store)
    attack, user = found["attack"], cell.users.identity[learnt_from(cell)]
    # the first user's cloaks change nothing; 13.2 and 17.6 gray levels of the last two are too many
    assert (attack["photos"], attack["left_natural"]) == (len(user), np.isin(user, [0, 3, 4]).sum())
    assert attack["linf"]["max"] == pytest.approx(9, abs=1e-3)  # 8.8, rounded
    assert "left_natural" in found["flags"]


def broken(pairs: PairBatch) -> Images:
    return torch.where((pairs.index == 7)[:, None, None, None], torch.nan, 1 - pairs.probe)


def test_that_a_cloak_that_is_not_finite_is_told_and_left_out(store: ResultStore) -> None:
    found = measured(cloaking_cell(broken), store)
    assert found["attack"]["left_natural"] == 1
    assert found["flags"] == ["broken_images"]


@dataclass(frozen=True)
class Undoing(BlurDefense):
    """A purifier that turns every photo upside down, and then none is as the tracker is asked about it."""

    def purifier(self) -> Any:
        return UpsideDown()


@dataclass(frozen=True)
class UpsideDown:
    differentiable = True
    random = False

    def __call__(self, images: Images, index: torch.Tensor, draw: object) -> Images:
        return images.flip(2)


def test_that_training_photos_pass_the_defense_and_test_photos_do_not(store: ResultStore) -> None:
    plain = measured(cloaking_cell(None), store)["clean"]
    turned = measured(cloaking_cell(None, defense=Undoing()), store)["clean"]
    assert plain["accuracy"] == 1
    assert turned["accuracy"] < 0.6
    assert turned["fidelity"]["psnr"] < 20
    assert plain["fidelity"] == {"psnr": "inf", "ssim": pytest.approx(1), "cosine": pytest.approx(1)}


def test_that_fidelity_compares_with_the_natural_photos(store: ResultStore) -> None:
    cell = cloaking_cell(darker, defense=Undoing())
    kept = measured(cell, store)["attack"]["fidelity"]
    cloaked = learnt_from(cell)
    cloaked = cloaked[cell.users.identity[cloaked] > 0]  # the first user's cloaks change nothing
    images = cell.users.load(cloaked)
    worn = (darker(cell.users.batch(cloaked)) * 255).round() / 255
    mse = (worn.flip(2) - images).square().flatten(1).mean(dim=1)
    assert kept["psnr"] == pytest.approx(float(np.median(-10 * np.log10(mse.numpy()))), abs=1e-3)
    cosine = (cell.recognizer.embed(worn) * cell.recognizer.embed(images)).sum(dim=1)
    assert kept["cosine_bare"] == pytest.approx(float(np.median(cosine.numpy())), abs=1e-5)
    turned = (images.flip(2) - images).square().flatten(1).mean(dim=1)
    assert kept["psnr_natural"] == pytest.approx(float(np.median(-10 * np.log10(turned.numpy()))), abs=1e-3)


def test_that_nothing_is_made_twice(store: ResultStore) -> None:
    first = cloaking_cell(darker)
    assert measured(first, store)["card"]["forwards"] == 100  # each photo natural and cloaked
    again = replace(first, protocol=replace(first.protocol, tracker=LinearProbe()))
    assert measured(again, store)["card"]["forwards"] == 0
    assert first.attack is not None and sum(first.attack.photos) == 50  # type: ignore[attr-defined]
    behind = measured(replace(first, defense=BlurDefense()), store)["card"]
    assert (behind["forwards"], behind["attack_generated"]) == (100, False)


def test_that_an_adaptive_cloaker_looks_through_the_purifier(store: ResultStore) -> None:
    found = measured(cloaking_cell(darker, defense=BlurDefense(), threat=Adaptive(include_oblivious=False)), store)
    assert found["attack"]["views"] == ["exact"]


def test_that_a_cell_without_cloaks_measures_the_tracker_alone(store: ResultStore) -> None:
    cell = cloaking_cell(None)
    found = measured(cell, store)
    assert found["attack"] is None
    assert store.scores(cell.fingerprint()) is None
