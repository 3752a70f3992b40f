"""Hydra around a verb: what ``conf`` and a user's words compose to, and what is wrong with them in one line."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from frbench.harness.config.cell_labels import CELL_GROUPS, FACES, MEMBERS, SURROGATE, TRACKER
from frbench.harness.config.checks import check_targets, set_elsewhere
from frbench.harness.config.number_hints import flattened, meant_number, misplaced_number
from frbench.harness.config.overrides import CONF, own_folder, prepared, tidied, unreadable
from frbench.harness.core.errors import ConfigError, FrbenchError
from frbench.harness.core.ratios import as_number, is_number, with_numbers


def known_options(own: Path | None = None) -> dict[str, dict[str, Traversable]]:
    """Group name -> option -> its YAML file; packaged ones, and those of the folder ``own``, which go first."""
    groups: dict[str, dict[str, Traversable]] = {}
    for root in (resources.files(CONF), *([] if own is None else [own])):
        for folder in (each for each in root.iterdir() if each.is_dir()):
            groups.setdefault(folder.name, {}).update(_options_in(folder))
    return {name: dict(sorted(groups[name].items())) for name in sorted(groups) if groups[name] and name != "source"}


def _options_in(folder: Traversable) -> Iterator[tuple[str, Traversable]]:
    """Options of a group with their files, those of its folders as ``folder/option``."""
    for each in folder.iterdir():
        if each.is_dir():
            yield from ((f"{each.name}/{option}", file) for option, file in _options_in(each))
        elif each.name.endswith(".yaml"):
            yield each.name.removesuffix(".yaml"), each


def with_hydra(name: str, words: list[str], job: Callable[[DictConfig], None]) -> None:
    """Compose ``conf/<name>.yaml`` with ``words`` and run ``job`` on it, once or as a sweep.

    ``--cfg=job`` prints the composed configs and runs nothing, also of a sweep. Raises FrbenchError: all that Hydra
    says, in one line; a key that nothing reads; a folder for the sweep that cannot be made.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us instead of being printed with a traceback
    words = prepared(tidied(words))
    sweeps = bool({"-m", "--multirun"} & set(words))
    if sweeps and "--cfg=job" in words:
        with TemporaryDirectory() as folder:
            kept = [word for word in words if word not in ("--cfg=job", "--resolve")]
            _main(name, [*kept, f"hydra.sweep.dir={folder}"], partial(_print_config, resolve="--resolve" in words))
    else:
        _main(name, words, job)


def _print_config(cfg: DictConfig, resolve: bool) -> None:
    """One config of a sweep as a document of YAML, after the overrides that it is of."""
    print(f"---\n# {' '.join(HydraConfig.get().overrides.task)}\n{OmegaConf.to_yaml(cfg, resolve=resolve)}", end="")


def _main(name: str, words: list[str], job: Callable[[DictConfig], None]) -> None:
    told: list[FrbenchError | BrokenPipeError] = []  # kept from Hydra, which would print a line of its own before ours
    began = False

    def guarded(cfg: DictConfig) -> None:
        nonlocal began
        began = True
        if any(isinstance(error, BrokenPipeError) for error in told):  # nobody reads what is left of the sweep
            return
        try:
            check_read(cfg, name)
            job(cfg)
        except (FrbenchError, BrokenPipeError) as error:
            told.append(error)

    before, sys.argv = sys.argv, [f"frbench {name}", *words]
    try:
        hydra.main(version_base="1.3", config_path=f"pkg://{CONF}", config_name=name)(guarded)()
    except MissingConfigException as error:
        raise ConfigError(_missing(error)) from error
    except ValueError as error:
        if "Config group override" not in str(error):
            raise
        raise ConfigError(unknown(*misplaced_number(words, known_options()))) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(unreadable(error, words) or _misspelt(error, name, words) or _flat(error)) from error
    except OSError as error:
        if began or isinstance(error, BrokenPipeError):
            raise
        raise ConfigError(f"{error.filename} cannot be made ({error.strerror}); take another paths.results") from error
    finally:
        sys.argv = before
        GlobalHydra.instance().clear()
    if told:
        raise told[0]


def check_read(cfg: DictConfig, name: str) -> None:
    """Raises FrbenchError: ``cfg`` has a key that neither ``conf/<name>.yaml`` nor another value of it reads."""
    packaged = _packaged(f"{name}.yaml")
    groups = {key for each in packaged["defaults"] if isinstance(each, dict) for key in each}
    known = {*packaged, *groups, *(f"paths.{key}" for key in _packaged("paths/default.yaml"))}
    read = " ".join(value for value in leaves(cfg).values() if isinstance(value, str) and "${" in value)
    for key in (*(str(key) for key in cfg), *(f"paths.{key}" for key in cfg.paths)):
        if key not in known and f"${{{key}" not in read:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "leave it out, or see: frbench options"
            raise ConfigError(f"{key} is set and nothing reads it; {hint}")


def _packaged(file: str) -> dict[str, Any]:
    """A packaged YAML file as it is written."""
    written: Any = OmegaConf.create((resources.files(CONF) / file).read_text(encoding="utf-8"))
    return dict(OmegaConf.to_container(written))  # type: ignore[arg-type]


def _missing(error: MissingConfigException) -> str:
    if not error.options or not error.missing_cfg_file:
        return _flat(error)
    there = re.search(r"Available options in '(.+?)'", str(error))
    group = there[1] if there else error.missing_cfg_file.rpartition("/")[0]
    name = error.missing_cfg_file.removeprefix(f"{group}/")
    return unknown(name, list(error.options), group)


