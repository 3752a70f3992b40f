"""``frbench fit``: trains a recognizer or fits a defense, and prints the metrics of the training."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frbench.harness.config import build, folders
from frbench.harness.core.atomic import write_atomically
from frbench.harness.core.contracts import Artifact, Fittable, Fitted, Recipe, Recognizer
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import FaceSet, PairSource
from frbench.harness.core.flags import Flag
from frbench.harness.core.part_contracts import check_faces
from frbench.harness.core.trusted_targets import OWN
from frbench.harness.core.verifiers import Comparer, compares
from frbench.harness.evaluation.identity_overlap import overlap_flags
from frbench.harness.recognizers.architecture_metadata import package_of
from frbench.harness.recognizers.inference import resolve_device
from frbench.harness.recognizers.initialization import member_names
from frbench.harness.recognizers.weight_files import read_metadata
from frbench.harness.runtime.distributed import is_main_process
from frbench.harness.training.artifacts import ArtifactBuilder
from frbench.harness.training.pair_validation import HasValidationPairs


def fit_defense(config: Mapping[str, Any], choices: Mapping[str, str]) -> None:
    """Fit the defense of ``config``, or find its artifact. Raises ConfigError: it needs no fitting."""
    if config["out"] is not None:
        raise ConfigError("out=FILE is only valid with training=NAME; frbench run finds a fitted defense by itself")
    recognizer = build.instantiate(config["recognizer"], "recognizer")
    defense = build.fitted_defense(config, build.make_defense(config), recognizer, resolve_device(config["device"]))
    if not isinstance(defense, Fittable):
        raise ConfigError(f"defense={choices['defense']} needs no fitting; choose another defense, or training=NAME")
    assert defense.artifact is not None
    artifact = defense.artifact
    print(f"{choices['defense']}: {folders.store(config).artifact(artifact.key)}")
    _print_metrics(artifact)


def train(config: Mapping[str, Any], choices: Mapping[str, str]) -> None:
    """Train ``config["training"]`` on its identities, or find its artifact; copy it to ``config["out"]``.

    Raises:
        ConfigError: People of the test set or of a validation set are among the faces; the recognizer to fine-tune
            has no embeddings; or the settings of the recipe do not fit together.
    """
    out = _output_file(config["out"])
    recipe: Recipe = build.instantiate(config["training"], "training")
    recognizer = _recognizer_to_train(config) if recipe.needs_recognizer else None
    cache, store = folders.image_cache(config), folders.store(config)
    source, tested = (build.instantiate(config[noun], noun) for noun in ("identities", "dataset"))
    faces = source.open(cache)
    check_faces(source, faces)
    flags = _overlap_flags(config, recipe, faces, tested)
    device = resolve_device(config["device"])
    artifact = ArtifactBuilder(faces, recognizer, store, config["fit_seed"], device, cache).artifact(recipe)
    path = store.artifact(artifact.key)
    if out is not None and is_main_process():
        write_atomically(out, lambda temporary: shutil.copyfile(path, temporary))
    print(" ".join([f"{choices['training']}: {out or path}", *flags]))
    _print_metrics(artifact)
    print(f"use it: {_usage(out or path, len(member_names(artifact.tensors)))}")


def _usage(file: Path, members: int) -> str:
    """The overrides with which ``frbench run`` takes the trained networks of ``file``."""
    architecture = read_metadata(file).get("architecture")
    if architecture is None:
        return "only as this fitted defense, because the architecture comes from a file such as ONNX"
    package = package_of(architecture)
    trust = [] if package == OWN else [f"trust=[{package}]"]
    chosen = ("recognizer=trained", "recognizer") if members == 1 else ("defense=trained_ensemble", "defense")
    return shlex.join([chosen[0], f"{chosen[1]}.weights={file}", *trust])


def _output_file(out: str | None) -> Path | None:
    """The file to write, checked before hours of training. Raises ConfigError: no .safetensors file."""
    if out is None:
        return None
    path = Path(out).expanduser()
    if path.suffix != ".safetensors" or path.is_dir():
        raise ConfigError(f"out must end in .safetensors, got {out}")
    return path


def _recognizer_to_train(config: Mapping[str, Any]) -> Recognizer:
    """The recognizer to fine-tune. Raises ConfigError: it has no embeddings."""
    recognizer: Recognizer | Comparer = build.instantiate(config["recognizer"], "recognizer")
    if compares(recognizer):
        raise ConfigError(
            f"recognizer {recognizer.name} returns only similarities and cannot be fine-tuned; choose another "
            "recognizer, or a training with a network of its own"
        )
    return recognizer


def _overlap_flags(config: Mapping[str, Any], recipe: Recipe, faces: FaceSet, tested: PairSource) -> list[Flag]:
    """Flags for people and images that ``faces`` share with the test set and the validation sets.

    Raises ConfigError: they share some, and ``allow_overlap`` is false.
    """
    cache, allowed = folders.image_cache(config), config["allow_overlap"]
    sets = [tested, *(recipe.validation.values() if isinstance(recipe, HasValidationPairs) else ())]
    return sorted({flag for each in sets for flag in overlap_flags(faces, each.open(cache), allowed)})


def _print_metrics(artifact: Fitted) -> None:
    """Print the first and the last value of each training curve, and the final diagnostics."""
    for name, each in sorted(_tensors_of(artifact, "history/").items()):
        print(f"  {name:<24} {float(each[0]):.5g} -> {float(each[-1]):.5g}")
    for name, each in sorted(_tensors_of(artifact, "diagnosis/").items()):
        print(f"  final {name:<18} {' '.join(f'{number:.4g}' for number in each.flatten().tolist())}")


def _tensors_of(artifact: Fitted, prefix: str) -> Artifact:
    """The tensors whose names begin with ``prefix``, named without it."""
    return {name.removeprefix(prefix): each for name, each in artifact.tensors.items() if name.startswith(prefix)}
