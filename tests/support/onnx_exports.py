"""Small networks written as ONNX files in the ways that exporters have, beside the PyTorch modules they come from."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SIDE, DIM = 32, 24


class Small(nn.Module):
    """Conv, BN, PReLU, strided conv, ReLU6, flattened, dropout, linear, BN: as ArcFace networks, in small."""

    def __init__(self, head: nn.Module | None = None, side: int = SIDE) -> None:
        super().__init__()
        self.head = head or nn.Identity()
        self.conv1, self.bn1, self.prelu = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.PReLU(8)
        self.conv2 = nn.Conv2d(8, 12, 3, 4, 1)
        self.dropout = nn.Dropout(0.4)
        self.fc, self.features = nn.Linear(12 * (side // 8) ** 2, DIM), nn.BatchNorm1d(DIM)

    def forward(self, x: Tensor) -> Any:
        x = self.prelu(self.bn1(self.conv1(self.head(x))))
        x = nn.functional.relu6(self.conv2(x))
        return self.features(self.fc(self.dropout(torch.flatten(x, 1))))


class Head(nn.Module):
    """A function as a module: scaling inside a network, or a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class FeatureAndNorm(nn.Module):
    """Gives a unit-length feature and its norm, as AdaFace and MagFace do."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raw = self.network(x)
        norm = torch.norm(raw, 2, 1, True)
        return raw / norm, norm


class Twice(nn.Module):
    """Two outputs of the same shape."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raw = self.network(x)
        return raw, raw.flip(1)


