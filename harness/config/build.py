"""Builds checked objects from resolved configs. No class below this room receives a config object."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from frbench.harness.config import auto_preprocessing, folders
from frbench.harness.config.cell_labels import FACES
from frbench.harness.config.checks import check_fields, check_names
from frbench.harness.config.object_memo import remembered
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
from frbench.harness.core.face_data import FaceSource, PairSource, UserSource
from frbench.harness.core.part_contracts import check_part
from frbench.harness.core.verifiers import Comparer, compares, lifted
from frbench.harness.evaluation.cell import EvaluationProtocol
from frbench.harness.photo_cloaking.cloaker import Cloaker
from frbench.harness.recognizers.inference import resolve_device
from frbench.harness.training import artifacts

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


def instantiate(config: Mapping[str, Any], where: str) -> Any:
    """The object that ``config`` describes, checked against the contract of the group ``where``.

    An equal config gives the same object again where it has no state; see ``object_memo``.

    Raises ConfigError: the object cannot be built, or a field has a wrong value; FrbenchError: the class breaks the
    contract.
    """
    for place in auto_preprocessing.places(config, where):
        check_names(config, where)  # a class without the field says where to set it
        raise ConfigError(
            f"{place}.preprocessing=auto works in frbench run only: run it once with attack=none, then set the fields "
            "that it prints"
        )
    plain = auto_preprocessing.without(config)
    stateless = Recognizer in _CONTRACTS.get(where, ())  # equal images have equal embeddings
    return remembered(plain, where, lambda: _built(plain, where), stateless)


def _built(config: Mapping[str, Any], where: str) -> Any:
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate as build

    check_names(config, where)
    try:
        built = build(config, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, FrbenchError):
            raise error.__cause__ from error
        if isinstance(error.__cause__, TypeError):  # a class that breaks the contract may also lack the fields
            check_part(_class_of(config), _CONTRACTS.get(where, ()), where)
        raise ConfigError(f"{where}: {_root_cause(error)}") from error
    return checked(built, where)


def checked(built: Any, where: str) -> Any:
    """``built``, an object for the group ``where``.

    Raises ConfigError: a field has a wrong value; FrbenchError: it breaks the contract.
    """
    check_part(built, _CONTRACTS.get(where, ()), where)
    check_fields(built, where)
    return built


def _class_of(config: Mapping[str, Any]) -> Any:
    from hydra.utils import get_object

    return get_object(config["_target_"])


def _root_cause(error: BaseException) -> str:
    """Type and message of the first error in the chain; the messages that Hydra adds say nothing more."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


def make_defense(config: Mapping[str, Any]) -> Defense:
    """The defense of ``config``, unfitted. The faces to fit on are checked too, under the name ``identities``."""
    instantiate(config[FACES], FACES)
    defense: Defense = instantiate(config["defense"], "defense")
    return defense


def fit_recognizer(defense: Defense, recognizer: Recognizer | Comparer) -> Recognizer | None:
    """``recognizer`` to fit ``defense`` with; None for a recognizer without embeddings.

    Raises ConfigError: the defense is fitted on embeddings and there are none.
    """
    if not compares(recognizer):
        return recognizer
    if isinstance(defense, Fittable) and defense.recipe.needs_recognizer:
        raise ConfigError(
            f"defense {type(defense).__name__} is fitted on embeddings, and recognizer {recognizer.name} returns only "
            "similarities; choose another defense or recognizer"
        )
    return None


def fitted_defense(
    config: Mapping[str, Any], defense: Defense, recognizer: Recognizer | Comparer, device: torch.device
) -> Defense:
    """``defense``, fitted if it needs fitting."""
    embedder = fit_recognizer(defense, recognizer)
    return artifacts.fitted(
        defense, embedder, folders.store(config), folders.image_cache(config), config["fit_seed"], device
    )


def protected(config: Mapping[str, Any]) -> tuple[str, Verifier]:
    """The name of the recognizer, and the recognizer behind its defense."""
    recognizer: Recognizer | Comparer = instantiate(config["recognizer"], "recognizer")
    defense = fitted_defense(config, make_defense(config), recognizer, resolve_device(config["device"]))
    return recognizer.name, defense.protect(lifted(recognizer))


def cloaker(config: Mapping[str, Any]) -> Cloaker:
    """The attack and the recognizer of ``config``, to cloak a user's photos with."""
    if not config["attack"]["_target_"]:
        raise ConfigError("attack=none cannot make a cloak; choose another, such as attack=fawkes")
    attack, goal, budget = (instantiate(config[group], group) for group in ("attack", "goal", "budget"))
    verifier = lifted(instantiate(config["recognizer"], "recognizer"))
    numbers = config["alignment_jitter"], config["seed"], config["batch_size"]
    return Cloaker(verifier, attack, goal, budget, *numbers, resolve_device(config["device"]))


def cloak_photos(config: Mapping[str, Any], source: Path) -> int:
    """Cloak the photos of ``source``; the exit code."""
    job, finder = instantiate(config["job"], "cloak"), instantiate(config["finder"], "finder")
    code: int = job.run(source, cloaker(config), finder.load)
    return code
