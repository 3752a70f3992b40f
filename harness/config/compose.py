"""Runs a verb through Hydra: composes ``conf`` with the command line, once or for each cell of a sweep."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from frbench.harness.config.cell_labels import CELL_GROUPS, FACES, MEMBERS, SURROGATE, TRACKER
from frbench.harness.config.checks import check_targets
from frbench.harness.config.conf_files import composed, leaves, packaged
from frbench.harness.config.hydra_errors import explained, one_line, unknown_name
from frbench.harness.config.number_hints import flattened
from frbench.harness.config.overrides import CONF, own_folder, prepared, tidied
from frbench.harness.config.ratio_values import with_numbers
from frbench.harness.core.errors import ConfigError, DiskFull, FrbenchError
from frbench.harness.core.ratios import as_number, is_number

_FULL_ERROR = "HYDRA_FULL_ERROR"  # environment variable
QUIET = ("hydra.job_logging.root=null", "hydra.hydra_logging.root=null")  # words that leave the loggers as they are


def with_hydra(name: str, words: list[str], job: Callable[[DictConfig], None]) -> None:
    """Compose ``conf/<name>.yaml`` with the overrides ``words`` and run ``job`` on it, once or for each cell.

    ``--cfg=job`` prints the composed configs and runs nothing, also for a sweep. Afterwards ``sys.argv``, the
    environment and the state of Hydra are as before, so that a program with its own Hydra may call this.

    Raises:
        ConfigError: an override is wrong, a key is unknown, or the folder of the sweep cannot be created.
        FrbenchError: the first error of ``job``; the other cells of the sweep have run.
        DiskFull: the disk is full; the sweep ended there.
    """
    words = prepared(tidied(words))
    sweeps = bool({"-m", "--multirun"} & set(words))
    with _own_hydra():
        if sweeps and "--cfg=job" in words:
            with TemporaryDirectory() as folder:
                kept = [word for word in words if word not in ("--cfg=job", "--resolve")]
                _main(name, [*kept, f"hydra.sweep.dir={folder}"], partial(_print_config, resolve="--resolve" in words))
        else:
            _main(name, words, job)


@contextmanager
def _own_hydra() -> Iterator[None]:
    """Puts the state of Hydra aside, as its own ``initialize`` does, and lets it raise errors instead of print them."""
    state, kinds = Singleton._instances, (GlobalHydra, HydraConfig, JobRuntime, VersionBase)
    kept: dict[type, Singleton] = {kind: state.pop(kind) for kind in kinds if kind in state}
    printing = {name: os.environ[name] for name in (_FULL_ERROR,) if name in os.environ}
    os.environ[_FULL_ERROR] = "1"
    try:
        yield
    finally:
        for kind in kinds:
            state.pop(kind, None)
        state.update(kept)
        os.environ.pop(_FULL_ERROR, None)
        os.environ.update(printing)


def _print_config(cfg: DictConfig, resolve: bool) -> None:
    """One config of a sweep as a YAML document that begins with its overrides."""
    print(f"---\n# {' '.join(HydraConfig.get().overrides.task)}\n{OmegaConf.to_yaml(cfg, resolve=resolve)}", end="")


def _main(name: str, words: list[str], job: Callable[[DictConfig], None]) -> None:
    errors: list[FrbenchError | BrokenPipeError] = []  # not raised inside Hydra, which would print a line of its own
    began = False

    def guarded(cfg: DictConfig) -> None:
        nonlocal began
        began = True
        if any(isinstance(error, BrokenPipeError | DiskFull) for error in errors):  # no other cell can do better
            return
        try:
            check_keys(cfg, name)
            job(cfg)
        except (FrbenchError, BrokenPipeError) as error:
            errors.append(error)

    before, sys.argv = sys.argv, [f"frbench {name}", *words]
    try:
        hydra.main(version_base="1.3", config_path=f"pkg://{CONF}", config_name=name)(guarded)()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explained(error, name, words)) from error
    except ValueError as error:
        if "Config group override" not in str(error):
            raise
        raise ConfigError(explained(error, name, words)) from error
    except OSError as error:
        if began or isinstance(error, BrokenPipeError):
            raise
        raise ConfigError(
            f"cannot create {error.filename} ({error.strerror}); set paths.results to a writable folder"
        ) from error
    finally:
        sys.argv = before
        GlobalHydra.instance().clear()
    if errors:
        raise errors[0]


def check_keys(cfg: DictConfig, name: str) -> None:
    """Raises ConfigError: ``cfg`` has a top-level key, or a path, that is unknown and that no value refers to."""
    written = packaged(f"{name}.yaml")
    groups = {key for each in written["defaults"] if isinstance(each, dict) for key in each}
    known = [*written, *groups, *(f"paths.{key}" for key in packaged("paths/default.yaml"))]
    references = " ".join(value for value in leaves(cfg).values() if isinstance(value, str) and "${" in value)
    for key in (*(str(key) for key in cfg), *(f"paths.{key}" for key in cfg.paths)):
        if key not in known and f"${{{key}" not in references:
            raise ConfigError(unknown_name(key, known))


def option_config(option: str, words: list[str]) -> dict[str, Any]:
    """The fields of the option ``group=name``, interpolations unresolved.

    Raises ConfigError: it does not compose, or has a ``_target_`` outside the packages that ``words`` trust.
    """
    group, _, name = option.partition("=")
    trusted = [word for word in words if word.startswith("trust=")]
    try:
        cfg = composed("run", [f"+{group}@shown={name}", *trusted], own_folder(words))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error)) from error
    shown: Any = OmegaConf.to_container(cfg.shown, resolve=False) if "shown" in cfg else {}
    check_targets(shown, cfg.trust)
    return dict(shown)


def chosen_options() -> dict[str, str]:
    """The option of each group of ``conf``, in the job that runs now."""
    chosen = HydraConfig.get().runtime.choices
    options = {str(group): str(option) for group, option in chosen.items() if option is not None}
    return {group: option for group, option in options.items() if not group.startswith("hydra/")}


def settings(cfg: DictConfig, choices: Mapping[str, str]) -> dict[str, Any]:
    """The values of ``cfg`` that differ from the options' own files: with the names of the options, a cell's label.

    Interpolations are compared unresolved, so that where data lie on this machine makes no difference; of an absolute
    path the last two parts remain.
    """
    chosen = {group: option for group, option in choices.items() if group != "experiment"}
    usual, plain = _defaults([f"{group}={option}" for group, option in chosen.items() if "@" not in group])
    nested = {group: option for group, option in chosen.items() if "@" in group and usual.get(group) != option}
    if nested:
        outer_first = sorted(chosen, key=lambda group: group.count("."))
        _, plain = _defaults([f"{'' if group in usual else '+'}{group}={chosen[group]}" for group in outer_first])
    given = flattened(with_numbers(OmegaConf.to_container(cfg, resolve=False)))
    usual_values = {key: as_number(plain[key]) if is_number(given.get(key)) else plain[key] for key in plain}
    shown = {
        key: _shortened_path(value)
        for key, value in given.items()
        if key.split(".")[0] in (*CELL_GROUPS, FACES, "seed", "fit_seed") and usual_values.get(key, _ABSENT) != value
    }
    in_names = ("recognizer@recognizer.", SURROGATE, TRACKER, MEMBERS)  # these are part of the cell's names
    options = {group.partition("@")[2]: o for group, o in nested.items() if not group.startswith(in_names)}
    return dict(sorted((options | shown).items()))


def _shortened_path(value: Any) -> Any:
    """The last two parts of an absolute path; any other value unchanged."""
    absolute = isinstance(value, str) and value.startswith(("/", "~"))
    return "/".join(value.rstrip("/").split("/")[-2:]) if absolute else value


def _defaults(overrides: list[str]) -> tuple[dict[str, str], dict[str, Any]]:
    """The options and the values that ``overrides`` compose to, such as the attack inside attack=minimal."""
    cfg = hydra.compose("run", overrides=overrides, return_hydra_config=True)
    options = {str(group): str(option) for group, option in cfg.hydra.runtime.choices.items()}
    return options, leaves(cfg)


_ABSENT = object()
