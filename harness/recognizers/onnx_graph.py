"""ONNX files as people bring them: read, mended where a known habit of exporters needs it, converted to PyTorch."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from frbench.harness.errors import FrbenchError
from frbench.harness.recognizers.folding import FrozenPReLU

_LOWEST, _HIGHEST = np.float32(-np.inf), np.float32(np.inf)
_kept: list[Any] = []


def require(module: str, extra: str = "onnx") -> ModuleType:
    """Import an optional package, or say which extra brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise FrbenchError(f'{module} cannot be imported ({error}): pip install "frbench[{extra}]"') from error


def read_onnx(path: Path) -> Any:
    """The model of an ONNX file that takes one image tensor and gives at least one output."""
    onnx = require("onnx")
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf, checker and file errors share no base
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise FrbenchError(f"{path} is not a readable ONNX model ({reason}): export or download it again") from error
    shape = input_shape(model)
    if len(shape) != 4 or shape[1] not in (3, None) or shape[2] != shape[3]:
        raise FrbenchError(
            f"{path} takes {shape}, not a batch of square RGB images (N, 3, S, S): "
            "a face recognizer with channels first is wanted here"
        )
    return model


def inputs(model: Any) -> list[Any]:
    """Graph inputs that are not weights."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def input_shape(model: Any) -> tuple[int | None, ...]:
    """Declared shape of the first input; None where a dimension is free."""
    values = inputs(model)
    dimensions = values[0].type.tensor_type.shape.dim if len(values) == 1 else ()
    return tuple(dimension.dim_value or None for dimension in dimensions)


def insightface_normalisation(model: Any) -> tuple[float, float]:
    """(mean, std) in gray levels by InsightFace's rule: (0, 1) where the graph begins with its own Sub and Mul.

    Among the first eight nodes one must be named ``Sub…`` or ``_minus…`` and one ``Mul…`` or ``_mul…``; otherwise
    the network wants (x - 127.5) / 127.5.
    """
    names = [node.name for node in model.graph.node[:8]]
    inside = any(name.startswith(("Sub", "_minus")) for name in names)
    inside = inside and any(name.startswith(("Mul", "_mul")) for name in names)
    return (0.0, 1.0) if inside else (127.5, 127.5)


def fill_clip_bounds(model: Any) -> None:
    """Give ``Clip`` nodes with an omitted bound an infinite one, which converters understand. In place."""
    numpy_helper = require("onnx.numpy_helper")
    for node in model.graph.node:
        if node.op_type != "Clip" or "" not in node.input:
            continue
        for slot, bound in ((1, _LOWEST), (2, _HIGHEST)):
            if slot < len(node.input) and not node.input[slot]:
                node.input[slot] = f"frbench_clip_{'lowest' if slot == 1 else 'highest'}"
                if all(tensor.name != node.input[slot] for tensor in model.graph.initializer):
                    model.graph.initializer.append(numpy_helper.from_array(np.array(bound), node.input[slot]))


def free_batch(model: Any) -> None:
    """Undo a batch size baked in by the exporter: declared shapes, and reshapes that keep the leading dimension.

    In place. Whether the result is right is for the caller to measure: a graph may move the batch elsewhere.
    """
    numpy_helper = require("onnx.numpy_helper")
    batch = input_shape(model)[0] or 1
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    for number, node in enumerate(model.graph.node):
        shape = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if shape is None or shape.ndim != 1 or len(shape) < 2 or shape[0] != batch:
            continue
        # 0 copies the input's leading dimension.
        free = np.concatenate(([0], shape[1:])).astype(np.int64)
        node.input[1] = f"frbench_shape_{number}"
        model.graph.initializer.append(numpy_helper.from_array(free, node.input[1]))
    for value in [*inputs(model), *model.graph.output]:
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "N"
    del model.graph.value_info[:]


def to_torch(model: Any, path: Path) -> fx.GraphModule:
    """The model as a PyTorch graph through onnx2torch, in evaluation mode; gradients flow."""
    _guard_torchvision()
    onnx2torch = require("onnx2torch")
    try:
        module: fx.GraphModule = onnx2torch.convert(model).eval()
    except Exception as error:  # converters raise what they like on operators they lack
        reason = " ".join(str(error).split())[:160]
        raise FrbenchError(
            f"{path} cannot be made differentiable by onnx2torch ({reason}): "
            "use it as a black box (OnnxRuntimeRecognizer), or export it with other operators"
        ) from error
    _freeze_prelus(module)
    return module


def _freeze_prelus(module: fx.GraphModule) -> None:
    """Replace onnx2torch's PReLU of two inputs, whose backward is slow, where its slopes are one per channel."""
    for node in list(module.graph.nodes):
        layer = module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if type(layer).__name__ != "OnnxPReLU" or node.args[1].op != "get_attr":
            continue
        slope = _attribute(module, str(node.args[1].target))
        if slope.numel() not in (1, max(slope.shape[:1], default=1)):
            continue
        name = f"frozen_{node.name}"
        module.add_submodule(name, FrozenPReLU(slope))
        node.target, node.args = name, node.args[:1]
    module.graph.eliminate_dead_code()
    module.recompile()


def _attribute(module: nn.Module, target: str) -> Tensor:
    owner, _, name = target.rpartition(".")
    tensor: Tensor = getattr(module.get_submodule(owner), name)
    return tensor


def _guard_torchvision() -> None:
    """onnx2torch imports torchvision, which dies beside a CPU build of torch for want of two operators: declare them.

    Only after the import failed, and only where torch has no CUDA; nothing here ever calls them.
    """
    try:
        importlib.import_module("torchvision")
    except ImportError:
        return
    except RuntimeError as error:
        if "torchvision::" not in str(error) or torch.version.cuda is not None:
            raise FrbenchError(
                f"torchvision cannot be imported ({error}): install the torchvision that was built with this torch"
            ) from error
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(library)
