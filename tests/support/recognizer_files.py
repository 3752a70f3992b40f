"""What the options of conf/recognizer need from a user: weight files of seeded networks, and a service to ask."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from conftest import random_linear
from hydra.utils import instantiate
from safetensors.torch import save_file
from support import shipped_options
from support.fake_services import serving
from torch import nn

from frbench.harness.core.contracts import Images
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.recognizers.architecture_metadata import architecture_config
from frbench.harness.recognizers.initialization import drawing
from frbench.harness.recognizers.weight_files import METADATA

TINY = "frbench.harness.recognizers.architectures.tiny.TinyNet"
LARGE = 30_000_000  # parameters: a network of more is counted and not run


def photos() -> Images:
    return torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))


def small_network() -> nn.Module:
    """(N, 3, 112, 112) -> (N, 8)."""
    with drawing(0):
        layers = nn.Conv2d(3, 4, 3, 8, 1), nn.PReLU(4), nn.Flatten(), nn.Linear(784, 8)
    return nn.Sequential(*layers).eval()


def parameters(make: Callable[[], nn.Module]) -> int:
    """How many the network of ``make`` has; none of them is drawn."""
    with torch.device("meta"):
        return sum(each.numel() for each in make().parameters())


def onnx_file(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    free = {"image": {0: "n"}, "embedding": {0: "n"}}
    with warnings.catch_warnings():  # the exporter that needs no further package is deprecated
        warnings.simplefilter("ignore")
        names: dict[str, Any] = {"input_names": ["image"], "output_names": ["embedding"]}
        given = (torch.rand(1, 3, 112, 112),)
        torch.onnx.export(small_network(), given, str(path), dynamo=False, dynamic_axes=free, **names)
    return str(path)


def supplied(config: Mapping[str, Any], tiny: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """``config`` of a recognizer, with files in ``folder`` in the place of those that a user brings."""
    given = {"sha256": None} if "sha256" in config else {}
    if "path" in config:
        given["path"] = onnx_file(folder / "network.onnx")
    if "pack" in config:
        onnx_file(folder / "models" / "pack" / "network.onnx")
        given |= {"pack": "pack", "root": str(folder)}
    if "members" in config:
        given["members"] = {"a": dict(tiny), "b": {**tiny, "bgr": True}}
    if config.get("recognizer", "") is None:
        given["recognizer"] = dict(tiny)
    if "weights" in config and not config["weights"].startswith("pkg:"):
        given |= _weights(config, folder)
    return {**config, **given}


def _weights(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    file = folder / "weights"
    if "member" in config:
        return {"weights": str(_trained(file))}
    if config["architecture"] is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.script(small_network()), str(file))
        return {"weights": str(file)}
    architecture = dict(config["architecture"])
    if architecture["_target_"] == "???":
        architecture["_target_"] = TINY
    if parameters(make := instantiate(architecture, _convert_="all")) < LARGE:
        with drawing(0):
            state = make().state_dict()
        torch.save({f"{config.get('prefix', '')}{name}": value for name, value in state.items()}, file)
    return {"weights": str(file), "architecture": architecture}


def _trained(file: Path) -> Path:
    """A file as ``frbench fit`` writes it, of one network in its initial state."""
    network = shipped_options.built(shipped_options.config("network", "mobilefacenet"), "network")
    tensors = {f"members.0.{name}": value for name, value in network.module(0).network.state_dict().items()}
    save_file(tensors, file, {METADATA: json.dumps({"architecture": architecture_config(network)})})
    return file


def embeddings(thing: Any) -> dict[str, list[float]]:
    """The scores of two images for a service; of a network its number of parameters and, unless large, embeddings."""
    if hasattr(thing, "compare"):
        return {"score": thing.compare(photos(), photos().flip(0)).tolist()}
    make = getattr(thing, "architecture", None)
    counted = {"parameters": [float(parameters(make))]} if callable(make) else {}
    return counted if counted and counted["parameters"][0] > LARGE else {**counted, **described(thing.embed(photos()))}


def drawn(make: Callable[[], nn.Module], module: Callable[[int], nn.Module]) -> dict[str, list[float]]:
    """The number of parameters and, unless it is large, embeddings of ``module(0)``."""
    count = parameters(make)
    if count > LARGE:
        return {"parameters": [float(count)]}
    with torch.no_grad():
        return {"parameters": [float(count)], **described(module(0).eval()(photos()))}


def described(vectors: torch.Tensor) -> dict[str, list[float]]:
    """The first numbers of two embeddings, their mean size and their cosine."""
    unit = nn.functional.normalize(vectors.detach())
    return {
        "first": unit[:, :4].flatten().tolist(),
        "mean": unit.abs().mean(dim=1).tolist(),
        "cosine": [float((unit[0] * unit[1]).sum())],
        "dimensions": [float(vectors.shape[1])],
    }


@contextmanager
def answered(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """``config`` with the address of a service, where it has one, that is there meanwhile."""
    if "url" not in config:
        yield dict(config)
        return
    with serving(CosineVerifier(random_linear(112))) as url:
        yield {**config, "url": f"{url}/compare"}
