"""The cloaking protocol: users publish cloaked photos, and a tracker that trains on them is tested on natural ones.

Every user in turn is the only one who cloaks (``fraction`` adds others). The tracker applies its defense to all of its
training photos, because it does not know who cloaks; test photos are natural, without the defense. A cloak succeeds on
a test photo that is not recognised as its user's (PuFace).

The method: docs/methods/cloaks.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from frbench.harness.core.contracts import Images, Victim
from frbench.harness.core.domains import AtLeastTwo, Fraction, NonNegativeInt, OpenFraction, PositiveInt
from frbench.harness.core.errors import Refused
from frbench.harness.core.face_data import UserSet, load_images
from frbench.harness.core.flags import Flag
from frbench.harness.core.purifiers import Purifying
from frbench.harness.core.verifiers import compares, lifted
from frbench.harness.evaluation.cell import Cell, ImagesOfPairs, Outcome
from frbench.harness.evaluation.crafting import Crafting
from frbench.harness.evaluation.shards import Filled, Shard
from frbench.harness.protocols.cloaking.border_probe import border_accuracy
from frbench.harness.protocols.cloaking.metrics import (
    attack_measurements,
    clean_measurements,
    control_rows,
    size_measurements,
    user_rows,
    with_control,
)
from frbench.harness.protocols.cloaking.photo_embeddings import (
    EmbeddedPhotos,
    PhotoEncoder,
    Photos,
    PublishedPhotos,
    publish,
)
from frbench.harness.protocols.cloaking.photo_pairs import accuracy_flags
from frbench.harness.protocols.cloaking.splits import Split, check_uncloaked, published_cloaks, scenarios, split
from frbench.harness.protocols.cloaking.tracker_answers import TrackerAnswers
from frbench.harness.protocols.cloaking.trackers.base import Scenario, SplitData, Tracker
from frbench.harness.protocols.cloaking.visual_samples import projected_embeddings, sample_images
from frbench.harness.protocols.pair_metrics import views_measurements
from frbench.harness.recognizers.trainable import ReplacesRecognizer
from frbench.harness.runtime.progress import over
from frbench.harness.storage.records import Kind, plain
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.goals import Cloak

_LEARNED = 0.9  # least accuracy on the training photos; below, errors say nothing about the cloak
_LEFT_NATURAL = 0.1  # share of photos left natural above which the result is flagged


_Rounds = Sequence[tuple[Split, Sequence[Scenario]]]


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
        num_samples: number of users with one photo in the image grid.
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
        """Measure ``cell``; one row per split, user and test photo and sample images go to ``store``."""
        self._check(cell)
        bare, encoder = _encoders(cell, store)
        low_accuracy = accuracy_flags(cell, bare)
        crafting = None if cell.attack is None else _crafting(cell, store)
        published = None if crafting is None else publish(crafting)
        photos = bare.natural if published is None else published.photos
        plain_photos = (bare.embeddings(bare.natural), encoder.embeddings(bare.natural))
        embedded = EmbeddedPhotos(*plain_photos, bare.embeddings(photos), encoder.embeddings(photos))
        rounds = self._rounds(cell)
        rows, control = self._predicted(cell, encoder, photos, embedded, rounds)
        clean = clean_measurements(control, self.bootstrap) | {"fidelity": embedded.fidelity_of_natural()}
        if crafting is None or published is None:
            return Outcome(plain({"clean": clean, "attack": None}), low_accuracy, None)
        rows, identity = with_control(rows, control), cell.users.identity
        table = published.table[published_cloaks(identity, rounds)]
        cloaked = table.index[table["cloaked"]].to_numpy()
        natural_and_cloaked = cell.users.images[cloaked], photos.images[cloaked]
        attack = {
            **attack_measurements(rows, self.bootstrap),
            **size_measurements(table),
            "fidelity": embedded.fidelity_of_cloaked(cloaked),
            "border_probe_accuracy": border_accuracy(*natural_and_cloaked, identity[cloaked]),
            **views_measurements(crafting.views),
        }
        store.write_scores(cell.fingerprint(), rows)
        samples = sample_images(identity, cloaked, photos, encoder, self.num_samples)
        store.write_sample_images(cell.fingerprint(), samples | projected_embeddings(identity, cloaked, embedded))
        flags = [*low_accuracy, *self._flags(attack, published)]
        images = list(crafting.keyed_views())
        return Outcome(plain({"clean": clean, "attack": attack}), flags, published.generated, images)

    def craft(self, cell: Cell, store: ResultStore, shard: Shard) -> Filled:
        """Put the cloaks of ``shard`` into the cache of ``store``. Training the trackers is not part of it."""
        self._check(cell)
        accuracy_flags(cell, _encoders(cell, store)[0])
        return _crafting(cell, store).fill(np.arange(len(cell.users)), shard)

    def images(self, cell: Cell, store: ResultStore, index: np.ndarray | None) -> ImagesOfPairs:
        """Natural and published photos ``index``, and the photos that targeted cloaks resemble; None for all."""
        users = cell.users
        index = np.arange(len(users)) if index is None else index
        published, batch = publish(_crafting(cell, store)).photos, users.batch(index)
        return ImagesOfPairs(batch.probe, load_images(published.images, index), batch.decoy)

    def _check(self, cell: Cell) -> None:
        """Raises Refused: an attack that never stops. Raises ConfigError: no photo of a user would be cloaked."""
        if cell.attack is not None:
            Cloak().check(cell.attack)
            check_uncloaked(cell.users.identity, self.test_share, self.uncloaked_training_photos)

    def _rounds(self, cell: Cell) -> _Rounds:
        """Every split with its scenarios; only the control without an attack."""
        identity, rounds = cell.users.identity, []
        for number in range(self.splits):
            part = split(identity, self.test_share, cell.seed, number)
            options = (self.uncloaked_training_photos, self.fraction, self.tracker.users, cell.seed, number)
            rounds.append((part, scenarios(identity, part.train, *options)[: None if cell.attack else 1]))
        return rounds

    def _predicted(
        self, cell: Cell, encoder: PhotoEncoder, photos: Photos, embedded: EmbeddedPhotos, rounds: _Rounds
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rows of the cloaking users (none without an attack) and of the controls."""
        identity, cloaking, controls = cell.users.identity, [], []
        for number, (part, played) in enumerate(rounds):
            data = _split_data(encoder, photos, embedded, part, identity, number)
            predictions = TrackerAnswers(self.tracker, encoder, photos).predict(data, part, played)
            for scenario in over(played, "tracker", "trainings", 1):
                found = next(predictions)
                if scenario.user is None:
                    controls.append(control_rows(number, part.test, data.test_labels, found))
                else:
                    labels = data.test_labels, data.train_labels
                    cloaking.append(user_rows(number, part.test, *labels, scenario, found))
        rows = pd.concat(cloaking, ignore_index=True) if cloaking else pd.DataFrame()
        return rows, pd.concat(controls, ignore_index=True)

    def _flags(self, attack: dict[str, Any], published: PublishedPhotos) -> list[Flag]:
        found = {
            Flag.BROKEN_IMAGES: bool(published.table["broken"].any()),
            Flag.BUDGET_VIOLATED: bool(published.table["exceeded"].any()),
            Flag.LEFT_NATURAL: attack["left_natural"] > _LEFT_NATURAL * attack["photos"],
            Flag.TRACKER_DID_NOT_LEARN: attack["fit_accuracy"] < _LEARNED,
            Flag.GEOMETRY_LEAK: (attack["border_probe_accuracy"] or 0) > self.border_probe_threshold,
        }
        return [flag for flag, raised in found.items() if raised]


