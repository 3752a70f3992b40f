"""The normalization that an ONNX graph applies to its own input, read from its first operators."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from frbench.harness.recognizers.onnx_graph import inputs, require

# Operators that leave every pixel apart from the others, or only crop, pad and resize.
_HEAD = {
    *("Identity", "Dropout", "Cast", "Add", "Sub", "Mul", "Div", "Neg", "Sum", "BatchNormalization"),
    *("Transpose", "Gather", "Slice", "Split", "Concat", "Squeeze", "Unsqueeze"),
    *("Shape", "Resize", "Upsample", "Pad", "Expand"),
}
# (black, white) of the ranges in which graphs take images.
GRAY_LEVELS, UNIT, SYMMETRIC = (0.0, 255.0), (0.0, 1.0), (-1.0, 1.0)
# Mean and deviation of the pixels of aligned faces, from 0 to 1.
_FACES_MEAN, _FACES_DEVIATION = 0.45, 0.25
_LEVEL = 100.0


@dataclass(frozen=True)
class GraphNormalisation:
    """What a graph does to each channel of its input first: ``(x - mean) / std``.

    mean, std: one per input channel, in the units of the input; 0 and 1 where the graph does nothing.
    reversed:  whether it goes on with the channels in reversed order.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    reversed: bool = False

    @property
    def identity(self) -> bool:
        """Whether values stay as they are."""
        return bool(np.allclose(self.mean, 0, atol=1e-6) and np.allclose(self.std, 1))

    @property
    def range(self) -> tuple[float, float] | None:
        """(black, white) of the images that the graph expects: the range in which it standardises faces.

        None where it does nothing, or where two ranges are possible.
        """
        mean, std = float(np.mean(self.mean)), float(np.mean(self.std))
        found = []
        for black, white in (GRAY_LEVELS, UNIT, SYMMETRIC):
            centre = black + (white - black) * _FACES_MEAN
            spread = (white - black) * _FACES_DEVIATION
            if 0.1 <= spread / std <= 100:
                found.append((abs(centre - mean) / spread, (black, white)))
        found.sort()
        # How far off centre faces would be, in deviations; x / 255 alone leaves them 1.8 off.
        clear = found and found[0][0] <= 2.2 and (len(found) == 1 or found[1][0] - found[0][0] >= 0.6)
        return found[0][1] if clear and not self.identity else None


def graph_normalisation(model: Any, sides: tuple[int, int] = (112, 112)) -> GraphNormalisation | None:
    """What ``model``, in one form (see ``onnx_mending``), does to images of (height, width) ``sides`` at first.

    The operators that follow the input are run on images of one colour. None where they mix pixels or channels, are
    not affine, or feed the network by several ways.
    """
    head, ends = _head(model)
    if not head:
        return GraphNormalisation((0.0,) * 3, (1.0,) * 3)
    colours = np.vstack([np.zeros(3), _LEVEL * np.eye(3), [40.0, 90.0, 200.0]])
    answers = _answers(model, head, ends, colours, sides)
    return None if answers is None else _affine(colours, answers)


def _affine(colours: np.ndarray[Any, Any], answers: np.ndarray[Any, Any]) -> GraphNormalisation | None:
    """The normalisation that turns ``colours`` (5, 3) into ``answers`` (5, C)."""
    black = answers[0]
    gains = (answers[1:4] - black).T / _LEVEL  # (C, 3)
    size = np.abs(gains).max()
    linear = np.allclose(colours[4] @ gains.T + black, answers[4], rtol=1e-3, atol=size * _LEVEL * 1e-3)
    if not linear or not size > 0:
        return None
    source = np.abs(gains).argmax(axis=1)
    gain = gains[np.arange(len(gains)), source]
    mixed = np.count_nonzero(np.abs(gains) > 1e-4 * size) != len(gains)
    order = source[:3].tolist()
    if mixed or sorted(order) != [0, 1, 2] or (gain <= 0).any():
        return None
    # Further channels out are the same three elsewhere, where pixels become channels.
    first = [order.index(channel) for channel in range(3)]
    mean, std = -black[first] / gain[first] + 0.0, 1 / gain[first]
    return GraphNormalisation(tuple(mean.tolist()), tuple(std.tolist()), order == [2, 1, 0])


def _head(model: Any) -> tuple[list[Any], list[str]]:
    """The nodes that reach the image only through ``_HEAD``, and the values that the others read of them."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    reached = {value.name for value in inputs(model)}
    head, ends = [], []
    for node in model.graph.node:
        read = [name for name in node.input if name in reached]
        known = all(name in reached or name in weights for name in node.input if name)
        if read and known and (node.op_type in _HEAD or _recolours(node, weights)):
            head.append(node)
            reached.update(node.output)
        else:
            ends += read
    return head, list(dict.fromkeys(ends))


def _recolours(node: Any, weights: dict[str, Any]) -> bool:
    """Whether a convolution only scales or swaps the three channels."""
    if node.op_type != "Conv" or node.input[1] not in weights or weights[node.input[1]].dims[:1] != [3]:
        return False
    kernel = require("onnx.numpy_helper").to_array(weights[node.input[1]])
    strides = [size for entry in node.attribute if entry.name == "strides" for size in entry.ints]
    alone = (np.count_nonzero(kernel.reshape(3, -1), axis=1) == 1).all()
    return bool(kernel.shape[2:] == (1, 1) and alone and set(strides) <= {1})


def _answers(
    model: Any, head: list[Any], ends: list[str], colours: np.ndarray[Any, Any], sides: tuple[int, int]
) -> np.ndarray[Any, Any] | None:
    """(len(colours), C): the centre of what the head gives on images of one colour; None where it gives several."""
    onnx = require("onnx")
    (image,) = inputs(model)
    names = [f"frbench_end_{number}" for number in range(len(ends))]
    nodes = [*head, *(onnx.helper.make_node("Identity", [end], [name]) for end, name in zip(ends, names, strict=True))]
    outputs = [onnx.ValueInfoProto(name=name) for name in names]
    read = {name for node in head for name in node.input}
    weights = [tensor for tensor in model.graph.initializer if tensor.name in read]
    graph = onnx.helper.make_graph(nodes, "head", [image], outputs, weights)
    alone = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    shape = image.type.tensor_type.shape.dim
    batch = (shape[0].dim_value if shape else 0) or 1
    images = [np.broadcast_to(c.astype(np.float32).reshape(1, 3, 1, 1), (batch, 3, *sides)) for c in colours]
    try:
        run = _runner(alone)
        results = [run({image.name: np.ascontiguousarray(pixels)}) for pixels in images]
    except Exception:  # a head that no runtime runs by itself says nothing
        return None
    moving = [values for values in zip(*results, strict=True) if not np.array_equal(values[0], values[-1])]
    if len(moving) != 1 or moving[0][0].ndim != 4:
        return None
    centres = [value[0, :, value.shape[2] // 2, value.shape[3] // 2] for value in moving[0]]
    if moving[0][0].shape[3] < moving[0][0].shape[1]:  # channels last
        centres = [value[0, value.shape[1] // 2, value.shape[2] // 2] for value in moving[0]]
    return np.array(centres, np.float64) if len(centres[0]) % 3 == 0 else None


def _runner(model: Any) -> Any:
    """Runs a small graph by onnxruntime, or where that is missing by onnx itself."""
    if find_spec("onnxruntime") is None:
        evaluator = require("onnx.reference").ReferenceEvaluator(model)
        return lambda values: evaluator.run(None, values)
    onnxruntime = require("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda values: session.run(None, values)
