"""The verbs that take overrides: run, fit, report, serve, cloak, options."""

from __future__ import annotations

from importlib.resources.abc import Traversable
from pathlib import Path

from frbench.harness.cli import option_docs
from frbench.harness.config.compose import compose, composed_cells, option_config, printed
from frbench.harness.config.conf_files import known_options, place_of
from frbench.harness.config.hydra_errors import unknown_name, unknown_option
from frbench.harness.config.overrides import own_folder, tidied
from frbench.harness.core.errors import ConfigError, DiskFull, FrbenchError
from frbench.harness.storage.output_folders import check_writable


def fit(words: list[str]) -> int:
    """``frbench fit``: train the recognizer of ``training``, or else fit the defense, unless that is done already."""
    from frbench.harness.cli import fit as fit_verb
    from frbench.harness.config import folders, resolution
    from frbench.harness.runtime import distributed

    if printed("run", words):
        return 0
    errors: list[FrbenchError] = []
    for composed in composed_cells(words):
        distributed.init_distributed()
        try:
            config = resolution.plain(composed.config)
            folders.check_folders(config)
            if "training" in config:
                fit_verb.train(config, composed.choices)
            else:
                fit_verb.fit_defense(config, composed.choices)
        except DiskFull:
            raise
        except FrbenchError as error:  # the other defenses of a sweep are fitted
            errors.append(error)
    if errors:
        raise errors[0]
    return 0


def report(words: list[str]) -> int:
    """``frbench report``: tables and figures, the records as JSON lines, run cards, or tables of papers."""
    from frbench.harness.cli.paper_report import report_papers
    from frbench.harness.cli.sweep_status import warn_of_failures
    from frbench.harness.config import folders, paper_files, resolution
    from frbench.harness.reporting import report as reporting
    from frbench.harness.runtime.memory import without_garbage_collection

    papers, words = paper_files.split_paper(words)
    if printed("report", words):
        return 0
    if papers:
        return report_papers(papers, words)
    config = resolution.plain(compose("report", words).config)
    out = Path(config["out"]).expanduser()
    if config["format"] != "json":
        check_writable(out.parent if out.suffix == ".html" else out, "out")
    with without_garbage_collection():  # a sixth of the time of 10,000 records, which have no cycles
        written = reporting.report(
            folders.store(config),
            out,
            config["format"],
            config["where"],
            config["top"],
            config["figures"],
            config["timing"],
        )
    if config["format"] != "files":
        print("".join(f"{path}\n" for path in written), end="")
    else:
        figures = sum(path.suffix in (".png", ".pdf") for path in written)
        tables = len(written) - figures
        print(f"{tables} table files in {out / 'tables'}, {figures} figures in {out / 'figures'}")
        print(f"start with {out / 'tables' / 'report.md'}")
        warn_of_failures(folders.store(config))
    return 0


def serve(words: list[str]) -> int:
    """``frbench serve``: the recognizer behind its defense as an HTTP service, until interrupted."""
    from frbench.harness.config import build, resolution
    from frbench.harness.recognizers.inference import resolve_device
    from frbench.harness.serving.app import CompareServer, ServedModel

    if printed("serve", words):
        return 0
    composed = compose("serve", words)
    config = resolution.plain(composed.config)
    serving: CompareServer = build.instantiate(config["server"], "server")
    name, verifier = build.protected(config)
    title = f"{name}, defense {composed.choices['defense']}"
    serving.run(ServedModel(title, verifier, config["seed"], resolve_device(config["device"])))
    return 0


def cloak(words: list[str]) -> int:
    """``frbench cloak FOLDER``: cloaked copies of a user's own photos."""
    from frbench.harness.config import build, resolution
    from frbench.harness.photo_cloaking.photo_files import split_arguments

    source, overrides = split_arguments(words)
    if printed("cloak", overrides):
        return 0
    return build.cloak_photos(resolution.plain(compose("cloak", overrides).config), source)


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
