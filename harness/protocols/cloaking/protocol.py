"""Cloaks as poisoning: users publish cloaked photos, a tracker trains on them and is asked about natural ones.

Every user in turn is the only one who cloaks (and, with ``fraction``, some others do). The tracker passes all photos
that it trains on through its defense, because it does not know who cloaks; photos that it is asked about are natural
and untouched. A photo that is not recognised as its user's is a success of the cloak (specs/cloaks_puface 1.2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from frbench.harness.core.contracts import Images, Victim
from frbench.harness.core.domains import AtLeastTwo, Fraction, NonNegativeInt, OpenFraction, PositiveInt
from frbench.harness.core.errors import Refused
from frbench.harness.core.face_data import UserSet
from frbench.harness.core.flags import Flag
from frbench.harness.core.purifiers import Purifying
from frbench.harness.core.verifiers import compares, lifted
from frbench.harness.evaluation.cell import Cell, Outcome
from frbench.harness.evaluation.crafting import Crafting
from frbench.harness.protocols.cloaking.border_probe import border_accuracy
from frbench.harness.protocols.cloaking.metrics import (
    attack_measurements,
    clean_measurements,
    control_rows,
    size_measurements,
    turn_rows,
    with_control,
)
from frbench.harness.protocols.cloaking.photo_embeddings import Cloaks, Enrolment, Looks, Photos, cloaks
from frbench.harness.protocols.cloaking.photo_pairs import preflight
from frbench.harness.protocols.cloaking.splits import Split, check_uncloaked, published_cloaks, scenes, split
from frbench.harness.protocols.cloaking.trackers.base import Scene, Stage, Tracker
from frbench.harness.protocols.cloaking.visual_samples import pictures, plane
from frbench.harness.protocols.pair_metrics import views_measurements
from frbench.harness.recognizers.trainable import Reteaching
from frbench.harness.runtime.progress import over
from frbench.harness.storage.records import Kind, plain
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.goals import Cloak

_UNLEARNT = 0.9  # fit below this: the tracker never learned the user, and its errors say nothing about the cloak
_FEW = 0.1  # share of photos left natural above which the figure is one of few cloaks


@dataclass(frozen=True)
class Cloaking:
    """Every user in turn cloaks the training photos; the tracker is tested on natural photos of all users.

    Args:
        tracker: the identifier that is trained on the published photos.
        splits: number of random splits of each user's photos.
        test_share: share of each user's photos that are tested; the others are trained on.
        uncloaked_training_photos: training photos of a cloaking user that stay natural.
        fraction: share of the other users who cloak too.
        bootstrap: resamples of users for the confidence intervals.
        num_samples: users of whom one photo is kept for the image grid.
        border_probe_threshold: a higher accuracy of ``border_accuracy`` raises a flag.
    """

    identity = "protocol.cloaking"
    version = 1
    kind: ClassVar[str] = Kind.CLOAKING
    evaluates = UserSet

    tracker: Tracker
    splits: PositiveInt = 3
    test_share: OpenFraction = 0.3
    uncloaked_training_photos: NonNegativeInt = 0
    fraction: Fraction = 0.0
    bootstrap: AtLeastTwo = 2000
    num_samples: NonNegativeInt = 6
    border_probe_threshold: Fraction = 0.75

    def evaluate(self, cell: Cell, store: ResultStore) -> Outcome:
        """Measure ``cell``; one row per split, user and test photo goes to ``store``, with pictures."""
        self._check(cell)
        bare, behind = _enrolments(cell, store)
        weak = preflight(cell, bare)
        crafting = None if cell.attack is None else _crafting(cell, store)
        worn = None if crafting is None else cloaks(crafting)
        photos = bare.natural if worn is None else worn.photos
        looks = Looks(bare.seen(bare.natural), behind.seen(bare.natural), bare.seen(photos), behind.seen(photos))
        rounds = self._rounds(cell)
        rows, control = self._asked(cell, behind, photos, looks, rounds)
        clean = clean_measurements(control, self.bootstrap) | {"fidelity": looks.of_natural()}
        if crafting is None or worn is None:
            return Outcome(plain({"clean": clean, "attack": None}), weak, None)
        rows, users = with_control(rows, control), cell.users.identity
        published = worn.table[published_cloaks(users, rounds)]
        cloaked = published.index[published["worn"]].to_numpy()
        attack = {
            **attack_measurements(rows, self.bootstrap),
            **size_measurements(published),
            "fidelity": looks.of_cloaked(cloaked),
            "border_probe_accuracy": border_accuracy(
                cell.users.images[cloaked], photos.images[cloaked], users[cloaked]
            ),
            **views_measurements(crafting.views),
        }
        store.write_scores(cell.fingerprint(), rows)
        kept = pictures(users, cloaked, photos, behind, self.num_samples) | plane(users, cloaked, looks)
        store.write_sample_images(cell.fingerprint(), kept)
        return Outcome(plain({"clean": clean, "attack": attack}), [*weak, *self._flags(attack, worn)], worn.generated)

    def _check(self, cell: Cell) -> None:
        """Raises Refused: an attack that never stops. Raises ConfigError: no photo of a user would be cloaked."""
        if cell.attack is not None:
            Cloak().check(cell.attack)
            check_uncloaked(cell.users.identity, self.test_share, self.uncloaked_training_photos)

    def _rounds(self, cell: Cell) -> list[tuple[Split, list[Scene]]]:
        """Every split, with the scenes that are played in it: the control alone where nobody attacks."""
        identity, rounds = cell.users.identity, []
        for number in range(self.splits):
            part = split(identity, self.test_share, cell.seed, number)
            company = (self.uncloaked_training_photos, self.fraction, self.tracker.users, cell.seed, number)
            rounds.append((part, scenes(identity, part.train, *company)[: None if cell.attack else 1]))
        return rounds

    def _asked(
        self, cell: Cell, behind: Enrolment, photos: Photos, looks: Looks, rounds: list[tuple[Split, list[Scene]]]
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rows of the users' turns (none where nobody attacks) and of the controls."""
        identity, turns, controls = cell.users.identity, [], []
        for number, (part, played) in enumerate(rounds):
            stage = _stage(behind, photos, looks, part, identity, number)
            answers = self.tracker.answers(stage, played)
            for scene in over(played, "tracker", "trainings", 1):
                answer = next(answers)
                if scene.user is None:
                    controls.append(control_rows(number, part.test, stage.answers, answer))
                else:
                    turns.append(turn_rows(number, part.test, stage.answers, stage.labels, scene, answer))
        return pd.concat(turns, ignore_index=True) if turns else pd.DataFrame(), pd.concat(controls, ignore_index=True)

    def _flags(self, attack: dict[str, Any], worn: Cloaks) -> list[Flag]:
        found = {
            Flag.BROKEN_IMAGES: bool(worn.table["broken"].any()),
            Flag.BUDGET_VIOLATED: bool(worn.table["exceeded"].any()),
            Flag.LEFT_NATURAL: attack["left_natural"] > _FEW * attack["photos"],
            Flag.TRACKER_DID_NOT_LEARN: attack["fit_accuracy"] < _UNLEARNT,
            Flag.GEOMETRY_LEAK: (attack["border_probe_accuracy"] or 0) > self.border_probe_threshold,
        }
        return [flag for flag, raised in found.items() if raised]


