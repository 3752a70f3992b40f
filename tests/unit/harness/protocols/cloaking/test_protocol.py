"""Cloaking: what is counted when every user cloaks in turn, on users whose answers are known beforehand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.cloaked_cells import SIZE, cloaking_cell, natural, negatives, users
from support.fake_services import told
from support.toy_cells import toy_cell

from frbench.attacks.cw import CarliniWagner
from frbench.defenses.input_transforms.blur import BlurDefense
from frbench.harness.core.contracts import Images
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import PairBatch
from frbench.harness.evaluation.cell import Cell, run_cell
from frbench.harness.protocols.cloaking.border_probe import border_accuracy
from frbench.harness.protocols.cloaking.photo_embeddings import PhotoEncoder, Photos
from frbench.harness.protocols.cloaking.splits import check_uncloaked, published_cloaks, scenarios, split
from frbench.harness.protocols.cloaking.trackers.finetuned import FineTuned
from frbench.harness.protocols.cloaking.trackers.linear import LinearProbe
from frbench.harness.protocols.cloaking.trackers.nearest import NearestNeighbour
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.threat_model.goals import Cloak, Dodging
from frbench.harness.threat_model.threats import Adaptive

IDENTITY = np.repeat(np.arange(6), [10, 14, 7, 10, 12, 20])


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "results")


def measured(cell: Cell, store: ResultStore) -> dict[str, Any]:
    record = run_cell(cell, store)
    assert record["status"] == "done", record["reason"]
    return {**record["measurements"], "flags": record["flags"], "card": record["card"]}


def test_that_three_in_ten_photos_of_each_person_are_tested_and_the_others_learned() -> None:
    parts = [split(IDENTITY, 0.3, seed=0, number=number) for number in range(3)]
    for part in parts:
        np.testing.assert_array_equal(np.bincount(IDENTITY[part.test]), [3, 4, 2, 3, 3, 6])
        np.testing.assert_array_equal(np.sort(np.concatenate(part)), np.arange(len(IDENTITY)))
    assert len({tuple(part.test) for part in parts}) == 3
    assert tuple(split(IDENTITY, 0.3, 0, 1).test) == tuple(parts[1].test)


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_that_a_share_that_leaves_a_user_nothing_is_told_in_one_line(share: float) -> None:
    with pytest.raises(FrbenchError) as error:
        split(IDENTITY, share, 0, 0)
    assert f"test_share={share} of the {7 if share < 1 else 10} photos" in told(error)


def test_that_each_user_cloaks_in_turn_but_for_uncloaked_training_photos() -> None:
    train = split(IDENTITY, 0.3, 0, 0).train
    labels = IDENTITY[train]
    nobody, *turns = scenarios(IDENTITY, train, uncloaked=2, fraction=0, users=4, seed=0, number=0)
    assert (nobody.user, nobody.cloaked.any()) == (None, False)
    assert [scene.user for scene in turns] == [0, 1, 2, 3]
    for scene in turns:
        count = np.bincount(labels[scene.cloaked], minlength=6)
        assert count[scene.user] == (labels == scene.user).sum() - 2
        assert count.sum() == count[scene.user]


def test_that_uncloaked_training_photos_leave_each_user_a_cloaked_one() -> None:
    """A user without any wears no cloak, and the figure would be that of natural photos."""
    least = int(np.bincount(IDENTITY[split(IDENTITY, 0.3, 0, 0).train]).min())
    check_uncloaked(IDENTITY, 0.3, least - 1)
    with pytest.raises(FrbenchError) as error:
        check_uncloaked(IDENTITY, 0.3, least)
    assert f"uncloaked_training_photos={least} leaves all {least} training photos" in told(error)


@pytest.mark.parametrize(("fraction", "company"), [(0.2, 1), (0.5, 3), (1.0, 5)])
def test_that_a_fraction_of_the_others_cloaks_too(fraction: float, company: int) -> None:
    train = split(IDENTITY, 0.3, 0, 0).train
    played = scenarios(IDENTITY, train, 1, fraction, None, 0, 0)[1:]
    worn = [set(IDENTITY[train][scene.cloaked]) for scene in played]
    assert all(scene.user in who and len(who) == company + 1 for scene, who in zip(played, worn, strict=True))
    for scene in played:  # leaked photos are the same ones in whoever's turn
        same = scene.cloaked & played[0].cloaked
        both = np.isin(IDENTITY[train], list(worn[0] & worn[played.index(scene)]))
        np.testing.assert_array_equal(same[both], played[0].cloaked[both])


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


def test_that_the_rows_say_which_photo_was_taken_for_whom(store: ResultStore) -> None:
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


def test_that_purified_photos_are_the_same_in_whatever_part_they_are_asked_for(store: ResultStore) -> None:
    cell, rows = cloaking_cell(None), np.array([3, 4, 30, 49])
    photos = Photos(cell.users.images)
    enrolment = PhotoEncoder(cell.recognizer, BlurDefense().purifier(), photos, cell.execution(store))  # type: ignore[arg-type]
    some, everything = enrolment.images(photos, rows), enrolment.images(photos, np.arange(50))
    assert torch.equal(some, everything[torch.from_numpy(rows)])


def test_that_an_adaptive_cloaker_looks_through_the_purifier(store: ResultStore) -> None:
    found = measured(cloaking_cell(darker, defense=BlurDefense(), threat=Adaptive(include_oblivious=False)), store)
    assert found["attack"]["views"] == ["exact"]


def test_that_a_cell_without_cloaks_measures_the_tracker_alone(store: ResultStore) -> None:
    cell = cloaking_cell(None)
    found = measured(cell, store)
    assert found["attack"] is None
    assert store.scores(cell.fingerprint()) is None


@dataclass(frozen=True)
class Opaque:
    """A defense that is no purifier."""

    def protect(self, verifier: object) -> object:
        return verifier

    def relaxations(self, verifier: object) -> dict:
        return {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"goal": Dodging()}, "goal=toy is for pairs to verify"),
        (
            {"protocol": {"uncloaked_training_photos": 7}},
            "uncloaked_training_photos=7 leaves all 7 training photos of a user natural",
        ),
    ],
)
def test_that_what_is_not_for_this_protocol_is_told_in_one_line(changes: dict, said: str, store: ResultStore) -> None:
    with pytest.raises(FrbenchError) as error:
        run_cell(cloaking_cell(**changes), store)
    assert said in told(error)


def test_that_what_no_tracker_can_do_is_recorded_as_refused(store: ResultStore) -> None:
    cell = cloaking_cell(natural)
    for change, said in (
        ({"defense": Opaque()}, "Opaque is not a purifier"),
        ({"protocol": replace(cell.protocol, tracker=FineTuned())}, "linear shows no network"),
    ):
        record = run_cell(replace(cell, **change), store)
        assert record["status"] == "refused" and said in record["reason"] and "\n" not in record["reason"]


def test_that_an_attack_that_would_go_on_until_a_verifier_is_fooled_is_refused(store: ResultStore) -> None:
    record = run_cell(replace(cloaking_cell(natural), attack=CarliniWagner()), store)
    assert record["status"] == "refused"
    assert "CarliniWagner goes on until a verifier is fooled" in record["reason"]


def test_that_a_cell_can_do_without_pictures(store: ResultStore) -> None:
    found = measured(cloaking_cell(negatives, protocol={"num_samples": 0}), store)
    assert found["attack"]["asr"] == 1


def test_that_framed_cloaks_are_told_by_their_border_and_honest_ones_are_not(store: ResultStore) -> None:
    pairs = users(people=12, shots=8, spread=40)
    photos = np.kron(pairs.images, np.ones((1, 5, 5, 1), np.uint8))
    noise = np.random.default_rng(1).integers(-12, 13, photos.shape)
    honest = np.clip(photos + noise, 0, 255).astype(np.uint8)
    framed = photos.mean(axis=(1, 2), keepdims=True).astype(np.uint8) * np.ones_like(photos)
    framed[:, 10:-10, 10:-10] = honest[:, 10:-10, 10:-10]
    assert border_accuracy(photos, framed, pairs.identity) > 0.9  # type: ignore[operator]
    assert abs(border_accuracy(photos, honest, pairs.identity) - 0.5) < 0.1  # type: ignore[operator]


def frame(pairs: PairBatch) -> Images:
    inner = torch.nn.functional.interpolate(pairs.probe, size=SIZE - 4, mode="area")
    return torch.nn.functional.pad(inner, (2, 2, 2, 2), value=0.5)


def test_that_a_framed_set_is_flagged(store: ResultStore) -> None:
    found = measured(cloaking_cell(frame), store)
    assert found["attack"]["border_probe_accuracy"] > 0.9
    assert "geometry_leak" in found["flags"]


def framed_by_few(pairs: PairBatch) -> Images:
    """A cloaking tool that was run on the photos of the first three users alone."""
    return torch.where((pairs.index < 30)[:, None, None, None], frame(pairs), pairs.probe)


def test_that_photos_that_nobody_cloaked_hide_no_frame(store: ResultStore) -> None:
    """Nor do they count in sizes and fidelity: all are those of a set that holds the three users' cloaks alone."""
    few = {"protocol": {"tracker": NearestNeighbour(users=3)}}
    found = measured(cloaking_cell(framed_by_few, data=users(people=12), **few), store)
    assert found["attack"]["border_probe_accuracy"] > 0.9
    assert "geometry_leak" in found["flags"]
    assert "left_natural" not in found["flags"]
    everybody = measured(cloaking_cell(frame, data=users(people=12), **few), store)
    for name in ("border_probe_accuracy", "fidelity", "linf", "dssim", "photos", "left_natural"):
        assert everybody["attack"][name] == found["attack"][name]


