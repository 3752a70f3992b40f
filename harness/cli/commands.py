"""The verbs that take overrides: run, fit, report, serve, cloak, options."""

from __future__ import annotations

import sys
import traceback
from importlib.resources.abc import Traversable
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from frbench.harness.cli import option_docs
from frbench.harness.cli.summary_line import summary
from frbench.harness.config.compose import chosen_options, option_config, with_hydra
from frbench.harness.config.conf_files import known_options, place_of
from frbench.harness.config.hydra_errors import unknown_name, unknown_option
from frbench.harness.config.overrides import own_folder, tidied, varying
from frbench.harness.core.errors import ConfigError, DiskFull, FrbenchError
from frbench.harness.storage.cell_line import cell_line
from frbench.harness.storage.output_folders import check_writable
from frbench.harness.storage.records import Record


def run(words: list[str]) -> int:
    """``frbench run``: each cell of the sweep in turn. A wrong option of one cell does not stop the others."""
    from frbench.harness.config.running import cell_config, finish

    codes: list[int] = []
    records: list[Record] = []
    keys, results = varying(tidied(words)), set[Path]()

    def job(cfg: DictConfig) -> None:
        try:
            config = cell_config(cfg)
            results.add(config.store.root)
            record, found = finish(config)
        except DiskFull:
            raise
        except FrbenchError as error:
            print(f"frbench: {' '.join(str(error).split())}", file=sys.stderr)
            codes.append(2)
            return
        except Exception:  # a bug before the key of the cell is known: nothing to record, and the sweep continues
            traceback.print_exc()
            codes.append(1)
            return
        differing = [word for word in HydraConfig.get().overrides.task if word.partition("=")[0] in keys]
        print(cell_line(record, found, differing), flush=True)
        records.append(record)
        codes.append(1 if record["status"] == "crashed" else 0)

    with_hydra("run", words, job)
    if records or len(codes) > 1:
        print(summary(records, len(codes) - len(records), results))
    return max(codes, default=0)


def fit(words: list[str]) -> int:
    """``frbench fit``: train the recognizer of ``training``, or else fit the defense, unless that is done already."""
    from frbench.harness.cli import fit as fit_verb
    from frbench.harness.config import build
    from frbench.harness.runtime import distributed

    def job(cfg: DictConfig) -> None:
        distributed.init_distributed()
        config, choices = build.plain(cfg), chosen_options()
        build.check_folders(config)
        if "training" in config:
            fit_verb.train(config, choices)
        else:
            fit_verb.fit_defense(config, choices)

    with_hydra("run", words, job)
    return 0


def report(words: list[str]) -> int:
    """``frbench report``: tables and figures, or the records as JSON lines."""

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
            tables = len(written) - figures
            print(f"{tables} table files in {out / 'tables'}, {figures} figures in {out / 'figures'}")
            print(f"start with {out / 'tables' / 'report.md'}")

    with_hydra("report", words, job)
    return 0


def serve(words: list[str]) -> int:
    """``frbench serve``: the recognizer behind its defense as an HTTP service, until interrupted."""
    from frbench.harness.config import build
    from frbench.harness.recognizers.inference import resolve_device
    from frbench.harness.serving.app import CompareServer, ServedModel

    def job(cfg: DictConfig) -> None:
        config = build.plain(cfg)
        serving: CompareServer = build.instantiate(config["server"], "server")
        name, verifier = build.protected(config)
        title = f"{name}, defense {chosen_options()['defense']}"
        serving.run(ServedModel(title, verifier, config["seed"], resolve_device(config["device"])))

    with_hydra("serve", words, job)
    return 0


def cloak(words: list[str]) -> int:
    """``frbench cloak FOLDER``: cloaked copies of a user's own photos."""
    from frbench.harness.config import build
    from frbench.harness.photo_cloaking.photo_files import split_arguments

    source, overrides = split_arguments(words)
    codes: list[int] = []

    def job(cfg: DictConfig) -> None:
        codes.append(build.cloak_photos(build.plain(cfg), source))

    with_hydra("cloak", overrides, job)
    return max(codes, default=0)


def _option_page(file: Traversable, option: str, words: list[str]) -> list[str]:
    """The output of ``frbench options group=name``, which has this YAML file."""
    if option_docs.sets_others(file):
        return option_docs.overview(file)
    return option_docs.fields(file, option_config(option, words), f"{place_of(option.partition('=')[0])}.")


def options(words: list[str]) -> int:
    """``frbench options [GROUP | GROUP=NAME]``: the groups, the options of a group, or the fields of an option."""
    words = tidied(words)
    groups = known_options(own_folder(words))
    requested = [word for word in words if not word.startswith(("-", "trust="))]
    for word in requested:
        name, chosen, option = word.partition("=")
        if name not in groups:
            raise ConfigError(unknown_name(name, list(groups)))
        if chosen and option not in groups[name]:
            raise ConfigError(unknown_option(name, option, list(groups[name])))
        if chosen:
            print(*_option_page(groups[name][option], word, words), sep="\n")
        else:
            print(*option_docs.listing(groups[name]), sep="\n")
    if not requested:
        print(*(f"{name}: {' '.join(options)}" for name, options in groups.items()), sep="\n")
        print("\nfrbench options GROUP describes its options, frbench options GROUP=NAME lists the fields of one")
    return 0