def _encoders(cell: Cell, store: ResultStore) -> tuple[PhotoEncoder, PhotoEncoder]:
    """The tracker's encoder without and with its defense.

    Raises Refused: the recognizer has no embeddings, or the defense is no purifier of images.
    """
    if compares(cell.recognizer):
        raise Refused(f"a tracker trains on embeddings and {cell.recognizer.name} returns only similarities")
    work = (Photos(cell.users.images[:]), cell.execution(store))
    if isinstance(cell.defense, ReplacesRecognizer):
        encoder = PhotoEncoder(cell.defense.replace_recognizer(cell.recognizer), None, *work)
        return encoder, encoder
    if not isinstance(cell.defense, Purifying):
        raise Refused(
            f"{type(cell.defense).__name__} is not a purifier of images, so a tracker cannot apply it to its training "
            "photos; take a purifier, such as defense=puface"
        )
    return PhotoEncoder(cell.recognizer, None, *work), PhotoEncoder(cell.recognizer, cell.defense.purifier(), *work)


def _crafting(cell: Cell, store: ResultStore) -> Crafting:
    """The cloaker. Without a threshold to pass, that of every photo is the lowest cosine."""
    assert cell.attack is not None and not compares(cell.recognizer)
    lowest = torch.full((len(cell.users),), -1.0)
    bare = lifted(cell.recognizer)
    views = cell.threat.views(Victim(bare, cell.defense, lifted, lambda verifier: lowest, cell.seed))
    judge = cell.defense.protect(bare)
    work = (cell.attack, cell.goal, cell.budget, cell.execution(store))
    return Crafting(cell.users, views, judge, *work)


def _split_data(
    encoder: PhotoEncoder, photos: Photos, embedded: EmbeddedPhotos, part: Split, identity: np.ndarray, number: int
) -> SplitData:
    train, test = (torch.from_numpy(rows).to(encoder.execution.device) for rows in part)
    bare = replace(encoder, purifier=None)

    def training_images(scenario: Scenario) -> Images:
        images = encoder.images(encoder.natural, part.train)
        if scenario.cloaked.any():
            rows = torch.from_numpy(scenario.cloaked).to(images.device)
            images[rows] = encoder.images(photos, part.train[scenario.cloaked])
        return images

    return SplitData(
        train_labels=identity[part.train],
        test_labels=identity[part.test],
        natural=embedded.purified.vectors[train],
        cloaked=embedded.purified_cloaked.vectors[train],
        tests=embedded.natural.vectors[test],
        training_images=training_images,
        test_images=partial(bare.images, encoder.natural, part.test),
        recognizer=encoder.recognizer,
        seed=int(np.random.SeedSequence((encoder.execution.seed, number)).generate_state(1)[0]),
    )
