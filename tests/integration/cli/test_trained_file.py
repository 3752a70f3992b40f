"""What frbench fit training=NAME wrote, as a recognizer, and what is told of other files."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.fake_services import told
from support.reference_ensembles import NET, artifact, newborn, pictures

from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.core.verifiers import CosineVerifier, lifted
from frbench.harness.recognizers.architecture_metadata import architecture_config
from frbench.harness.recognizers.architectures.tiny import TinyNet
from frbench.harness.recognizers.initialization import Architecture
from frbench.harness.recognizers.trained import Trained
from frbench.harness.recognizers.weight_files import METADATA


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "trained.safetensors"
    written(path, NET)
    return path


def written(path: Path, architecture: Architecture) -> None:
    """An artifact of two members, whose metadata name ``architecture``."""
    tensors = {name: each.clone() for name, each in artifact(2).tensors.items()}
    save_file(tensors, path, {METADATA: json.dumps({"architecture": architecture_config(architecture)})})


def test_that_a_trained_file_is_a_recognizer_for_each_member(file: Path) -> None:
    each = [Trained(str(file), member) for member in range(2)]
    for recognizer, member in zip(each, newborn(2), strict=True):
        assert torch.allclose(recognizer.embed(pictures()), member.embed(pictures()), atol=1e-4)
    assert fingerprint(each[0]) != fingerprint(each[1])
    assert fingerprint(each[0]) == fingerprint(Trained(str(file), name="mine"))
    assert isinstance(lifted(each[0]), CosineVerifier)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"member": 2}, "holds 2 trained networks and none of number 2"),
        ({"member": -1}, "none of number -1"),
        ({"weights": "nowhere.safetensors"}, "nowhere.safetensors does not exist: write it with frbench fit"),
    ],
)
def test_that_a_file_of_something_else_is_told_in_one_line(change: dict[str, Any], words: str, file: Path) -> None:
    with pytest.raises(FrbenchError, match=words) as error:
        replace(Trained(str(file)), **change).embed(pictures(1))
    told(error)


def test_that_a_network_of_another_size_is_refused_in_one_line(tmp_path: Path) -> None:
    written(tmp_path / "wide.safetensors", Architecture(partial(TinyNet, width=8, dim=16)))
    with pytest.raises(FrbenchError, match="does not fit TinyNet.*wrong shape.*write it anew") as error:
        Trained(str(tmp_path / "wide.safetensors")).embed(pictures(1))
    told(error)


def test_that_weights_that_nobody_trained_here_are_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.ones(2)}, path)
    with pytest.raises(FrbenchError, match="does not say which network it holds") as error:
        Trained(str(path)).embed(pictures(1))
    told(error)
