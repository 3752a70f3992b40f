"""From a resolved config to a cell: ``resolve`` builds and checks the objects, ``prepare`` opens the data."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from frbench.harness.config import auto_preprocessing, build, folders
from frbench.harness.config.cell_labels import CELL_GROUPS, FACES, accuracy_floors, option_names, split_faces
from frbench.harness.core.contracts import Attack, Budget, Defense, Fittable, Fitted, Goal, Recognizer, ThreatModel
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import FaceSet, FaceSource, PairSet, PairSource, TestSet, UserSource, remark_flags
from frbench.harness.core.flags import Flag, flag_named
from frbench.harness.core.part_contracts import check_faces, check_test_set
from frbench.harness.core.verifiers import Comparer, compares
from frbench.harness.evaluation.audit import Audit
from frbench.harness.evaluation.cell import Cell, EvaluationProtocol, check_data
from frbench.harness.evaluation.identity_overlap import overlap_flags, trained_flags
from frbench.harness.evaluation.provenance import run_facts
from frbench.harness.recognizers.inference import resolve_device
from frbench.harness.recognizers.metering import Meter, metered
from frbench.harness.training.artifacts import ArtifactBuilder


@dataclass(frozen=True)
class Spec:
    """A cell before any data is touched: every object is built and checked; nothing is downloaded, opened or fitted.

    config: resolved. choices: the option of each group. settings: what differs from the options' own files.
    untuned: dotted places of the recognizers whose preprocessing is still to be found (``preprocessing=auto``).
    """

    config: Mapping[str, Any]
    choices: Mapping[str, str]
    settings: Mapping[str, Any]
    recognizer: Recognizer | Comparer
    attack: Attack | None
    goal: Goal
    budget: Budget
    threat: ThreatModel
    defense: Defense
    protocol: EvaluationProtocol
    audit: Audit
    device: torch.device
    untuned: tuple[str, ...] = ()


def resolve(config: Mapping[str, Any], choices: Mapping[str, str], settings: Mapping[str, Any]) -> Spec:
    """The objects of a resolved ``config``. Raises ConfigError: an option or a value is wrong."""
    untuned = tuple(auto_preprocessing.places({group: config[group] for group in CELL_GROUPS}))
    plain = auto_preprocessing.without({group: config[group] for group in (*CELL_GROUPS, FACES, "audit")})
    build.instantiate(plain["dataset"], "dataset")
    attack = build.instantiate(plain["attack"], "attack") if plain["attack"]["_target_"] else None
    others = {noun: build.instantiate(plain[noun], noun) for noun in ("goal", "budget", "threat", "protocol", "audit")}
    recognizer = build.instantiate(plain["recognizer"], "recognizer")
    defense = build.make_defense(plain)
    build.fit_recognizer(defense, recognizer)
    device = resolve_device(config["device"])
    objects = {"recognizer": recognizer, "attack": attack, "defense": defense, **others}
    return Spec(config, choices, settings, device=device, untuned=untuned, **objects)


def prepare(spec: Spec, words: Sequence[str] = ()) -> Cell:
    """The cell of ``spec``: data downloaded where ``fetch=true``, opened and checked.

    The key of the cell is known now. A defense is fitted later, as the first step of ``run_cell``.

    Args:
        words: the overrides of ``frbench run`` that give the cell, for the run card.

    Raises:
        DataMissing: a data set or a weight file is not there.
        ConfigError: the recognizer was trained on people of the test set, and ``allow_overlap`` is false.
    """
    data = open_test_set(spec.config)
    facts: dict[str, Any] = {"overrides": list(words)}
    if not spec.untuned:
        cell = _cell(spec, data)
        return replace(cell, facts={**cell.facts, **facts})
    spec, trials = _tuned(spec, data)
    cell = _cell(spec, data)
    return replace(
        cell,
        flags=(*cell.flags, Flag.PREPROCESSING_TUNED),
        facts={**cell.facts, **facts, "preprocessing": trials},
    )


@lru_cache(maxsize=4)
def _opened(text: str, cache: Path) -> TestSet:
    """The data set of a config (as JSON), opened once in a process."""
    dataset: PairSource | UserSource = build.instantiate(json.loads(text), "dataset")
    return check_test_set(dataset, dataset.open(cache))


def open_test_set(config: Mapping[str, Any]) -> TestSet:
    """The data set of a resolved config, opened once in a process; downloaded first where ``fetch=true``."""
    if config["fetch"]:
        from frbench.harness.data_preparation.prepare import ensure_dataset

        ensure_dataset(config["dataset"]["name"], Path(config["paths"]["data"]).expanduser())
    return _opened(json.dumps(config["dataset"]), folders.image_cache(config))


def _tuned(spec: Spec, pairs: TestSet) -> tuple[Spec, dict[str, Any]]:
    """``spec`` with ``preprocessing=auto`` replaced by the best preprocessing on ``pairs``; the trials."""
    if not isinstance(pairs, PairSet):
        raise ConfigError(
            f"{spec.untuned[0]}.preprocessing=auto needs pairs, and dataset {pairs.name} has users; run once with "
            "protocol=verification attack=none and a data set of pairs, then set the fields that it prints"
        )
    store = folders.store(spec.config)
    search = auto_preprocessing.Search(pairs, _embedder, store, spec.config["batch_size"], spec.device)
    config, settings, trials = auto_preprocessing.replaced(spec.config, spec.settings, spec.untuned, search)
    return resolve(config, spec.choices, settings), trials


def _embedder(text: str) -> Recognizer:
    """The recognizer of a config (as JSON) with preprocessing fields; only recognizers with embeddings have them."""
    recognizer: Recognizer | Comparer = build.instantiate(json.loads(text), "recognizer")
    assert not compares(recognizer)
    return recognizer


def _cell(spec: Spec, data: TestSet) -> Cell:
    meter, allowed = Meter(), spec.config["allow_overlap"]
    names = option_names(spec.choices) | {"dataset": data.name}
    check_data(spec.protocol, spec.goal, spec.attack, data, names)
    flags = [flag_named(each) for each in remark_flags(data.remarks, len(data))]
    flags += trained_flags(spec.recognizer, spec.recognizer.name, data, allowed)
    flags += trained_flags(spec.defense, f"defense={names['defense']}", data, allowed)
    faces_settings, settings = split_faces(spec.settings)
    cell = Cell(
        names=names,
        settings=settings,
        data=data,
        recognizer=metered(spec.recognizer, meter),
        attack=spec.attack,
        goal=spec.goal,
        budget=spec.budget,
        threat=spec.threat,
        defense=spec.defense,
        protocol=spec.protocol,
        audit=spec.audit,
        seed=spec.config["seed"],
        batch_size=spec.config["batch_size"],
        device=spec.device,
        meter=meter,
        flags=tuple(dict.fromkeys(flags)),
        floors=accuracy_floors(spec.recognizer, data.name),
        allow_low_accuracy=spec.config["allow_low_accuracy"],
    )
    remarks = {"dataset": _nonzero(data.remarks)}
    cell = replace(cell, facts={**run_facts(cell, spec.config), "remarks": remarks})
    if not isinstance(spec.defense, Fittable):
        return cell
    settings = settings | {"defense.faces": spec.choices[FACES], **faces_settings}
    return _to_fit(spec, spec.defense, replace(cell, settings=settings))


def _to_fit(spec: Spec, defense: Fittable, cell: Cell) -> Cell:
    """``cell`` with the key that its defense will have when it is fitted, and with how to fit it."""
    cache = folders.image_cache(spec.config)
    faces = open_faces(defense.faces, cache)
    recognizer = build.fit_recognizer(spec.defense, spec.recognizer)  # not metered, so that fit and run share a key
    builder = ArtifactBuilder(
        faces, recognizer, folders.store(spec.config), spec.config["fit_seed"], spec.device, cache
    )
    unfitted = Fitted(builder.key(defense.recipe), "", {})
    remarks = {**cell.facts["remarks"], FACES: _nonzero(faces.remarks)}
    fit = Fit(defense, builder, spec.config["allow_overlap"])
    return replace(cell, defense=defense.fitted(unfitted), fit=fit, facts={**cell.facts, "remarks": remarks})


@dataclass(frozen=True)
class Fit:
    """Fits the defense of a cell, or loads its artifact.

    Raises ConfigError: the test set shares people or images with the faces to fit on, and ``allow_overlap`` is false.
    """

    defense: Fittable
    builder: ArtifactBuilder
    allow_overlap: bool

    def __call__(self, cell: Cell) -> Cell:
        flags = (*cell.flags, *overlap_flags(self.builder.faces, cell.data, self.allow_overlap))
        artifact = self.builder.artifact(self.defense.recipe)
        digests = {**cell.facts["digests"], "artifact": artifact.sha256}
        facts = {**cell.facts, "digests": digests}
        defense = self.defense.fitted(artifact)
        return replace(cell, defense=defense, flags=tuple(dict.fromkeys(flags)), facts=facts)


_latest_faces: deque[tuple[FaceSource, Path, FaceSet]] = deque(maxlen=2)  # a source need not be hashable


def open_faces(source: FaceSource, cache: Path) -> FaceSet:
    """The faces of an identities option, opened once in a process. Raises FrbenchError: it opens to something else."""
    for earlier, folder, faces in _latest_faces:
        if type(earlier) is type(source) and earlier == source and folder == cache:
            return faces
    faces = source.open(cache)
    check_faces(source, faces)
    _latest_faces.append((source, cache, faces))
    return faces


def _nonzero(remarks: Mapping[str, int]) -> dict[str, int]:
    """Counts of images left out, altered or odd, without the zeros."""
    return {name: count for name, count in remarks.items() if count}
