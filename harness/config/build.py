"""Config -> live objects. Here ``cfg`` dies: no class below this module ever receives a config object."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from frbench.harness.config import auto_preprocessing as feeding
from frbench.harness.config.cell_labels import FACES as FACES
from frbench.harness.config.cell_labels import apart, floors_of
from frbench.harness.config.cell_labels import named as named
from frbench.harness.config.checks import TOP_LEVEL, check_fields, check_names, check_targets, check_values
from frbench.harness.core.contracts import (
    Attack,
    Budget,
    Defense,
    Fittable,
    Goal,
    Recipe,
    Recognizer,
    ThreatModel,
    Verifier,
)
from frbench.harness.core.errors import ConfigError, FrbenchError
from frbench.harness.core.face_data import FaceSet, FaceSource, PairSet, PairSource, TestSet, UserSource, remark_flags
from frbench.harness.core.flags import Flag, flag_named
from frbench.harness.core.part_contracts import check_faces, check_part, check_test_set
from frbench.harness.core.ratios import with_numbers
from frbench.harness.core.verifiers import Comparer, compares, lifted
from frbench.harness.evaluation.cell import Cell, EvaluationProtocol, check_data
from frbench.harness.evaluation.identity_overlap import overlap_flags, trained_flags
from frbench.harness.evaluation.provenance import run_facts
from frbench.harness.photo_cloaking.cloaker import Cloaker
from frbench.harness.recognizers.inference import resolve_device
from frbench.harness.recognizers.metering import Meter, metered
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.training import artifacts as fitting

NOUNS = ("dataset", "recognizer", "attack", "goal", "budget", "threat", "defense", "protocol")
SURROGATE = "recognizer@threat.surrogate"
TRACKER = "tracker@protocol.tracker"
MEMBERS = "recognizer@defense.members."


def instantiate(config: Mapping[str, Any], where: str) -> Any:
    """The object that ``config`` describes. Raises FrbenchError: it cannot be made, a field has a wrong value, or it
    does not keep the contract of its noun."""
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate as build

    check_names(config, where)
    for place in feeding.automatic(config, where):
        raise ConfigError(
            f"{place}.preprocessing=auto needs clean pairs, which frbench run has: run that once with attack=none, and "
            "give the fields that it prints"
        )
    try:
        thing = build(feeding.without(config), _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, FrbenchError):
            raise error.__cause__ from error
        if isinstance(error.__cause__, TypeError):  # such as fields of a class that is no dataclass
            check_part(_class_of(config), _CONTRACTS.get(where, ()), where)
        raise ConfigError(f"{where}: {_root(error)}") from error
    check_part(thing, _CONTRACTS.get(where, ()), where)
    check_fields(thing, where)
    return thing


def _class_of(config: Mapping[str, Any]) -> Any:
    from hydra.utils import get_object

    return get_object(config["_target_"])


_CONTRACTS: Mapping[str, tuple[type, ...]] = {
    "dataset": (PairSource, UserSource),
    "identities": (FaceSource,),
    "recognizer": (Recognizer, Comparer),
    "attack": (Attack,),
    "goal": (Goal,),
    "budget": (Budget,),
    "threat": (ThreatModel,),
    "defense": (Defense,),
    "protocol": (EvaluationProtocol,),
    "training": (Recipe,),
}


def _root(error: BaseException) -> str:
    """The last cause, by its kind and its words: what Hydra wraps around it says nothing more."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


def plain(cfg: DictConfig) -> dict[str, Any]:
    """``cfg`` resolved to plain Python: its targets and its top-level settings checked, ratios read as numbers."""
    try:
        resolved = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        key = error.full_key
        raise ConfigError(f"{key} has no default and was not given; add {key}=VALUE") from error
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from error
    assert isinstance(resolved, dict)
    config = {str(key): value for key, value in resolved.items()}
    check_targets(config, config.get("trust", ()))
    config = with_numbers(config, TOP_LEVEL)
    check_values(config, TOP_LEVEL, "")
    return config


