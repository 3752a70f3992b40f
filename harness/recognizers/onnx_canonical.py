"""An ONNX graph in one form, whatever its exporter: float32, channels first, one output, constants as weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from frbench.harness.recognizers.onnx_graph import Interface, inputs, require

_LOWEST, _HIGHEST = np.float32(-np.inf), np.float32(np.inf)
_RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")


def in_one_form(model: Any, interface: Interface) -> Any:
    """The model, changed in place, takes float32 (N, 3, H, W) and gives ``interface.output`` alone, as float32.

    Half and double precision become single, an input of gray levels in uint8 becomes float, functions of the file are
    inlined, and what depends on no input becomes a weight.
    """
    if model.functions:
        model = require("onnx.inliner").inline_local_functions(model)
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in [value for value in model.graph.input if value.name in weights]:
        model.graph.input.remove(value)
    widen(model)
    keep_output(model, interface.output)
    fold_constants(model)
    clear_allow_zero(model)
    drop_unused(model)
    if interface.channels_last:
        transpose_input(model)
    return model


def widen(model: Any) -> None:
    """Make every floating-point number float32, and the input too. In place."""
    onnx, numpy_helper = require("onnx"), require("onnx.numpy_helper")
    kinds = onnx.TensorProto
    wide, others = kinds.FLOAT, (kinds.FLOAT16, kinds.BFLOAT16, kinds.DOUBLE)

    def widened(tensor: Any) -> None:
        if tensor.data_type in others:
            array = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    for tensor in model.graph.initializer:
        widened(tensor)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                widened(attribute.t)
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i in others:
                attribute.i = wide
    for value in [*model.graph.output, *inputs(model)]:
        if value in inputs(model) or value.type.tensor_type.elem_type in others:
            value.type.tensor_type.elem_type = wide
    del model.graph.value_info[:]


def keep_output(model: Any, name: str) -> None:
    """Give one output alone. In place."""
    helper = require("onnx.helper")
    for value in [value for value in model.graph.output if value.name != name]:
        model.graph.output.remove(value)
    producer = next((node for node in model.graph.node if name in node.output), None)
    if producer is not None and len(producer.output) > 1:  # onnx2torch would give all of them
        model.graph.node.append(helper.make_node("Identity", [name], [f"{name}_alone"]))
        model.graph.output[0].name = f"{name}_alone"


def fold_constants(model: Any) -> None:
    """Replace every node whose inputs are all constant by its value, as a weight. In place."""
    numpy_helper = require("onnx.numpy_helper")
    known = {tensor.name: tensor for tensor in model.graph.initializer}
    given = set(known)
    same: dict[str, str] = {}
    kept: list[Any] = []
    outputs = {value.name for value in model.graph.output}
    for node in model.graph.node:
        for slot, name in enumerate(node.input):
            node.input[slot] = same.get(name, name)
        if node.op_type == "Identity" and node.output[0] not in outputs:
            same[node.output[0]] = node.input[0]
        elif (values := _value(model, node, known)) is not None:
            known |= {
                name: numpy_helper.from_array(value, name) for name, value in zip(node.output, values, strict=False)
            }
        else:
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    model.graph.initializer.extend(tensor for name, tensor in known.items() if name not in given)


def _value(model: Any, node: Any, known: dict[str, Any]) -> list[np.ndarray[Any, Any]] | None:
    """Outputs of a node of constant inputs; None where it is none, or cannot be worked out here."""
    onnx = require("onnx")
    names = [name for name in node.input if name]
    constant = node.op_type == "Constant" or (names and all(name in known for name in names))
    if not constant or node.op_type in _RANDOM or any(entry.g.node for entry in node.attribute):
        return None
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    graph = onnx.helper.make_graph([node], "constant", [], outputs, [known[name] for name in dict.fromkeys(names)])
    alone = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    try:
        values = require("onnx.reference").ReferenceEvaluator(alone).run(None, {})
    except Exception:  # an operator that the evaluator lacks stays where it is
        return None
    return [np.asarray(value) for value in values]


def drop_unused(model: Any) -> None:
    """Remove nodes and weights that no output reads. In place."""
    needed = {value.name for value in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
            for attribute in node.attribute:  # the bodies of branches and loops read what stands outside
                needed.update(name for inner in attribute.g.node for name in inner.input)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
    weights = model.graph.initializer
    for index in reversed([index for index, tensor in enumerate(weights) if tensor.name not in needed]):
        del weights[index]


def transpose_input(model: Any) -> None:
    """Take (N, 3, H, W) instead of (N, H, W, 3). In place."""
    helper = require("onnx.helper")
    (value,) = inputs(model)
    name, dimensions = value.name, list(value.type.tensor_type.shape.dim)
    value.name = f"{name}_channels_first"
    del value.type.tensor_type.shape.dim[:]
    value.type.tensor_type.shape.dim.extend([dimensions[axis] for axis in (0, 3, 1, 2)])
    model.graph.node.insert(0, helper.make_node("Transpose", [value.name], [name], perm=[0, 2, 3, 1]))


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


def clear_allow_zero(model: Any) -> None:
    """Clear ``allowzero`` of ``Reshape`` nodes, which converters lack, where no size is a constant 0. In place.

    PyTorch's newer exporter sets it everywhere. It only decides whether a size of 0 is an empty dimension or copies the
    input's; a computed size is 0 for an empty batch alone.
    """
    numpy_helper = require("onnx.numpy_helper")
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        sizes = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if node.op_type == "Reshape" and (sizes is None or numpy_helper.to_array(sizes).all()):
            kept = [attribute for attribute in node.attribute if attribute.name != "allowzero"]
            del node.attribute[:]
            node.attribute.extend(kept)


def free_batch(model: Any) -> None:
    """Undo a batch size baked in by the exporter: declared shapes, and reshapes that keep the leading dimension.

    In place. Whether the result is right is for the caller to measure: a graph may move the batch elsewhere.
    """
    numpy_helper = require("onnx.numpy_helper")
    (image,) = inputs(model)
    shape = image.type.tensor_type.shape.dim
    batch = (shape[0].dim_value if shape else 0) or 1
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for number, node in enumerate(model.graph.node):
        stored = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if stored is None or len(stored.dims) != 1 or stored.dims[0] < 2:
            continue
        sizes = numpy_helper.to_array(stored)
        if sizes[0] == batch:
            # 0 copies the input's leading dimension.
            free = np.concatenate(([0], sizes[1:])).astype(np.int64)
            node.input[1] = f"frbench_shape_{number}"
            model.graph.initializer.append(numpy_helper.from_array(free, node.input[1]))
    for value in [image, *model.graph.output]:
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "N"
    del model.graph.value_info[:]