def settled(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network in evaluation mode with random weights and statistics, for which nothing cancels out."""
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.running_mean is not None:
            layer.running_mean.normal_(0, 0.2, generator=generator)
            layer.running_var.uniform_(0.5, 1.5, generator=generator)
            layer.weight.data.uniform_(0.5, 1.5, generator=generator)
            layer.bias.data.normal_(0, 0.2, generator=generator)
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            deviation = (2 / layer.weight[0].numel()) ** 0.5
            layer.weight.data.normal_(0, deviation, generator=generator)
            if layer.bias is not None:
                layer.bias.data.normal_(0, 0.1, generator=generator)
        elif isinstance(layer, nn.PReLU):
            layer.weight.data.uniform_(0.1, 0.4, generator=generator)
    return network.eval()


def export(
    network: nn.Module, path: Path, opset: int = 17, batch: int | None = None, side: int | tuple[int, int] = SIDE
) -> Path:
    """Through PyTorch's exporter; a ``batch`` is baked in, None leaves it free."""
    height, width = (side, side) if isinstance(side, int) else side
    example = torch.rand(batch or 1, 3, height, width)
    free = {} if batch else {"dynamic_axes": {"image": {0: "N"}, "embedding": {0: "N"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            copy.deepcopy(network), example, str(path), opset_version=opset, dynamo=False,
            input_names=["image"], output_names=["embedding"], **free,
        )  # fmt: skip
    return path


def changed(path: Path, change: Callable[[Any], Any]) -> Path:
    """The file with its model changed, in place or by what ``change`` gives."""
    import onnx

    model = onnx.load(str(path))
    onnx.save(change(model) or model, str(path))
    return path


def in_half(model: Any) -> None:
    """Weights, input and output in float16."""
    from onnx import TensorProto, numpy_helper

    tensors = list(model.graph.initializer)
    tensors += [entry.t for node in model.graph.node for entry in node.attribute if entry.name == "value"]
    for tensor in tensors:
        if tensor.data_type == TensorProto.FLOAT:
            half = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.elem_type = TensorProto.FLOAT16


def cast_inside(kind: int) -> Callable[[Any], None]:
    """An input of another type, cast to what the weights have."""

    def change(model: Any) -> None:
        from onnx import helper

        (image,) = model.graph.input
        own = image.type.tensor_type.elem_type
        _put_before(model, helper.make_node("Cast", ["raw"], [image.name], to=own))
        image.type.tensor_type.elem_type = kind

    return change


def channels_last(model: Any) -> None:
    """Take (N, H, W, 3), as TensorFlow's exporter does."""
    from onnx import helper

    shape = model.graph.input[0].type.tensor_type.shape
    _put_before(model, helper.make_node("Transpose", ["raw"], [model.graph.input[0].name], perm=[0, 3, 1, 2]))
    dimensions = [copy.deepcopy(shape.dim[axis]) for axis in (0, 2, 3, 1)]
    del shape.dim[:]
    shape.dim.extend(dimensions)


def _put_before(model: Any, node: Any) -> None:
    model.graph.node.insert(0, node)
    model.graph.input[0].name = "raw"


def weights_behind_identity(model: Any) -> None:
    """Every weight is read through an Identity, as PyTorch writes equal weights."""
    from onnx import helper

    names = [tensor.name for tensor in model.graph.initializer]
    for node in model.graph.node:
        for slot, name in enumerate(node.input):
            node.input[slot] = f"{name}_same" if name in names else name
    for name in names:
        model.graph.node.insert(0, helper.make_node("Identity", [name], [f"{name}_same"]))


def weights_as_constants(model: Any) -> None:
    """Every weight is a Constant node, as PaddlePaddle writes them."""
    from onnx import helper

    for tensor in model.graph.initializer:
        model.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
    del model.graph.initializer[:]


def scrambled(model: Any) -> None:
    """No name says anything."""
    known: dict[str, str] = {"": ""}

    def other(name: str) -> str:
        return known.setdefault(name, f"v{len(known) * 7919 % 10007}")

    for tensor in model.graph.initializer:
        tensor.name = other(tensor.name)
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}"
        node.input[:] = [other(name) for name in node.input]
        node.output[:] = [other(name) for name in node.output]
    for value in [*model.graph.input, *model.graph.output]:
        value.name = other(value.name)
    del model.graph.value_info[:]


def as_mxnet_wrote(network: Small, path: Path) -> Path:
    """Opset 8 of MXNet's ArcFace exports: weights among the inputs, ``spatial=0``, slopes (C,), ``_minusscalar0``."""
    import onnx
    from onnx import helper, numpy_helper

    stored: dict[str, Any] = {name: value.numpy() for name, value in network.state_dict().items()}
    stored |= {"scalar0": np.array([127.5], np.float32), "scalar1": np.array([0.0078125], np.float32)}
    node = helper.make_node
    norm = [["{}.weight", "{}.bias", "{}.running_mean", "{}.running_var"], {"epsilon": 1e-5, "spatial": 0}]

    def batch_norm(name: str, source: str, to: str) -> Any:
        return node("BatchNormalization", [source, *(part.format(name) for part in norm[0])], [to], name, **norm[1])

    first = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    nodes = [
        node("Sub", ["data", "scalar0"], ["_minusscalar0"], "_minusscalar0"),
        node("Mul", ["_minusscalar0", "scalar1"], ["_mulscalar0"], "_mulscalar0"),
        node("Conv", ["_mulscalar0", "conv1.weight"], ["conv0"], "conv0", **first),
        batch_norm("bn1", "conv0", "bn0"),
        node("PRelu", ["bn0", "prelu.weight"], ["relu0"], "relu0"),
        node("Conv", ["relu0", "conv2.weight", "conv2.bias"], ["conv1"], "conv1", **first | {"strides": [4, 4]}),
        node("Clip", ["conv1"], ["clip0"], "clip0", min=0.0, max=6.0),
        node("Dropout", ["clip0"], ["dropout0"], "dropout0", ratio=0.4),
        node("Flatten", ["dropout0"], ["flatten0"], "flatten0"),
        node("Gemm", ["flatten0", "fc.weight", "fc.bias"], ["pre_fc1"], "pre_fc1", transB=1),
        batch_norm("features", "pre_fc1", "fc1"),
    ]
    read = {name for entry in nodes for name in entry.input}
    weights = [numpy_helper.from_array(value, name) for name, value in stored.items() if name in read]
    kind = onnx.TensorProto.FLOAT
    values = [helper.make_tensor_value_info(tensor.name, kind, tensor.dims) for tensor in weights]
    image = helper.make_tensor_value_info("data", kind, [1, 3, SIDE, SIDE])
    graph = helper.make_graph(
        nodes, "mxnet", [image, *values], [helper.make_tensor_value_info("fc1", kind, [1, DIM])], weights
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 8)], ir_version=3)
    onnx.save(model, str(path))
    return path