@lru_cache(maxsize=4)
def _opened(text: str, cache: Path) -> TestSet:
    """The data set that a config (as JSON) describes, opened once in a process."""
    dataset: PairSource | UserSource = instantiate(json.loads(text), "dataset")
    return check_test_set(dataset, dataset.open(cache))


@lru_cache(maxsize=4)
def _recognizer(text: str) -> Recognizer | Comparer:
    """The recognizer that a config (as JSON) describes, loaded once in a process."""
    recognizer: Recognizer | Comparer = instantiate(json.loads(text), "recognizer")
    return recognizer


def store(config: Mapping[str, Any]) -> ResultStore:
    return ResultStore(Path(config["paths"]["results"]).expanduser())


def image_cache(config: Mapping[str, Any]) -> Path:
    return Path(config["paths"]["cache"]).expanduser() / "images"


def make_defense(config: Mapping[str, Any]) -> Defense:
    """The defense of ``config``, perhaps still to be fitted; what it is fitted on is checked under its own name."""
    instantiate(config[FACES], FACES)
    defense: Defense = instantiate(config["defense"], "defense")
    return defense


def fitted_defense(
    config: Mapping[str, Any], defense: Defense, recognizer: Recognizer | Comparer, device: torch.device
) -> Defense:
    """``defense``, fitted where it needs to be."""
    embedder = None if compares(recognizer) else recognizer
    if embedder is None and isinstance(defense, Fittable) and defense.recipe.needs_recognizer:
        raise ConfigError(
            f"defense {type(defense).__name__} is fitted on embeddings and {recognizer.name} gives only similarities; "
            "take another defense or recognizer"
        )
    return fitting.fitted(defense, embedder, store(config), image_cache(config), config["fit_seed"], device)


def protected(config: Mapping[str, Any]) -> tuple[str, Verifier]:
    """The recognizer of ``config`` behind its defense, as a run has it, and the recognizer's name."""
    recognizer: Recognizer | Comparer = instantiate(config["recognizer"], "recognizer")
    defense = fitted_defense(config, make_defense(config), recognizer, resolve_device(config["device"]))
    return recognizer.name, defense.protect(lifted(recognizer))


def cloaker(config: Mapping[str, Any]) -> Cloaker:
    """The attack of ``config`` on the recognizer, as a user's photos are cloaked by it."""
    if not config["attack"]["_target_"]:
        raise ConfigError("an attack that changes nothing makes no cloak; take another, such as attack=fawkes")
    attack, goal, budget = (instantiate(config[noun], noun) for noun in ("attack", "goal", "budget"))
    verifier = lifted(instantiate(config["recognizer"], "recognizer"))
    device = resolve_device(config["device"])
    numbers = config["spread"], config["seed"], config["batch_size"]
    return Cloaker(verifier, attack, goal, budget, *numbers, device)


def protected_photos(config: Mapping[str, Any], source: Path) -> int:
    """Cloak the photos of ``source`` as ``config`` has it; the exit code."""
    protecting, finder = instantiate(config["protecting"], "cloak"), instantiate(config["finder"], "finder")
    code: int = protecting.run(source, cloaker(config), finder.load)
    return code


def make_cell(config: Mapping[str, Any], choices: Mapping[str, str], settings: Mapping[str, Any]) -> Cell:
    """The cell that a resolved ``config`` describes. ``choices``: the option of each group, as Hydra resolved them."""
    places = list(feeding.automatic({noun: config[noun] for noun in NOUNS}))
    if not places:
        return _made(config, choices, settings)
    for noun in NOUNS:  # report bad fields before anything is measured
        if config[noun].get("_target_"):
            instantiate(feeding.without(config[noun]), noun)
    pairs = _data(config)
    if not isinstance(pairs, PairSet):
        raise ConfigError(
            f"{places[0]}.preprocessing=auto needs pairs to verify and dataset {pairs.name} has users; run once with "
            "protocol=verification and attack=none, and give the fields that it prints"
        )
    where = feeding.Search(pairs, _embedder, store(config), config["batch_size"], resolve_device(config["device"]))
    config, settings, tried = feeding.settled(config, settings, places, where)
    cell = _made(config, choices, settings)
    facts = {**cell.facts, "preprocessing": tried}
    return dataclasses.replace(cell, flags=(*cell.flags, Flag.PREPROCESSING_TUNED), facts=facts)


