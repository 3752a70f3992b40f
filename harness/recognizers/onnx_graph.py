"""Reading of ONNX files: inputs and outputs of the graph, and repairs of exporters' mistakes."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from frbench.harness.core.errors import ConfigError, CorruptFile, FrbenchError
from frbench.harness.core.file_kinds import kind_of

OLDEST_OPSET = 7  # onnxruntime runs nothing older
WEIGHTS_APART = 4  # since this version of the format weights need not be graph inputs
SMALLEST_EMBEDDING = 16


def require(module: str, extra: str = "onnx") -> ModuleType:
    """Import an optional package, or say which extra brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise FrbenchError(f'{module} cannot be imported ({error}): pip install "frbench[{extra}]"') from error


@dataclass(frozen=True)
class Interface:
    """Input and output of a graph.

    input, output: names of the image and of the embedding; outputs: names of all outputs.
    batch, sides:  declared batch size and (height, width); None where free.
    channels_last: takes (N, H, W, 3) instead of (N, 3, H, W).
    dtype, half:   NumPy type of the input; whether weights have half precision.
    repaired:      whether the file was repaired; runtimes cannot run the original.
    """

    input: str
    output: str
    outputs: tuple[str, ...]
    batch: int | None
    sides: tuple[int | None, int | None]
    channels_last: bool
    dtype: np.dtype[Any]
    half: bool = False
    repaired: bool = False


def read_onnx(path: Path) -> tuple[Any, bool]:
    """The model of an ONNX file, and whether it was repaired, without which no runtime can run it.

    Raises:
        FrbenchError: the file is no ONNX model.
    """
    onnx = require("onnx")
    try:
        model = _with_shapes(onnx.load(str(path)))
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf, checker and file errors share no base
        kind = kind_of(path)
        if kind is not None and kind.form != "ONNX":
            raise CorruptFile(f"{path} is {kind.name}, not an ONNX model: {kind.remedy}") from error
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise CorruptFile(f"{path} is not a readable ONNX model ({reason}): export or copy it again") from error
    repaired = _drop_spatial(model) + _shape_slopes(model)
    if opset(model) < OLDEST_OPSET:
        model, repaired = to_opset(model, OLDEST_OPSET + 1), 1
        _shape_slopes(model)
    return model, bool(repaired)


def _with_shapes(model: Any) -> Any:
    """The model with inferred shapes, where outputs lack them or the slopes of a PReLU depend on them."""
    flat = {tensor.name for tensor in model.graph.initializer if len(tensor.dims) == 1 and tensor.dims[0] > 1}
    unclear = any(node.op_type == "PRelu" and node.input[1] in flat for node in model.graph.node)
    if unclear or any(not value.type.tensor_type.HasField("shape") for value in model.graph.output):
        return require("onnx.shape_inference").infer_shapes(model)
    return model


def read_interface(model: Any, path: Path, output: str | int | None = None, repaired: bool = False) -> Interface:
    """Input and output of the graph; ``output`` selects one of several outputs by name or index.

    Raises:
        FrbenchError: the input is not a batch of RGB images, ``output`` is unknown, or the shapes do not say which
            output is the embedding.
    """
    values = inputs(model)
    if len(values) != 1:
        names = ", ".join(f"{value.name} {_shown(value)}" for value in values) or "nothing"
        raise CorruptFile(
            f"{path} takes {names}; expected one input, a batch of images: "
            "export it again with the other inputs made constant"
        )
    (value,) = values
    kind = require("onnx.helper").tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    shape = _dimensions(value) if value.type.tensor_type.HasField("shape") else (None,) * 4
    channels_last = len(shape) == 4 and shape[3] == 3 and shape[1] != 3
    if len(shape) != 4 or not (channels_last or shape[1] in (3, None)):
        raise CorruptFile(
            f"{path} takes {value.name} {_shown(value)}; expected a batch of RGB images, (N, 3, H, W) or (N, H, W, 3): "
            "give the file of a face recognizer"
        )
    sides = shape[1:3] if channels_last else shape[2:]
    chosen = _choose_output(model, path, output)
    outputs = tuple(str(entry.name) for entry in model.graph.output)
    side = sides[0], sides[1]
    return Interface(value.name, chosen, outputs, shape[0], side, channels_last, kind, _has_half(model), repaired)


