"""ONNX graphs as PyTorch networks, through onnx2torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from frbench.harness.core.errors import ConfigError, FrbenchError
from frbench.harness.recognizers.batchnorm_folding import FrozenPReLU
from frbench.harness.recognizers.onnx_canonical import fill_clip_bounds, fold_constants
from frbench.harness.recognizers.onnx_graph import require, to_opset

BEST_OPSET = 17  # the newest that onnx2torch knows as a whole
BLACK_BOX = "use it as a black box (recognizer._target_=frbench.harness.recognizers.onnx_runtime.OnnxRuntimeRecognizer)"
_kept: list[Any] = []


def to_torch(model: Any, path: Path) -> fx.GraphModule:
    """A model in one form (see ``onnx_mending``) as a PyTorch graph, in evaluation mode; gradients flow.

    Raises:
        FrbenchError: onnx2torch lacks an operator, or cannot convert one as it is used here.
    """
    _guard_torchvision()
    onnx2torch = require("onnx2torch")
    model = _convertible(model, path)
    fill_clip_bounds(model)
    try:
        module: fx.GraphModule = onnx2torch.convert(model).eval()
    except Exception as error:  # converters raise what they like on uses of an operator that they lack
        reason = " ".join(str(error).split())[:160]
        raise ConfigError(
            f"{path} cannot be made differentiable by onnx2torch ({reason}): "
            f"{BLACK_BOX}, or export it with other operators"
        ) from error
    _freeze_prelus(module)
    return module


def _convertible(model: Any, path: Path) -> Any:
    """The model, rewritten only as far as necessary for onnx2torch to know every operator."""
    steps: tuple[Callable[[Any], Any], ...] = (_lift, _decompose, _inline, _lift, _inline)
    for step in steps:
        if not _lacking(model):
            return model
        model = step(model)
    if lacking := _lacking(model):
        raise ConfigError(
            f"{path} cannot be made differentiable, since onnx2torch has no {', '.join(sorted(lacking))}: "
            f"{BLACK_BOX}, or export it with other operators"
        )
    return model


def _lacking(model: Any) -> set[str]:
    """Operators that onnx2torch does not know in the version of the model."""
    get_converter = require("onnx2torch.node_converters").get_converter
    versions = {entry.domain.replace("ai.onnx", "", 1): entry.version for entry in model.opset_import}
    lacking = set()
    for node in model.graph.node:
        try:
            get_converter(domain=node.domain, operation_type=node.op_type, version=versions.get(node.domain, 1))
        except NotImplementedError:
            lacking.add(f"{node.domain}.{node.op_type}".lstrip("."))
    return lacking


def _lift(model: Any) -> Any:
    """The model in the opset that onnx2torch knows best; unchanged where onnx cannot convert it."""
    try:
        lifted = to_opset(model, BEST_OPSET)
    except Exception:  # an operator without an adapter: what onnx2torch lacks is named in the end
        return model
    fold_constants(lifted)
    return lifted


def _decompose(model: Any) -> Any:
    """The model with two operators of older exporters written in others."""
    helper = require("onnx.helper")
    nodes = []
    for node in model.graph.node:
        given = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        if node.op_type == "GlobalMaxPool":
            nodes.append(helper.make_node("ReduceMax", node.input, node.output, axes=[2, 3], keepdims=1))
        elif node.op_type == "LpNormalization":
            norm = f"{node.output[0]}_norm"
            kind = "ReduceL1" if given.get("p", 2) == 1 else "ReduceL2"
            nodes.append(helper.make_node(kind, node.input, [norm], axes=[given.get("axis", -1)], keepdims=1))
            nodes.append(helper.make_node("Div", [node.input[0], norm], node.output))
        else:
            nodes.append(node)
    copied = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copied)
    return model


def _inline(model: Any) -> Any:
    """The model with what onnx2torch lacks written in simpler operators, where ONNX defines it by such."""
    onnx, inliner = require("onnx"), require("onnx.inliner")
    wanted = [("", name) for name in {*_lacking(model), "CastLike"}]  # which the definitions of others use
    try:
        typed = onnx.shape_inference.infer_shapes(model)
        inlined = inliner.inline_selected_functions(typed, wanted, inline_schema_functions=True)
    except Exception:  # an older onnx without that option, or an operator whose types it cannot tell
        return model
    fold_constants(inlined)
    return inlined


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
