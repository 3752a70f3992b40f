"""ONNX files in the ways that exporters have: the same embeddings and gradients as the network they come from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support.onnx_exports import (
    DIM,
    SIDE,
    FeatureAndNorm,
    Head,
    Small,
    Twice,
    as_mxnet_wrote,
    cast_inside,
    changed,
    channels_last,
    export,
    in_half,
    scrambled,
    settled,
    weights_as_constants,
    weights_behind_identity,
)
from torch import Tensor, nn

from frbench.harness.core.errors import FrbenchError
from frbench.harness.recognizers.onnx_canonical import clear_allow_zero
from frbench.harness.recognizers.onnx_recognizer import OnnxRecognizer
from frbench.harness.recognizers.onnx_runtime import OnnxRuntimeRecognizer

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
FLOAT, DOUBLE, UINT8 = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.UINT8


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Whole gray levels, so that inputs of integers lose nothing."""
    return torch.rand(5, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3)).mul(255).round() / 255


def unit(raw: Tensor) -> Tensor:
    return nn.functional.normalize(raw.flatten(1))


def by_onnxruntime(path: Path, fed: Tensor, output: str = "") -> Tensor:
    """Unit embeddings by a plain session of the untouched file, one image at a time or in its own batch."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    array = fed.numpy().astype({"tensor(float16)": np.float16, "tensor(double)": float}.get(taken.type, np.float32))
    array = array.astype(np.uint8) if taken.type == "tensor(uint8)" else array
    array = array.transpose(0, 2, 3, 1) if taken.shape[3] == 3 else array
    size = taken.shape[0] if isinstance(taken.shape[0], int) else 1
    whole = np.concatenate([array, array])[: -(-len(array) // size) * size]
    parts = np.split(whole, len(whole) // size)
    names = [output or session.get_outputs()[0].name]
    raw = np.concatenate([session.run(names, {taken.name: part})[0].astype(np.float32) for part in parts])
    return unit(torch.from_numpy(raw))[: len(fed)]


def same_gradient(white: OnnxRecognizer, source: Callable[[Tensor], Tensor], images: Tensor, within: float) -> bool:
    """Whether a fixed direction of the embeddings has the source module's gradient, in relative length."""
    direction = torch.randn(len(images), DIM, generator=torch.Generator().manual_seed(1))
    found, wanted = (
        torch.autograd.grad((unit(embed(x)) * direction).sum(), x)[0]
        for embed, x in ((white.embed, images.clone().requires_grad_()), (source, images.clone().requires_grad_()))
    )
    return bool((found - wanted).norm() <= within * wanted.norm())


HABITS: dict[str, Callable[[nn.Module, Path], Path]] = {
    **{f"opset {n}": lambda network, path, n=n: export(network, path, n) for n in (7, 8, 9, 11, 13, 17, 18, 20)},
    "fixed batch": lambda network, path: export(network, path, batch=1),
    "fixed batch of 4": lambda network, path: export(network, path, batch=4),
    "fixed batch, opset 8": lambda network, path: export(network, path, 8, batch=1),
    "half": lambda network, path: changed(export(network, path), in_half),
    "half inside": lambda network, path: changed(changed(export(network, path), in_half), cast_inside(FLOAT)),
    "half as Constant": lambda network, path: changed(changed(export(network, path), in_half), weights_as_constants),
    "double input": lambda network, path: changed(export(network, path), cast_inside(DOUBLE)),
    "channels last": lambda network, path: changed(export(network, path), channels_last),
    "channels last, batch of 1, half": lambda network, path: changed(
        changed(export(network, path, batch=1), in_half), channels_last
    ),
    "feature and norm": lambda network, path: export(FeatureAndNorm(network), path),
    "feature and norm, opset 8": lambda network, path: export(FeatureAndNorm(network), path, 8),
    "weights behind Identity": lambda network, path: changed(export(network, path), weights_behind_identity),
    "weights as Constant": lambda network, path: changed(export(network, path), weights_as_constants),
    "names that say nothing": lambda network, path: changed(export(network, path), scrambled),
}


@pytest.mark.filterwarnings("ignore:FixedBatch is used unfolded")
@pytest.mark.parametrize("habit", HABITS)
def test_every_habit_gives_the_embeddings_and_gradients_of_its_source(tmp_path: Path, images, habit: str) -> None:
    network = settled(Small())
    path = HABITS[habit](network, tmp_path / "net.onnx")
    fed = images * 2 - 1
    within = 5e-3 if "half" in habit else 1e-4
    wanted = unit(network(fed)).detach()
    assert (by_onnxruntime(path, fed) - wanted).abs().max() < within
    white, black = (kind("net", str(path)) for kind in (OnnxRecognizer, OnnxRuntimeRecognizer))
    assert (white.embed(images) - wanted).abs().max() < within
    assert (black.embed(images) - wanted).abs().max() < within
    assert same_gradient(white, lambda x: network(x * 2 - 1), images, 10 * within)


