"""Hydra around a verb: what ``conf`` and a user's words compose to, and what is wrong with them in one line."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from frbench.harness.errors import FrbenchError, Refused

CONF = "frbench.conf"


def known_options() -> dict[str, list[str]]:
    """Group name -> options, from the packaged YAML files."""
    folders = sorted((each for each in resources.files(CONF).iterdir() if each.is_dir()), key=lambda each: each.name)
    found = {folder.name: sorted(_options_in(folder)) for folder in folders}
    return {name: names for name, names in found.items() if names and name != "source"}


def _options_in(folder: Traversable) -> Iterator[str]:
    """Options of a group, those of its folders as ``folder/option``."""
    for each in folder.iterdir():
        if each.is_dir():
            yield from (f"{each.name}/{option}" for option in _options_in(each))
        elif each.name.endswith(".yaml"):
            yield each.name.removesuffix(".yaml")


def with_hydra(name: str, words: list[str], job: Callable[[DictConfig], None]) -> None:
    """Compose ``conf/<name>.yaml`` with ``words`` and run ``job`` on it, once or as a sweep."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us instead of being printed with a traceback
    told: list[FrbenchError] = []

    def guarded(cfg: DictConfig) -> None:
        try:
            job(cfg)
        except FrbenchError as error:  # kept from Hydra, which would print a line of its own before ours
            told.append(error)
        except Refused as error:  # a cell records it; elsewhere nothing else is to be done
            told.append(FrbenchError(str(error)))

    words = sorted(_waiting(words), key=lambda word: word not in ("-m", "--multirun"))  # Hydra wants it first or last
    before, sys.argv = sys.argv, [f"frbench {name}", *words]
    try:
        hydra.main(version_base="1.3", config_path=f"pkg://{CONF}", config_name=name)(guarded)()
    except MissingConfigException as error:
        raise FrbenchError(_missing(error)) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise FrbenchError(_misspelt(error, name, words) or _flat(error)) from error
    finally:
        sys.argv = before
        GlobalHydra.instance().clear()
    if told:
        raise told[0]


def _waiting(words: list[str]) -> list[str]:
    """``words`` where a setting, or an option, within a swept option is a sweep of one value.

    Hydra composes a sweep once without what is swept, where the option that the setting belongs to is not there yet.
    """
    parser = OverridesParser.create()
    try:
        given = {word: parser.parse_override(word) for word in words if not word.startswith("-")}
    except HydraException:
        return words  # Hydra says so itself, with all that is wrong
    swept = {each.package or each.key_or_group for each in given.values() if each.is_sweep_override()}
    swept |= {name for each in given.values() for name in _swept_by(each)}
    late = {
        word: _late(word, each)
        for word, each in given.items()
        if not (each.is_sweep_override() or each.is_delete() or "${" in word)
        and any((each.package or each.key_or_group).startswith(f"{group}.") for group in swept)
    }
    return [late.get(word, word) for word in words]


def _swept_by(given: Override) -> Iterator[str]:
    """The groups that an experiment sweeps by itself; none of any other override."""
    if given.key_or_group != "experiment" or not isinstance(given.value(), str):
        return
    file = resources.files(CONF) / "experiment" / f"{given.value()}.yaml"
    if file.is_file():  # of one that is not, Hydra tells
        written = OmegaConf.create(file.read_text(encoding="utf-8"))
        yield from map(str, OmegaConf.select(written, "hydra.sweeper.params") or ())


def _late(word: str, given: Override) -> str:
    key, value = word.partition("=")[0], given.get_value_element_as_str()
    return f"++{key.lstrip('+')}=null" if value == "null" else f"{key}=choice({value})"  # no sweep has a null alone


def _missing(error: MissingConfigException) -> str:
    if not error.options or not error.missing_cfg_file:
        return _flat(error)
    group, _, name = error.missing_cfg_file.rpartition("/")
    return unknown(name, list(error.options), group)


