"""Scaling inside an ONNX graph is found by what the graph does, whatever its operators and names."""

from pathlib import Path

import pytest
import torch
from support.onnx_exports import DIM, SIDE, Head, Small, as_mxnet_wrote, changed, export, scrambled, settled
from torch import Tensor, nn

from frbench.harness.recognizers.onnx_canonical import in_one_form
from frbench.harness.recognizers.onnx_graph import read_interface, read_onnx
from frbench.harness.recognizers.onnx_normalisation import GraphNormalisation, graph_normalisation
from frbench.harness.recognizers.onnx_recognizer import OnnxRecognizer

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
GRAY, UNIT, SYMMETRIC = (0, 255), (0, 1), (-1, 1)
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def batch_norm(mean: list[float], std: list[float]) -> nn.Module:
    norm = nn.BatchNorm2d(3, eps=0)
    norm.running_mean, norm.running_var = torch.tensor(mean), torch.tensor(std) ** 2
    return norm.eval()


def pointwise(mean: float, std: float) -> nn.Module:
    """Scaling and reversed channels as a convolution, as converters from Caffe write them."""
    conv = nn.Conv2d(3, 3, 1)
    conv.weight.data = torch.eye(3).flip(0).view(3, 3, 1, 1) / std
    conv.bias.data = torch.full((3,), -mean / std)
    return conv


def per_channel(values: Tensor) -> Tensor:
    return values.view(1, 3, 1, 1)


def apart(x: Tensor) -> Tensor:
    """Each channel by itself, as in TensorFlow's graphs."""
    means = (123.68, 116.78, 103.94)
    return torch.cat([(x[:, i : i + 1] - mean) / 58 for i, mean in enumerate(means)], 1)


def resized(x: Tensor) -> Tensor:
    x = nn.functional.interpolate(x[:, :, 2:30, 2:30], size=(SIDE, SIDE), mode="bilinear")
    return x.flip(1) / 127.5 - 1


# name: (head, range it expects, mean, std, reversed)
HEADS = {
    "none": (nn.Identity(), SYMMETRIC, 0, 1, False),
    "subtracted and multiplied": (Head(lambda x: (x - 127.5) * 0.0078125), GRAY, 127.5, 128, False),
    "subtracted and divided": (Head(lambda x: (x - 127.5) / 128), GRAY, 127.5, 128, False),
    "divided": (Head(lambda x: x / 255), GRAY, 0, 255, False),
    "divided, then subtracted": (Head(lambda x: x / 127.5 - 1), GRAY, 127.5, 127.5, False),
    "the other way round": (Head(lambda x: -(127.5 - x) * 0.0078125), GRAY, 127.5, 128, False),
    "mean alone": (Head(lambda x: x - 129.2), GRAY, 129.2, 1, False),
    "ImageNet's of gray levels": (
        Head(lambda x: (x / 255 - per_channel(MEAN)) / per_channel(STD)), GRAY, MEAN * 255, STD * 255, False,
    ),
    "ImageNet's of 0 to 1": (Head(lambda x: (x - per_channel(MEAN)) / per_channel(STD)), UNIT, MEAN, STD, False),
    "of 0 to 1": (Head(lambda x: (x - 0.5) / 0.5), UNIT, 0.5, 0.5, False),
    "to gray levels and back": (Head(lambda x: (x * 255 - 127.5) / 128), UNIT, 0.5, 128 / 255, False),
    "batch norm of gray levels": (
        batch_norm([110.0, 95, 90], [62.0, 58, 57]), GRAY, torch.tensor([110.0, 95, 90]), torch.tensor([62.0, 58, 57]),
        False,
    ),
    "batch norm of -1 to 1": (batch_norm([-0.1, -0.2, -0.25], [0.5, 0.5, 0.5]), SYMMETRIC,
                              torch.tensor([-0.1, -0.2, -0.25]), 0.5, False),
    "reversed": (Head(lambda x: (x.flip(1) - 127.5) / 128), GRAY, 127.5, 128, True),
    "reversed by an index": (Head(lambda x: (x[:, [2, 1, 0]] - 127.5) / 128), GRAY, 127.5, 128, True),
    "each channel apart": (Head(apart), GRAY, torch.tensor([123.68, 116.78, 103.94]), 58, False),
    "cropped, resized, reversed": (Head(resized), GRAY, 127.5, 127.5, True),
    "a convolution of one pixel": (pointwise(127.5, 128), GRAY, 127.5, 128, True),
    "a mean image": (Head(lambda x: x - torch.full((1, 3, SIDE, SIDE), 118.0)), GRAY, 118, 1, False),
}  # fmt: skip


