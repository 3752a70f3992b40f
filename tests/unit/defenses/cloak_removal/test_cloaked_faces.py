"""Cloaked training photos: makers, their assignment, resuming after an interruption, and refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.reference_cloaks import COUNT, SIDE, Squares, pattern, people
from support.reference_fits import CPU, context

from frbench.attacks.cw import CarliniWagner
from frbench.attacks.fawkes_v03 import FawkesTargeted
from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.defenses.cloak_removal.cloaked_faces import Cloaked, CloakedFaces, CloakMaker, Cloaks, other_people
from frbench.harness.core.contracts import Attack, AttackResult, Budget, Goal, View
from frbench.harness.core.errors import FrbenchError, Refused
from frbench.harness.core.face_data import FaceSet, PairBatch
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.training.artifacts import ArtifactBuilder


@pytest.fixture
def maker(linear: Callable[..., Any]) -> Callable[..., CloakMaker]:
    def make(attack: Attack | None = None, share: float = 1.0) -> CloakMaker:
        return CloakMaker(attack or Squares(), linear(SIDE), Linf(8 / 255), share)

    return make


def made(cloaks: CloakedFaces, folder: Path, who: FaceSet | None = None, seed: int = 0) -> Cloaked:
    who = who or people()
    workshop = ArtifactBuilder(who, None, ResultStore(folder), seed, CPU)
    return cloaks.make(context(who, seed=seed, part=workshop.part))


def levels(found: Cloaked, who: FaceSet) -> np.ndarray:
    """By how many gray levels each photo was changed, (M,)."""
    change = found.cloaked.numpy().astype(int) - who.images[found.rows]
    return np.abs(change).reshape(len(change), -1).max(axis=1)


def test_cloaks_are_what_the_attack_makes_of_a_photo_against_itself(
    maker: Callable[..., CloakMaker], tmp_path: Path
) -> None:
    who, attack = people(), Squares()
    found = made(CloakedFaces({"squares": maker(attack)}, 1000), tmp_path, who)
    assert found.cloaked.dtype == torch.uint8 and found.rows.tolist() == list(range(COUNT))
    expected = (who.load(np.arange(COUNT)) + 10 / 255 * pattern(SIDE)).clamp(0, 1).mul(255).round()
    assert torch.equal(found.cloaked.permute(0, 3, 1, 2).float(), expected)
    for pairs in attack.asked:
        assert torch.equal(pairs.probe, pairs.reference) and bool(pairs.same.all())


def test_so_many_photos_are_drawn_by_the_seed(maker: Callable[..., CloakMaker], tmp_path: Path) -> None:
    some = CloakedFaces({"squares": maker()}, 70)
    rows = [made(some, tmp_path / f"{i}", seed=seed).rows for i, seed in enumerate((0, 0, 1))]
    assert np.array_equal(rows[0], rows[1]) and not np.array_equal(rows[0], rows[2])
    assert len(set(rows[0])) == 70 and np.array_equal(rows[0], np.sort(rows[0]))


def test_each_photo_has_one_maker_in_the_shares_and_the_cloak_of_that_maker(
    maker: Callable[..., CloakMaker], tmp_path: Path
) -> None:
    makers = {"weak": maker(Squares(levels=4)), "strong": maker(Squares(levels=9), share=3.0)}
    who = people()
    cloaks = CloakedFaces(makers, 1000)
    found = made(cloaks, tmp_path, who)
    assert found.rows.tolist() == list(range(COUNT))
    changed = levels(found, who)
    assert set(changed) == {4, 9} and 0.65 < (changed == 9).mean() < 0.85
    own = cloaks.assigned(found.rows, seed=0)
    assert all(set(changed[own[name]]) == {size} for name, size in (("weak", 4), ("strong", 9)))


def test_which_maker_a_photo_has_depends_on_neither_the_others_nor_the_order(maker: Callable[..., CloakMaker]) -> None:
    """Without one maker its photos go to others, and no other photo moves; so do the photos of a larger set."""
    rows, names = np.arange(400), ("a", "b", "c")
    whole = CloakedFaces({name: maker() for name in names}, 1000).assigned(rows, seed=0)
    turned = CloakedFaces({name: maker() for name in reversed(names)}, 1000).assigned(rows, seed=0)
    part = CloakedFaces({name: maker(share=float(name != "b")) for name in names}, 1000).assigned(rows, seed=0)
    fewer = CloakedFaces({name: maker() for name in names}, 1000).assigned(rows[::2], seed=0)
    assert sorted(np.concatenate(list(whole.values()))) == sorted(np.concatenate(list(part.values()))) == list(rows)
    assert set(part) == {"a", "c"}
    for name in names:
        assert 90 < len(whole[name]) < 180
        assert np.array_equal(whole[name], turned[name])
        assert set(fewer[name]) == set(whole[name]) & set(rows[::2])
    assert all(set(whole[name]) < set(part[name]) for name in part)
    assert not np.array_equal(whole["a"], CloakedFaces({n: maker() for n in names}, 1).assigned(rows, seed=1)["a"])


def test_every_maker_may_cloak_every_photo_and_its_cloaks_are_found_again(
    maker: Callable[..., CloakMaker], tmp_path: Path
) -> None:
    weak, strong, who = Squares(levels=4), Squares(levels=9), people(20)
    both = CloakedFaces({"weak": maker(weak), "strong": maker(strong)}, 1000, all_makers=True)
    found = made(both, tmp_path, who)
    assert found.rows.tolist() == [row for row in range(20) for _ in range(2)]
    assert sorted(levels(found, who)) == [4] * 20 + [9] * 20
    alone = made(replace(both, makers={"other name": maker(weak)}), tmp_path, who)
    assert set(levels(alone, who)) == {4}
    assert len(weak.asked) == len(strong.asked) == 1


def test_a_mixture_of_nothing_is_refused(maker: Callable[..., CloakMaker], tmp_path: Path) -> None:
    for makers in ({}, {"squares": maker(share=0.0)}):
        with pytest.raises(FrbenchError, match="no maker of .* has a share above 0"):
            made(CloakedFaces(makers, 10), tmp_path)


def test_an_attack_that_nothing_stops_and_one_that_has_nobody_to_aim_at_are_refused(
    maker: Callable[..., CloakMaker], tmp_path: Path
) -> None:
    for attack, told in ((CarliniWagner(), "until a verifier is fooled"), (FawkesTargeted(steps=2), "there is none")):
        with pytest.raises(Refused, match=told):
            made(CloakedFaces({"it": maker(attack)}, 10), tmp_path, people(20, shots=20))


def test_an_attack_on_gradients_refuses_a_surrogate_that_has_none_before_any_photo_is_cloaked(
    maker: Callable[..., CloakMaker], tmp_path: Path
) -> None:
    blind = maker(ProjectedDescent())
    blind = replace(blind, surrogate=replace(blind.surrogate, differentiable=False))  # type: ignore[type-var]
    first = Squares()
    with pytest.raises(FrbenchError, match="linear has none"):
        made(CloakedFaces({"a": maker(first), "b": blind}, 1000), tmp_path)
    assert not first.asked


def test_a_targeted_cloak_aims_at_another_person(maker: Callable[..., CloakMaker], tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Becoming(Squares):
        def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
            result = super().__call__(view, pairs, goal, budget)
            return replace(result, images=goal.target(pairs))

    who = people()
    found = made(CloakedFaces({"it": maker(Becoming())}, 1000), tmp_path, who).cloaked.numpy()
    target = [int(np.flatnonzero((who.images == image).all(axis=(1, 2, 3)))[0]) for image in found]
    assert bool((who.identity[target] != who.identity).all())
    assert len(set(target)) > COUNT / 2 and len(set(who.identity[target])) > 0.9 * len(set(who.identity))
    part = other_people(who, np.array([7, 3]), seed=0)
    assert part is not None and part.tolist() == [target[7], target[3]]


@pytest.mark.parametrize("rest", [0, 1, 1000])
def test_cloaking_that_was_broken_off_goes_on_behind_the_last_whole_block(
    rest: int, maker: Callable[..., CloakMaker], tmp_path: Path
) -> None:
    one = maker()
    whole = Cloaks(one.attack, one.surrogate, one.budget, range(COUNT))
    expected = whole.fit(context(people(), tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        replace(whole, attack=Squares(fails_at=2)).fit(context(people(), tmp_path / "stopped"))
    with (tmp_path / "stopped").open("ab") as file:
        file.write(b"x" * rest)
    again = Squares()
    found = replace(whole, attack=again).fit(context(people(), tmp_path / "stopped"))
    assert [len(each) for each in again.asked] == [64, 22]
    assert torch.equal(found["cloaked"], expected["cloaked"])


def test_a_cloak_that_is_not_finite_leaves_its_photo_and_no_other(
    maker: Callable[..., CloakMaker], tmp_path: Path
) -> None:
    @dataclass(frozen=True)
    class Breaking(Squares):
        def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
            result = super().__call__(view, pairs, goal, budget)
            result.images[3, 0, 0, 0] = float("nan")
            return result

    who = people(20)
    found = made(CloakedFaces({"it": maker(Breaking())}, 1000), tmp_path, who)
    assert (levels(found, who) == 0).tolist() == [i == 3 for i in range(20)]


def test_an_attack_with_bounds_keeps_to_the_budget(maker: Callable[..., CloakMaker], tmp_path: Path) -> None:
    who = people(20)
    found = made(CloakedFaces({"it": maker(ProjectedDescent(steps=3))}, 1000), tmp_path, who)
    assert set(levels(found, who)) <= {7, 8} and levels(found, who).max() == 8