def inputs(model: Any) -> list[Any]:
    """Graph inputs that are not weights."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _has_half(model: Any) -> bool:
    """Whether weights have half precision, wherever they stand."""
    kinds = require("onnx").TensorProto
    constants = [entry.t for node in model.graph.node if node.op_type == "Constant" for entry in node.attribute]
    return any(t.data_type in (kinds.FLOAT16, kinds.BFLOAT16) for t in [*model.graph.initializer, *constants])


def opset(model: Any) -> int:
    """Version of the standard operators."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def to_opset(model: Any, version: int) -> Any:
    """A copy of the model in another version of the standard operators, by ``onnx.version_converter``.

    ``Split`` and ``Pad`` of opset 18, which it cannot take back, are passed by where they use nothing new.
    """
    onnx = require("onnx")
    copy = type(model).FromString(model.SerializeToString())
    copy.ir_version = max(copy.ir_version, WEIGHTS_APART)
    for node in copy.graph.node:
        node.domain = "frbench" if version < 18 <= opset(model) and _as_before_18(node) else node.domain
    copy.opset_import.append(onnx.helper.make_opsetid("frbench", 1))
    converted = require("onnx.version_converter").convert_version(copy, version)
    for node in converted.graph.node:
        node.domain = "" if node.domain == "frbench" else node.domain
    kept = [entry for entry in converted.opset_import if entry.domain != "frbench"]
    del converted.opset_import[:]
    converted.opset_import.extend(kept)
    return converted


def _as_before_18(node: Any) -> bool:
    if node.op_type == "Split":
        return all(attribute.name != "num_outputs" for attribute in node.attribute)
    return bool(node.op_type == "Pad" and len(node.input) < 4)


def _drop_spatial(model: Any) -> int:
    """Drop ``spatial=0`` from batch normalisation with statistics per channel, as MXNet wrote it. In place.

    It means statistics per element, which these are not; runtimes refuse it. Returns how many nodes changed.
    """
    ranks = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    changed = 0
    for node in model.graph.node:
        if node.op_type != "BatchNormalization" or ranks.get(node.input[1]) != 1:
            continue
        for attribute in [entry for entry in node.attribute if entry.name == "spatial" and entry.i == 0]:
            node.attribute.remove(attribute)
            changed += 1
    return changed


def _shape_slopes(model: Any) -> int:
    """Give PReLU slopes of shape (C,) the shape (C, 1, 1) that broadcasts over channels, as MXNet meant. In place.

    Only where they cannot be one slope per column. Returns how many nodes changed.
    """
    numpy_helper = require("onnx.numpy_helper")
    shapes = {value.name: _dimensions(value) for value in [*model.graph.value_info, *model.graph.input]}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    changed = 0
    for node in model.graph.node:
        slope = weights.get(node.input[1]) if node.op_type == "PRelu" else None
        if slope is None or len(slope.dims) != 1:
            continue
        shape = shapes.get(node.input[0], ())
        if len(shape) == 4 and slope.dims[0] == shape[1] and shape[3] not in (None, shape[1]):
            spread = numpy_helper.to_array(slope).reshape(-1, 1, 1)
            node.input[1] = f"{slope.name}_per_channel"
            if node.input[1] not in weights:
                weights[node.input[1]] = numpy_helper.from_array(spread, node.input[1])
                model.graph.initializer.append(weights[node.input[1]])
            changed += 1
    return changed


def _choose_output(model: Any, path: Path, wanted: str | int | None) -> str:
    outputs = list(model.graph.output)
    names = [str(value.name) for value in outputs]
    if wanted is not None and str(wanted) in names:
        return str(wanted)
    if isinstance(wanted, int) and 0 <= wanted < len(names):
        return names[wanted]
    listed = ", ".join(f"{index}: {value.name} {_shown(value)}" for index, value in enumerate(outputs[:8]))
    listed += ", …" if len(outputs) > 8 else ""
    if wanted is not None:
        raise ConfigError(f"{path} has no output {wanted!r}; recognizer.output= takes a name or an index of: {listed}")
    if len(names) == 1:
        return names[0]
    unknown = [value for value in outputs if not value.type.tensor_type.HasField("shape")]
    embeddings = [str(value.name) for value in outputs if _is_embedding(_dimensions(value))]
    if len(embeddings) != 1 or unknown:
        which = f"{len(embeddings)} of them have" if embeddings else "none of them has"
        remedy = "choose one with" if embeddings else "give the file of a face recognizer, or choose one with"
        raise ConfigError(
            f"{path} has {len(names)} outputs, and {which} the shape of an embedding (N, D): "
            f"{remedy} recognizer.output=NAME or its index ({listed})"
        )
    return embeddings[0]


def _is_embedding(shape: tuple[int | None, ...]) -> bool:
    """(N, D), or a map of one pixel (N, D, 1, 1), with D at least 16."""
    return len(shape) in (2, 4) and (shape[1] or 0) >= SMALLEST_EMBEDDING and all(side == 1 for side in shape[2:])


def _dimensions(value: Any) -> tuple[int | None, ...]:
    return tuple(dimension.dim_value or None for dimension in value.type.tensor_type.shape.dim)


def _shown(value: Any) -> str:
    if not value.type.tensor_type.HasField("shape"):
        return "(shape unknown)"
    dimensions = value.type.tensor_type.shape.dim
    return f"({', '.join(str(dimension.dim_value or dimension.dim_param or '?') for dimension in dimensions)})"