def test_an_input_of_gray_levels_as_integers_is_white_box_too(tmp_path: Path, images) -> None:
    network = settled(Small(Head(lambda x: (x - 127.5) / 128)))
    path = changed(export(network, tmp_path / "net.onnx"), cast_inside(UINT8))
    white, black = (kind("net", str(path)) for kind in (OnnxRecognizer, OnnxRuntimeRecognizer))
    wanted = by_onnxruntime(path, images * 255)
    assert (white.embed(images) - wanted).abs().max() < 1e-4
    assert (black.embed(images) - wanted).abs().max() < 1e-4
    assert same_gradient(white, lambda x: network(x * 255), images, 1e-3)


@pytest.mark.filterwarnings("ignore:FixedBatch is used unfolded")
def test_mxnets_arcface_exports_which_no_runtime_takes_as_they_are(tmp_path: Path, images) -> None:
    network = settled(Small())
    path = as_mxnet_wrote(network, tmp_path / "r100.onnx")
    with pytest.raises(Exception, match="scale|slope|PRelu|BatchNorm"):
        by_onnxruntime(path, images)
    wanted = unit(network((images * 255 - 127.5) / 128)).detach()
    for kind in (OnnxRecognizer, OnnxRuntimeRecognizer):
        assert (kind("net", str(path)).embed(images) - wanted).abs().max() < 1e-4
    assert same_gradient(OnnxRecognizer("net", str(path)), lambda x: network((x * 255 - 127.5) / 128), images, 1e-3)


def one_line(error: pytest.ExceptionInfo[FrbenchError], *parts: str) -> bool:
    text = str(error.value)
    return "\n" not in text and len(text) < 700 and all(part in text for part in parts)


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence", "ignore:FixedBatch is used unfolded")
@pytest.mark.parametrize("kind", [OnnxRecognizer, OnnxRuntimeRecognizer])
def test_of_two_outputs_of_one_shape_the_user_chooses(tmp_path: Path, images, kind) -> None:
    network = settled(Small())
    path = export(Twice(network), tmp_path / "net.onnx", batch=1)
    names = [value.name for value in onnx.load(str(path)).graph.output]
    with pytest.raises(FrbenchError) as error:
        kind("net", str(path)).embed(images)
    assert one_line(error, "2 outputs", "recognizer.output=", f"0: {names[0]} (1, {DIM})", f"1: {names[1]} (1, {DIM})")
    wanted = unit(network(images * 2 - 1)).detach()
    for output in (0, names[0]):
        assert (kind("net", str(path), output=output).embed(images) - wanted).abs().max() < 1e-4
    for output in (1, names[1]):
        assert (kind("net", str(path), output=output).embed(images) - wanted.flip(1)).abs().max() < 1e-4
    assert kind("a", str(path), output=0).fingerprint() == kind("a", str(path), output=names[0]).fingerprint()
    assert kind("a", str(path), output=0).fingerprint() != kind("a", str(path), output=1).fingerprint()
    for output in (2, -1, "norm"):
        with pytest.raises(FrbenchError) as error:
            kind("net", str(path), output=output).embed(images)
        assert one_line(error, "no output", str(output), names[0])


def test_an_output_whose_name_is_a_number_is_chosen_by_it(tmp_path: Path, images) -> None:
    def renamed(model) -> None:
        first = model.graph.output[0].name
        for node in model.graph.node:
            node.output[:] = ["683" if name == first else name for name in node.output]
            node.input[:] = ["683" if name == first else name for name in node.input]
        model.graph.output[0].name = "683"

    network = settled(Small())
    path = changed(export(Twice(network), tmp_path / "net.onnx"), renamed)
    wanted = unit(network(images * 2 - 1)).detach()
    assert (OnnxRecognizer("net", str(path), output=683).embed(images) - wanted).abs().max() < 1e-4


class Rare(nn.Module):
    """A network with one more layer in the middle."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.conv, self.layer, self.fc = nn.Conv2d(3, 8, 3, 4, 1), layer, nn.Linear(8, DIM)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layer(self.conv(x)).mean((2, 3)))


class MaxGate(nn.Module):
    """Attention from the largest activations, as in CBAM."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(nn.functional.adaptive_max_pool2d(x, 1))