def _misspelt(error: Exception, name: str, words: list[str]) -> str | None:
    """For an override of something that is not there: the nearest thing that is."""
    found = re.match(r"Could not override '(.+?)'", str(error))
    if not found:
        return None
    if "@" in found[1] or (name == "run" and found[1] in known_options()):
        return f"{found[1]} belongs to another option: {_INSIDE}"
    training = [word for word in words if word.startswith("training=")] if "." in found[1] else []
    if found[1].startswith("training.") and not training:
        return f"{found[1]} belongs to a training, and none was chosen; add training=single or another"
    GlobalHydra.instance().clear()
    with hydra.initialize_config_module(CONF, version_base="1.3"):
        whole = hydra.compose(name, training, return_hydra_config=True)
    known = [key for key in (*whole.hydra.runtime.choices, *leaves(whole)) if not key.startswith("hydra")]
    near = difflib.get_close_matches(found[1], known, n=1)
    hint = f"did you mean {near[0]}?" if near else "frbench options lists the groups"
    return f"{found[1]} is not something that a run can set; {hint}"


_INSIDE = (
    "recognizer@threat.surrogate to threat=transfer alone, tracker@protocol.tracker to protocol=cloaking, "
    "network@training.network to training=NAME (training=advt: network@training.start.network), "
    "network@defense.recipe.network to a trained ensemble, network@recognizer.architecture to recognizer=trained"
)


def unknown(name: str, known: list[str], group: str) -> str:
    """What to say of an option, or a group, that is not there: the nearest that is, and all of them."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? There is" if near else "there is"
    return f"{group}={name} is not known; {hint} {', '.join(known)}"


def _flat(error: BaseException) -> str:
    """What Hydra says in one line: the message, or that of its cause, without advice on its own variables."""
    text, cause = str(error).strip(), error.__cause__ or error.__context__
    if not text and cause:
        return _flat(cause)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kept = [
        line for line in lines if "HYDRA_FULL_ERROR" not in line and not line.startswith(("full_key", "object_type"))
    ]
    return f"{'; '.join(kept)}; see: frbench options"


def chosen_options() -> dict[str, str]:
    """The option chosen for each group of ours."""
    chosen = HydraConfig.get().runtime.choices
    named = {str(group): str(option) for group, option in chosen.items() if option is not None}
    return {group: option for group, option in named.items() if not group.startswith("hydra/")}


def settings(cfg: DictConfig, choices: Mapping[str, str]) -> dict[str, Any]:
    """What differs from the options' own files: a cell's label beside the names of its options.

    Compared before interpolation, so that where data lie on this machine makes no difference; a file of this
    machine is told by its name and its folder's.
    """
    from frbench.harness.build import FACES, MEMBERS, NOUNS, SURROGATE, TRACKER

    chosen = {group: option for group, option in choices.items() if group != "experiment"}
    usual, plain = _alone([f"{group}={option}" for group, option in chosen.items() if "@" not in group])
    inside = {group: option for group, option in chosen.items() if "@" in group and usual.get(group) != option}
    if inside:
        outward = sorted(chosen, key=lambda group: group.count("."))  # an option before those inside it
        _, plain = _alone([f"{'' if group in usual else '+'}{group}={chosen[group]}" for group in outward])
    given = leaves(cfg)
    shown = {
        key: _placed(value)
        for key, value in given.items()
        if key.split(".")[0] in (*NOUNS, FACES, "seed", "fit_seed") and plain.get(key, _ABSENT) != value
    }
    elsewhere = ("recognizer@recognizer.", SURROGATE, TRACKER, MEMBERS)  # these stand among the names
    named = {group.partition("@")[2]: o for group, o in inside.items() if not group.startswith(elsewhere)}
    return dict(sorted((named | shown).items()))


def _placed(value: Any) -> Any:
    """The last two parts of a path of this machine; anything else as it is."""
    whole = isinstance(value, str) and value.startswith(("/", "~"))
    return "/".join(value.rstrip("/").split("/")[-2:]) if whole else value


def _alone(picked: list[str]) -> tuple[dict[str, str], dict[str, Any]]:
    """What these options bring: the options inside them, such as the attack that minimal repeats, and all values."""
    composed = hydra.compose("run", overrides=picked, return_hydra_config=True)
    named = {str(group): str(option) for group, option in composed.hydra.runtime.choices.items()}
    return named, leaves(composed)


_ABSENT = object()


def leaves(cfg: DictConfig) -> dict[str, Any]:
    """Dotted key -> value as written."""
    flat: dict[str, Any] = {}

    def walk(node: Any, prefix: str) -> None:
        if isinstance(node, dict) and node:
            for key, value in node.items():
                walk(value, f"{prefix}.{key}" if prefix else str(key))
        else:
            flat[prefix] = node

    walk(OmegaConf.to_container(cfg, resolve=False), "")
    return flat