def _embedder(text: str) -> Recognizer:
    """The recognizer that a config (as JSON) describes, which has fields of preprocessing and so gives vectors."""
    recognizer = _recognizer(text)
    assert not compares(recognizer)
    return recognizer


def _data(config: Mapping[str, Any]) -> TestSet:
    """The data set of ``config``, downloaded first where that is asked for."""
    if config["fetch"]:
        from frbench.harness.data_preparation.prepare import ensure_dataset

        ensure_dataset(config["dataset"]["name"], Path(config["paths"]["data"]).expanduser())
    return _opened(json.dumps(config["dataset"]), image_cache(config))


def _made(config: Mapping[str, Any], choices: Mapping[str, str], settings: Mapping[str, Any]) -> Cell:
    device = resolve_device(config["device"])
    meter = Meter()
    attack = instantiate(config["attack"], "attack") if config["attack"]["_target_"] else None
    others = {noun: instantiate(config[noun], noun) for noun in ("goal", "budget", "threat", "protocol", "audit")}
    recognizer, defense = _recognizer(json.dumps(config["recognizer"])), make_defense(config)
    instantiate(config["dataset"], "dataset")  # so that nothing is fetched or decoded before all is checked
    data = _data(config)
    counting = metered(recognizer, meter)
    names = _names(choices) | {"dataset": data.name}
    check_data(others["protocol"], others["goal"], attack, data, names)
    flags = [flag_named(each) for each in remark_flags(data.remarks, len(data))]
    flags += trained_flags(recognizer, recognizer.name, data, config["allow_overlap"])
    flags += trained_flags(defense, f"defense={names['defense']}", data, config["allow_overlap"])
    faces, settings = apart(settings)
    remarks = {"dataset": data.remarks}
    if isinstance(defense, Fittable):
        settings |= {"defense.faces": choices[FACES], **faces}
        fitted_on = _faces(defense.faces, image_cache(config))
        remarks[FACES] = fitted_on.remarks
        flags += overlap_flags(fitted_on, data, config["allow_overlap"])
        defense = fitted_defense(config, defense, recognizer, device)  # uncounted, as ``fit`` has it: one key
    cell = Cell(
        names=names,
        settings=settings,
        data=data,
        recognizer=counting,
        attack=attack,
        defense=defense,
        seed=config["seed"],
        batch_size=config["batch_size"],
        device=device,
        meter=meter,
        flags=tuple(dict.fromkeys(flags)),
        floors=floors_of(recognizer, data.name),
        allow_low_accuracy=config["allow_low_accuracy"],
        **others,
    )
    return dataclasses.replace(cell, facts={**run_facts(cell, config), "remarks": _noted(remarks)})


def _faces(source: FaceSource, cache: Path) -> FaceSet:
    """What ``source`` opens to, checked."""
    faces = source.open(cache)
    check_faces(source, faces)
    return faces


def _noted(remarks: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """What was left out of each set of faces, altered or odd, as far as anything was."""
    return {whose: {name: count for name, count in found.items() if count} for whose, found in remarks.items()}


def _names(choices: Mapping[str, str]) -> dict[str, str]:
    """The option of each noun, and of the surrogate and the tracker where there is one."""
    names = {noun: named(choices, noun) for noun in NOUNS}
    if SURROGATE in choices:
        names["surrogate"] = named(choices, SURROGATE)
    if TRACKER in choices:
        names["tracker"] = choices[TRACKER]
    return names