def found_in(path: Path) -> GraphNormalisation | None:
    model, _ = read_onnx(path)
    return graph_normalisation(in_one_form(model, read_interface(model, path)), (SIDE, SIDE))


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
def test_scaling_inside_is_found_and_the_graph_fed_accordingly(tmp_path: Path, images, head: str) -> None:
    inside, (black, white), mean, std, flipped = HEADS[head]
    network = Small(inside)
    network = settled(network) if not isinstance(inside, nn.BatchNorm2d | nn.Conv2d) else spared(network, inside)
    path = changed(export(network, tmp_path / "net.onnx"), scrambled)
    found = found_in(path)
    assert found is not None
    assert torch.tensor(found.mean).allclose(torch.as_tensor(mean, dtype=torch.float32).expand(3), atol=1e-3)
    assert torch.tensor(found.std).allclose(torch.as_tensor(std, dtype=torch.float32).expand(3), rtol=1e-4)
    assert found.reversed == flipped
    wanted = nn.functional.normalize(network(images * (white - black) + black))
    assert (OnnxRecognizer("net", str(path)).embed(images) - wanted).abs().max() < 1e-4


def spared(network: Small, inside: nn.Module) -> nn.Module:
    """Settled but for its head."""
    kept = {name: value.clone() for name, value in inside.state_dict().items()}
    settled(network)
    inside.load_state_dict(kept)
    return network


def test_the_names_of_insightfaces_rule_do_not_matter(tmp_path: Path, images) -> None:
    """Nodes named Sub and Mul that do not scale the image, and ones that do under other names."""

    def named(model) -> None:
        model.graph.node[0].name, model.graph.node[1].name = "Sub", "Mul"

    path = changed(export(settled(Small()), tmp_path / "net.onnx"), named)
    assert OnnxRecognizer("net", str(path)).preprocessing.mean == 127.5
    inside = as_mxnet_wrote(settled(Small()), tmp_path / "mxnet.onnx")
    assert found_in(inside) == GraphNormalisation((127.5,) * 3, (128.0,) * 3)
    fed = OnnxRecognizer("net", str(inside)).preprocessing
    assert (fed.mean, fed.std, fed.scale) == (0, 1, 255)


def gray(x: Tensor) -> Tensor:
    return (x * per_channel(torch.tensor([0.299, 0.587, 0.114]))).sum(1, True).expand(-1, 3, -1, -1)


UNCLEAR = {
    "channels mixed": pointwise(0, 1),
    "not affine": Head(lambda x: x * x / 255),
    "inverted": Head(lambda x: 1 - x / 255),
    "mean between two ranges": Head(lambda x: (x - 0.2) / 0.5),
}
UNCLEAR["channels mixed"].weight.data[0, 0] = 1


@pytest.mark.parametrize("head", UNCLEAR)
def test_where_unsure_the_graph_says_nothing_and_the_usual_range_is_taken(tmp_path: Path, head: str) -> None:
    network = Small(UNCLEAR[head])
    network.eval()
    path = export(network, tmp_path / "net.onnx")
    found = found_in(path)
    assert found is None or found.range is None
    fed = OnnxRecognizer("net", str(path)).preprocessing
    assert (fed.mean, fed.std) == (127.5, 127.5)


class Branches(nn.Module):
    """A network that reads the image by two ways."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = settled(Small()), settled(Small(), 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.one((x - 127.5) / 128) + self.other(x / 255)


def test_a_graph_fed_by_two_ways_says_nothing(tmp_path: Path) -> None:
    assert found_in(export(Branches(), tmp_path / "net.onnx")) is None


def test_a_norm_taken_of_each_image_is_no_fixed_scaling(tmp_path: Path) -> None:
    whiten = Head(lambda x: (x - x.mean((1, 2, 3), True)) / x.std((1, 2, 3), keepdim=True))
    found = found_in(export(settled(Small(whiten)), tmp_path / "net.onnx"))
    assert found is not None and found.identity and found.range is None


def test_auto_is_given_in_the_units_of_scale_and_each_field_can_be_set_alone(tmp_path: Path, images) -> None:
    network = settled(Small(Head(lambda x: (x - 127.5) / 128)))
    path = export(network, tmp_path / "net.onnx")
    wanted = nn.functional.normalize(network(images * 255))
    for scale in (1.0, 255.0):
        assert (OnnxRecognizer("net", str(path), scale=scale).embed(images) - wanted).abs().max() < 1e-4
    other = OnnxRecognizer("net", str(path), std=2.0).preprocessing
    assert (other.mean, other.std) == (0, 2.0)
    assert OnnxRecognizer("net", str(path)).embed(images).shape == (2, DIM)