def _misspelt(error: Exception, name: str, words: list[str]) -> str | None:
    """For an override of something that is not there: the nearest thing that is."""
    found = re.match(r"Could not override '(.+?)'", str(error))
    if not found:
        return None
    if "@" in found[1] or (name == "run" and found[1] in known_options()):
        return _inside(found[1])
    training = [word for word in words if word.startswith("training=")] if "." in found[1] else []
    if found[1].startswith("training.") and not training:
        return f"{found[1]} belongs to a training, and none was chosen; add training=single or another"
    whole = _chosen(name, [word for word in words if word.partition("=")[0] not in (found[1], "experiment")])
    place, _, field = found[1].rpartition(".")
    elsewhere = set_elsewhere(OmegaConf.select(whole, f"{place}._target_") if place else None, field)
    if elsewhere:
        return f"{found[1]} cannot be set: {elsewhere}"
    known = [key for key in (*whole.hydra.runtime.choices, *leaves(whole)) if not key.startswith("hydra")]
    near = difflib.get_close_matches(found[1], known, n=1)
    hint = f"did you mean {near[0]}?" if near else "frbench options lists the groups"
    return f"unknown setting {found[1]}; {hint}"


def _chosen(name: str, words: list[str]) -> DictConfig:
    """``conf/<name>.yaml`` with the options, not the settings, that ``words`` choose, as far as they compose."""
    options = [word for word in words if re.fullmatch(r"[^-.=,][^.=,]*=[^,]*", word)]
    try:
        return _composed(name, options, own_folder(words))
    except HydraException:
        return _composed(name, [], None)


def _composed(name: str, overrides: list[str], own: Path | None) -> DictConfig:
    """``conf/<name>.yaml`` with ``overrides``; options of the folder ``own`` can be chosen too."""
    GlobalHydra.instance().clear()
    path = [] if own is None else [f"hydra.searchpath=[file://{own.absolute()}]"]
    with hydra.initialize_config_module(CONF, version_base="1.3"):
        return hydra.compose(name, [*path, *overrides], return_hydra_config=True)


def option_config(option: str, words: list[str]) -> dict[str, Any]:
    """What the option ``group=name`` itself brings, not resolved.

    Raises FrbenchError: it does not compose, or names a class of a package that ``words`` do not trust.
    """
    group, _, name = option.partition("=")
    trusted = [word for word in words if word.startswith("trust=")]
    try:
        cfg = _composed("run", [f"+{group}@shown={name}", *trusted], own_folder(words))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_flat(error)) from error
    shown: Any = OmegaConf.to_container(cfg.shown, resolve=False) if "shown" in cfg else {}
    check_targets(shown, cfg.trust)
    return dict(shown)


_INSIDE = {
    "recognizer@threat.surrogate": "threat=transfer",
    "tracker@protocol.tracker": "protocol=cloaking",
    "network@training.network": "training=single",
    "network@training.start.network": "training=mter",
    "network@defense.recipe.network": "a trained ensemble such as defense=diverse_ensemble",
    "network@recognizer.architecture": "recognizer=trained",
    "maker@defense.recipe.cloaks.makers.fawkes": "defense=puface",
}


def place_of(group: str) -> str:
    """Where in a run's config the options of ``group`` stand: ``attack``, or ``protocol.tracker`` of a tracker."""
    own = any(group in each for each in _packaged("run.yaml")["defaults"] if isinstance(each, dict))
    inside = [key.partition("@")[2] for key in _INSIDE if key.startswith(f"{group}@")]
    return inside[0] if inside and not own else group


def _inside(key: str) -> str:
    """What to say of an option inside another option that was not chosen."""
    group = key.partition("@")[0]
    places = {key: _INSIDE[key]} if key in _INSIDE else {k: v for k, v in _INSIDE.items() if k.startswith(f"{group}@")}
    valid = " or ".join(f"{place}=NAME with {option}" for place, option in places.items())
    return f"{key} is not valid here; write {valid or f'{group}=NAME'}"


def unknown(name: str, known: list[str], group: str) -> str:
    """What to say of an option, or a group, that is not there: the nearest that is, and all of them."""
    near = difflib.get_close_matches(name, known, n=1)
    meant = meant_number(name, group, known_options().get(group, {})) or "".join(near)
    hint = f"did you mean {meant}? There is" if meant else "there is"
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
    chosen = {group: option for group, option in choices.items() if group != "experiment"}
    usual, plain = _alone([f"{group}={option}" for group, option in chosen.items() if "@" not in group])
    inside = {group: option for group, option in chosen.items() if "@" in group and usual.get(group) != option}
    if inside:
        outward = sorted(chosen, key=lambda group: group.count("."))  # an option before those inside it
        _, plain = _alone([f"{'' if group in usual else '+'}{group}={chosen[group]}" for group in outward])
    given = flattened(with_numbers(OmegaConf.to_container(cfg, resolve=False)))
    usual_values = {key: as_number(plain[key]) if is_number(given.get(key)) else plain[key] for key in plain}
    shown = {
        key: _placed(value)
        for key, value in given.items()
        if key.split(".")[0] in (*CELL_GROUPS, FACES, "seed", "fit_seed") and usual_values.get(key, _ABSENT) != value
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


def leaves(cfg: DictConfig | ListConfig) -> dict[str, Any]:
    """Dotted key -> value as written."""
    return flattened(OmegaConf.to_container(cfg, resolve=False))