RARE = {
    "GlobalMaxPool": MaxGate(),
    "Gelu": nn.GELU(),
    "Mish": nn.Mish(),
    "GroupNormalization": nn.GroupNorm(4, 8),
    "Pad": nn.ReflectionPad2d(1),
    "ReduceL2": Head(lambda x: nn.functional.normalize(x, dim=1)),
    "Split": Head(lambda x: torch.cat([x.split([2, 6], 1)[1], x.split([2, 6], 1)[0]], 1)),
}


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
@pytest.mark.parametrize("opset", [11, 20])
@pytest.mark.parametrize("layer", RARE)
def test_operators_that_onnx2torch_lacks_are_written_in_others(tmp_path: Path, images, layer: str, opset: int) -> None:
    network = settled(Rare(RARE[layer]))
    path = export(network, tmp_path / "net.onnx", opset)
    white = OnnxRecognizer("net", str(path))
    assert (white.embed(images) - unit(network(images * 2 - 1))).abs().max() < 1e-4
    assert same_gradient(white, lambda x: network(x * 2 - 1), images, 1e-3)


def test_unit_length_inside_as_older_exporters_write_it(tmp_path: Path, images) -> None:
    def normalised(model) -> None:
        name = model.graph.output[0].name
        model.graph.node.append(onnx.helper.make_node("LpNormalization", [name], ["unit"], axis=1, p=2))
        model.graph.output[0].name = "unit"

    network = settled(Small())
    path = changed(export(network, tmp_path / "net.onnx", 9), normalised)
    white = OnnxRecognizer("net", str(path))
    assert (white.embed(images) - unit(network(images * 2 - 1))).abs().max() < 1e-4
    assert same_gradient(white, lambda x: network(x * 2 - 1), images, 1e-3)


def test_a_network_in_integers_is_a_black_box_and_the_error_names_what_has_no_gradient(tmp_path: Path, images) -> None:
    def quantised(model) -> None:
        name, graph = model.graph.output[0].name, model.graph
        for label, value in (("step", np.float32(0.05)), ("zero", np.int8(0))):
            graph.initializer.append(onnx.numpy_helper.from_array(np.array(value), label))
        graph.node.append(onnx.helper.make_node("QuantizeLinear", [name, "step", "zero"], ["integers"]))
        graph.node.append(onnx.helper.make_node("DequantizeLinear", ["integers", "step", "zero"], ["rounded"]))
        graph.output[0].name = "rounded"

    path = changed(export(settled(Small()), tmp_path / "net.onnx"), quantised)
    with pytest.raises(FrbenchError) as error:
        OnnxRecognizer("net", str(path)).embed(images)
    assert one_line(error, "net.onnx", "no DequantizeLinear, QuantizeLinear", "OnnxRuntimeRecognizer")
    assert OnnxRuntimeRecognizer("net", str(path)).embed(images).shape == (5, DIM)


def _two_inputs(model) -> None:
    model.graph.input.append(onnx.helper.make_tensor_value_info("phase_train", onnx.TensorProto.BOOL, []))


def test_a_second_input_is_named(tmp_path: Path, images) -> None:
    path = changed(export(settled(Small()), tmp_path / "net.onnx"), _two_inputs)
    with pytest.raises(FrbenchError) as error:
        OnnxRecognizer("net", str(path)).embed(images)
    assert one_line(error, "phase_train ()", "image (N, 3, 32, 32)", "one input")


def test_a_size_that_the_file_does_not_take_is_refused(tmp_path: Path, images) -> None:
    path = export(settled(Small()), tmp_path / "net.onnx")
    with pytest.raises(FrbenchError) as error:
        OnnxRecognizer("net", str(path), size=112).embed(images)
    assert one_line(error, "height 32 and width 32", "recognizer.size=112")


@pytest.mark.parametrize("habit", ["opset 8", "channels last"])
def test_an_input_that_is_not_square_is_taken_as_declared(tmp_path: Path, habit: str) -> None:
    network = settled(Rare(nn.Identity()))
    path = export(network, tmp_path / "net.onnx", 8 if habit == "opset 8" else 17, side=(32, 24))
    path = changed(path, channels_last) if habit == "channels last" else path
    images = torch.rand(3, 3, 32, 24, generator=torch.Generator().manual_seed(0))
    white, black = (kind("net", str(path)) for kind in (OnnxRecognizer, OnnxRuntimeRecognizer))
    assert white.preprocessing.height_width == (32, 24)
    wanted = unit(network(images * 2 - 1))
    assert (white.embed(images) - wanted).abs().max() < 1e-4
    assert (black.embed(images) - wanted).abs().max() < 1e-4
    assert same_gradient(white, lambda x: network(x * 2 - 1), images, 1e-3)


@pytest.mark.parametrize(("sizes", "kept"), [([2, -1], 0), ([0, 3], 1)])
def test_that_allowzero_is_cleared_where_it_changes_nothing(sizes: list[int], kept: int) -> None:
    helper = onnx.helper
    shape = onnx.numpy_helper.from_array(np.array(sizes, np.int64), "shape")
    node = helper.make_node("Reshape", ["x", "shape"], ["y"], allowzero=1)
    graph = helper.make_graph([node], "reshape", [], [], [shape])
    model = helper.make_model(graph)
    clear_allow_zero(model)
    assert len(model.graph.node[0].attribute) == kept
