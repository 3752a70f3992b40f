"""Shared parts of the scripts: command line, composition of the config, results and Markdown tables."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra.errors import HydraException

from frbench.harness.config import build, folders, resolution
from frbench.harness.core.errors import ConfigError, FrbenchError
from frbench.harness.core.face_data import PairSet
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer

Run = Callable[[argparse.Namespace], None]

REAL_FACES = ("dataset=lfw", "recognizer=foamliu_mobilefacenet")


def run_script(
    parser: argparse.ArgumentParser, run: Run, arguments: Sequence[str] | None, overrides: bool = True
) -> int:
    """Parse ``arguments``, and ``overrides`` as for ``frbench run`` unless the script has none, and call ``run``.

    Returns:
        The exit code: 2 for an error that the user can fix, which is printed in one line.
    """
    if overrides:
        parser.add_argument("overrides", nargs="*", help="as for frbench run, such as recognizer=tiny")
    try:
        run(parser.parse_intermixed_args(arguments))
    except FrbenchError as error:
        print(f"{parser.prog.removesuffix('.py')}: {error}", file=sys.stderr)
        return 2
    return 0


def compose_config(overrides: Sequence[str]) -> dict[str, Any]:
    """Compose the config of ``frbench run`` with ``overrides``.

    Raises:
        ConfigError: an override that does not exist or cannot be parsed.
    """
    try:
        with initialize_config_module("frbench.conf", version_base="1.3"):
            return resolution.plain(compose("run", list(overrides)))
    except HydraException as error:
        raise ConfigError(f"{str(error).splitlines()[0]} See: frbench options") from error


def default_faces(overrides: Sequence[str] = REAL_FACES) -> tuple[str, ...]:
    """``overrides`` that select real faces if FRBENCH_DATA is set; else none, for synthetic faces."""
    return tuple(overrides) if os.environ.get("FRBENCH_DATA") else ()


def torch_recognizer(config: Mapping[str, Any]) -> TorchRecognizer:
    """Build the recognizer of ``config``.

    Raises:
        ConfigError: it is not a PyTorch checkpoint.
    """
    recognizer = build.instantiate(config["recognizer"], "recognizer")
    if not isinstance(recognizer, TorchRecognizer):
        raise ConfigError(f"recognizer={recognizer.name} is not a PyTorch checkpoint; use one, such as recognizer=tiny")
    return recognizer


def open_pairs(config: Mapping[str, Any]) -> PairSet:
    """Open the dataset of ``config``."""
    pairs: PairSet = build.instantiate(config["dataset"], "dataset").open(folders.image_cache(config))
    return pairs


def write_result(result: Mapping[str, Any], table: str, out: Path) -> None:
    """Write ``result`` as JSON to ``out`` and print its ``table``."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{table}\n\n{out}")


def table_row(cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(cells)} |"
