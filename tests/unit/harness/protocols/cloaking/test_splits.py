"""Train and test splits of users' photos, and which photos are cloaked in each turn."""

from __future__ import annotations

import numpy as np
import pytest
from support.fake_services import told

from frbench.harness.core.errors import FrbenchError
from frbench.harness.protocols.cloaking.splits import check_uncloaked, published_cloaks, scenarios, split

IDENTITY = np.repeat(np.arange(6), [10, 14, 7, 10, 12, 20])


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
