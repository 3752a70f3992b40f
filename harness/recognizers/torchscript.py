"""Networks from TorchScript archives, which bring code with them.

That code is not Python: the TorchScript interpreter runs it, and reaches as far as its operators. Nor does Python
unpickle anything: ``torch.jit.load`` reads the archive's pickles with a reader of its own, which makes tensors, plain
values and TorchScript objects. The rest is refused here: operators that open files (``aten::save``,
``aten::from_file``), operators outside PyTorch's own (``prim``, ``aten``), and code that runs while the archive is
loaded (``__setstate__``), which is looked for beforehand. PyTorch does not promise that its reader withstands a forged
file: from a stranger, a state dict in safetensors is safer.
"""

from __future__ import annotations

import copy
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from frbench.harness.core.errors import CorruptFile
from frbench.harness.core.file_kinds import is_torchscript
from frbench.harness.recognizers.weight_files import unreadable

_TENSORS = ("aten", "prim")
_FILES = ("aten::save", "aten::from_file")
_SAFER = "export the network as ONNX, or save its state_dict() and name its architecture"


class Scripted(nn.Module):
    """A TorchScript network as one that can be frozen, copied and moved like any other."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Any:
        return self.network(x)

    def __deepcopy__(self, memo: dict[int, Any]) -> Scripted:
        with torch.no_grad():  # else PyTorch's copies are results of an operation, and cannot be frozen
            return Scripted(copy.deepcopy(self.network, memo))


def read_torchscript(path: Path) -> Scripted:
    """The network of a TorchScript archive, on the CPU.

    Raises FrbenchError: the file is none, or its code does more than compute with tensors.
    """
    if not is_torchscript(path):
        raise unreadable(path, "a TorchScript archive", ValueError("it has no code"), forms=("TorchScript",))
    _refuse_loading_code(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit is deprecated, and archives are still about
            network = torch.jit.load(str(path), map_location="cpu")
    except Exception as error:  # by how the file is broken, or from which PyTorch it comes
        raise unreadable(path, "a TorchScript archive", error, forms=("TorchScript",)) from error
    foreign = sorted({kind for kind in _operators(network.inlined_graph) if not _computes(kind)})
    if foreign:
        raise CorruptFile(
            f"{path} runs {', '.join(foreign[:3])}, expected operators that compute with tensors alone: {_SAFER}"
        )
    return Scripted(network)


def _refuse_loading_code(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".py") and b"__setstate__" in archive.read(name):
                raise CorruptFile(
                    f"{path} has code that runs while the archive is loaded (__setstate__, as quantised layers do), "
                    f"expected a network of plain layers: {_SAFER}"
                )


def _operators(block: Any) -> Iterator[str]:
    """The operators of a graph with all its calls written out; ``::`` alone for one that hides another graph."""
    for node in block.nodes():
        yield "::" if node.hasAttribute("Subgraph") else node.kind()
        for inner in node.blocks():
            yield from _operators(inner)


def _computes(kind: str) -> bool:
    hidden = kind in ("prim::CallMethod", "prim::CallFunction")
    return kind.split("::")[0] in _TENSORS and kind not in _FILES and not hidden