def test_that_a_user_whose_photos_stay_natural_hides_no_frame_and_is_counted(store: ResultStore) -> None:
    found = measured(cloaking_cell(framed_by_few, data=users(people=12)), store)
    attack = found["attack"]
    assert attack["border_probe_accuracy"] > 0.9
    assert attack["left_natural"] == pytest.approx(0.75 * attack["photos"], abs=10)
    assert {"geometry_leak", "left_natural"} <= set(found["flags"])


def test_that_pictures_are_of_users_who_cloak(store: ResultStore) -> None:
    cell = cloaking_cell(framed_by_few, protocol={"tracker": NearestNeighbour(users=2)})
    measured(cell, store)
    kept = store.sample_images(cell.fingerprint())
    assert kept is not None
    assert list(kept["user"]) == [0, 1]
    assert (np.abs(kept["cloaked"] - kept["natural"]).reshape(2, -1).max(axis=1) > 0).all()


def test_that_only_photos_published_cloaked_in_an_own_turn_are_counted() -> None:
    rounds = []
    for number in range(2):
        part = split(IDENTITY, 0.3, 0, number)
        rounds.append((part, scenarios(IDENTITY, part.train, 2, 1.0, 4, 0, number)))
    found = published_cloaks(IDENTITY, rounds)
    assert not found[IDENTITY >= 4].any()  # they cloak beside others, and are not judged
    for part, played in rounds:
        own = np.concatenate([part.train[scene.cloaked] for scene in played if scene.user is not None])
        assert found[own[IDENTITY[own] < 4]].all()
    tested = np.intersect1d(rounds[0][0].test, rounds[1][0].test)
    assert len(tested) and not found[tested].any()
    alone = published_cloaks(IDENTITY, rounds[:1])
    np.testing.assert_array_equal(np.bincount(IDENTITY[alone]), [5, 8, 3, 5])  # 7, 10, 5, 7 to train on, 2 uncloaked


def test_that_verification_refuses_the_goal_of_a_cloak(
    pair_set: Callable, linear: Callable, store: ResultStore
) -> None:
    with pytest.raises(FrbenchError) as error:
        run_cell(toy_cell(pair_set(), linear(), goal=Cloak()), store)
    assert "goal=toy is for users with their photos" in told(error)
