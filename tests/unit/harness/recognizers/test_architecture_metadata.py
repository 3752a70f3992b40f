"""Architectures in the metadata of weight files: written and read back, and refused where they could do harm."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.recognizers.architecture_metadata import architecture_config, package_of, read_architecture
from frbench.harness.recognizers.architectures.iresnet import IResNet
from frbench.harness.recognizers.architectures.mobilefacenet import MobileFaceNet
from frbench.harness.recognizers.architectures.tiny import TinyNet
from frbench.harness.recognizers.initialization import Architecture

TINY = "frbench.harness.recognizers.architectures.tiny"
FED = {"mean": 0.5, "std": 0.5, "scale": 1, "size": 112, "bgr": False}


def written(path: Path, config: Any) -> Path:
    save_file({"weight": torch.ones(1)}, path, {"frbench": json.dumps({"architecture": config})})
    return path


@pytest.mark.parametrize(
    "make",
    [partial(TinyNet, width=4, dim=16), partial(IResNet, blocks=[1, 1, 1, 1], embedding=32), MobileFaceNet],
    ids=["tiny", "iresnet", "mobilefacenet"],
)
def test_an_architecture_is_read_as_it_was_written(make: Any, tmp_path: Path) -> None:
    architecture = Architecture(make, mean=[0.1, 0.2, 0.3], std=0.25, scale=255.0, size=[112, 96], bgr=True)
    config = architecture_config(architecture)
    assert config is not None and package_of(config) == "frbench"
    found = read_architecture(written(tmp_path / "net.safetensors", config), ())
    assert found.preprocessing.facts() == architecture.preprocessing.facts()
    ours, theirs = found.module(3).network.state_dict(), architecture.module(3).network.state_dict()
    assert fingerprint(ours) == fingerprint(theirs)


class Holder(nn.Module):
    """A network that takes another object."""

    def __init__(self, part: object) -> None:
        super().__init__()


def test_a_network_that_plain_json_cannot_describe_is_left_out() -> None:
    assert architecture_config(Architecture(partial(Holder, part=object()))) is None
    assert architecture_config(Architecture(partial(TinyNet, 4, 16))) is None, "arguments without names"
    assert architecture_config(Architecture(lambda: TinyNet())) is None


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"_target_": "my_nets.Net"}, r"is outside frbench; if you trust that package, add trust=\[my_nets\]"),
        ({"_target_": "os.system", "command": "true"}, r"add trust=\[os\]"),
        ({"_target_": f"{TINY}.nn.Linear", "in_features": 1, "out_features": 1}, "is outside frbench: a module"),
        ({"_target_": "frbench.harness.core.atomic.write_atomically"}, "is not a network class of frbench"),
        ({"_target_": f"{TINY}.Tinny"}, "Tinny"),
        ({"_target_": f"{TINY}.TinyNet", "deep": 3}, "deep"),
        ({"width": 4}, "_target_"),
    ],
)
def test_a_file_that_names_no_network_is_refused_in_one_line(
    network: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "net.safetensors", {"network": network, "preprocessing": FED})
    with pytest.raises(FrbenchError, match=words) as error:
        read_architecture(path, ())
    assert "\n" not in str(error.value)


def test_a_file_without_metadata_says_how_to_go_on(tmp_path: Path) -> None:
    save_file({"members.0.weight": torch.ones(1)}, tmp_path / "old.safetensors")
    with pytest.raises(FrbenchError, match="does not say which network it holds: write it anew with frbench fit"):
        read_architecture(tmp_path / "old.safetensors", ())