def _enrolments(cell: Cell, store: ResultStore) -> tuple[Enrolment, Enrolment]:
    """The tracker without and with its defense."""
    if compares(cell.recognizer):
        raise Refused(f"a tracker learns from embeddings and {cell.recognizer.name} gives only similarities")
    work = (Photos(cell.users.images[:]), cell.execution(store))
    if isinstance(cell.defense, Reteaching):
        alone = Enrolment(cell.defense.retaught(cell.recognizer), None, *work)
        return alone, alone
    if not isinstance(cell.defense, Purifying):
        raise Refused(
            f"{type(cell.defense).__name__} is no purifier of images, so a tracker cannot pass its training photos "
            "through it; take a defense that is"
        )
    return Enrolment(cell.recognizer, None, *work), Enrolment(cell.recognizer, cell.defense.purifier(), *work)


def _crafting(cell: Cell, store: ResultStore) -> Crafting:
    """The cloaker at work. There is no threshold to pass: that of every pair is the lowest cosine there is."""
    assert cell.attack is not None and not compares(cell.recognizer)
    nothing = torch.full((len(cell.users),), -1.0)
    bare = lifted(cell.recognizer)
    views = cell.threat.views(Victim(bare, cell.defense, lifted, lambda verifier: nothing, cell.seed))
    judge = cell.defense.protect(bare)
    work = (cell.attack, cell.goal, cell.budget, cell.execution(store))
    return Crafting(cell.users, views, judge, *work)


def _stage(behind: Enrolment, photos: Photos, looks: Looks, part: Split, identity: np.ndarray, number: int) -> Stage:
    """What the tracker has of one split."""
    train, test = (torch.from_numpy(rows).to(behind.execution.device) for rows in part)
    bare = replace(behind, purifier=None)

    def training_images(scene: Scene) -> Images:
        images = behind.images(behind.natural, part.train)
        if scene.cloaked.any():
            images[torch.from_numpy(scene.cloaked).to(images.device)] = behind.images(photos, part.train[scene.cloaked])
        return images

    return Stage(
        labels=identity[part.train],
        answers=identity[part.test],
        natural=looks.purified.vectors[train],
        cloaked=looks.both.vectors[train],
        tests=looks.natural.vectors[test],
        training_images=training_images,
        test_images=partial(bare.images, behind.natural, part.test),
        recognizer=behind.recognizer,
        seed=int(np.random.SeedSequence((behind.execution.seed, number)).generate_state(1)[0]),
    )
