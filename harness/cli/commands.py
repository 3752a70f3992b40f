"""The verbs that compose configs. Hydra is seen here, in ``composing`` and in ``build``, nowhere else."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from frbench.harness.cli import option_docs
from frbench.harness.cli.summary_line import closing, sentence
from frbench.harness.config.compose import (
    chosen_options,
    known_options,
    leaves,
    option_config,
    place_of,
    settings,
    unknown,
    with_hydra,
)
from frbench.harness.config.overrides import own_folder, tidied, varying
from frbench.harness.core.errors import ConfigError, FrbenchError
from frbench.harness.storage.output_folders import check_folders, check_writable
from frbench.harness.storage.records import Record


def run(words: list[str]) -> int:
    """``frbench run``: each cell of the sweep in turn; bad input to one cell loses no other."""
    from frbench.harness.config import build
    from frbench.harness.config.cells import prepare, resolve
    from frbench.harness.evaluation.cell import run_cell

    codes: list[int] = []
    records: list[Record] = []
    keys, results = varying(tidied(words)), set[Path]()

    def job(cfg: DictConfig) -> None:
        try:
            config, choices = build.plain(cfg), chosen_options()
            check_folders(config)
            if "training" in config or config["out"] is not None:
                raise ConfigError(f"training= and out= belong to frbench fit; {_TRAINED}")
            cell = prepare(resolve(config, choices, settings(cfg, choices)))
            store = build.store(config)
            results.add(store.root)
            found = store.finished(cell.fingerprint())
            record = found or run_cell(cell, store)
        except FrbenchError as error:
            print(f"frbench: {' '.join(str(error).split())}", file=sys.stderr)
            codes.append(2)
            return
        except Exception:  # a bug before the key of the cell is known: nothing to record, and the sweep continues
            traceback.print_exc()
            codes.append(1)
            return
        differing = [word for word in HydraConfig.get().overrides.task if word.partition("=")[0] in keys]
        print(sentence(record, bool(found), differing), flush=True)
        records.append(record)
        codes.append(1 if record["status"] == "crashed" else 0)

    with_hydra("run", words, job)
    if records or len(codes) > 1:
        print(closing(records, len(codes) - len(records), results))
    return max(codes, default=0)


_TRAINED = "a run has what was trained as recognizer=trained, or trains it as a defense such as diverse_ensemble"


def fit(words: list[str]) -> int:
    """``frbench fit``: the artifact of a training, or else of the defense, made or found."""
    from frbench.harness.cli import fit as training_cli
    from frbench.harness.config import build
    from frbench.harness.runtime import distributed

    def job(cfg: DictConfig) -> None:
        distributed.init_distributed()
        config, choices = build.plain(cfg), chosen_options()
        check_folders(config)
        if "training" in config:
            training_cli.train(config, choices, words, lambda: _architecture(cfg, choices))
        else:
            training_cli.fit_defense(config, choices)

    with_hydra("run", words, job)
    return 0


def _architecture(cfg: DictConfig, choices: Mapping[str, str]) -> list[str]:
    """The words by which ``recognizer=trained`` has the network that a training trains."""
    place = next(group for group in choices if group.startswith("network@training."))
    words = ["recognizer=trained", f"network@{_HELD}={choices[place]}"]
    usual, inside = leaves(hydra.compose("run", overrides=words)), f"{place.partition('@')[2]}."
    given = {key.removeprefix(inside): value for key, value in leaves(cfg).items() if key.startswith(inside)}
    return [*words, *(f"{_HELD}.{key}={value}" for key, value in given.items() if usual.get(f"{_HELD}.{key}") != value)]


_HELD = "recognizer.architecture"


def report(words: list[str]) -> int:
    """``frbench report``: tables and figures, or records as JSON lines."""

    def job(cfg: DictConfig) -> None:
        from frbench.harness.config import build
        from frbench.harness.reporting import report as reporting

        config = build.plain(cfg)
        out = Path(config["out"]).expanduser()
        if config["format"] == "files":
            check_writable(out, "out")
        written = reporting.report(build.store(config), out, config["format"], config["where"], config["top"])
        if written:
            figures = sum(path.suffix in (".png", ".pdf") for path in written)
            print(
                f"{len(written) - figures} files of tables in {out / 'tables'}, {figures} figures in {out / 'figures'}"
            )
            print(f"start with {out / 'tables' / 'report.md'}")

    with_hydra("report", words, job)
    return 0


def serve(words: list[str]) -> int:
    """``frbench serve``: the protected recognizer behind HTTP, until interrupted."""
    from frbench.harness.config import build
    from frbench.harness.recognizers.inference import resolve_device
    from frbench.harness.serving.app import Served, Serving

    def job(cfg: DictConfig) -> None:
        config = build.plain(cfg)
        serving: Serving = build.instantiate(config["server"], "server")
        name, verifier = build.protected(config)
        title = f"{name}, defense {chosen_options()['defense']}"
        serving.run(Served(title, verifier, config["seed"], resolve_device(config["device"])))

    with_hydra("serve", words, job)
    return 0


def cloak(words: list[str]) -> int:
    """``frbench cloak FOLDER``: the faces in a user's own photos, cloaked in copies."""
    from frbench.harness.config import build
    from frbench.harness.photo_cloaking.photo_files import named

    source, overrides = named(words)
    codes: list[int] = []

    def job(cfg: DictConfig) -> None:
        codes.append(build.cloak_photos(build.plain(cfg), source))

    with_hydra("cloak", overrides, job)
    return max(codes, default=0)


def _of_option(file: Traversable, option: str, words: list[str]) -> list[str]:
    """What ``frbench options group=name`` prints of the ``option`` with this YAML file."""
    if option_docs.sets_others(file):
        return option_docs.overview(file)
    return option_docs.fields(file, option_config(option, words), f"{place_of(option.partition('=')[0])}.")


def options(words: list[str]) -> int:
    """``frbench options [GROUP | GROUP=NAME]``: the groups, the options of one, or what can be set of an option."""
    words = tidied(words)
    groups = known_options(own_folder(words))
    asked = [word for word in words if not word.startswith(("-", "trust="))]
    for word in asked:
        name, chosen, option = word.partition("=")
        if name not in groups:
            raise ConfigError(unknown(name, list(groups), "group"))
        if chosen and option not in groups[name]:
            raise ConfigError(unknown(option, list(groups[name]), name))
        if chosen:
            print(*_of_option(groups[name][option], word, words), sep="\n")
        else:
            print(*option_docs.listing(groups[name]), sep="\n")
    if not asked:
        print(*(f"{name}: {' '.join(options)}" for name, options in groups.items()), sep="\n")
        print("\nfrbench options GROUP says what each is, frbench options GROUP=NAME what can be set of it")
    return 0
