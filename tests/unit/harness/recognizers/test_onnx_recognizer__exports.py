"""Whole face networks as PyTorch exports them, attacked white-box at their own resolution."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.inception_resnet import InceptionResnetV1
from support.onnx_exports import export
from torch import nn

from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.harness.recognizers.architectures.iresnet import IResNet
from frbench.harness.recognizers.onnx_recognizer import OnnxRecognizer
from frbench.harness.recognizers.onnx_runtime import OnnxRuntimeRecognizer
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.threat_model.goals import Dodging

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

# Every kind of block, and a whole network. The newer exporter writes both networks in the same way, and takes long.
BLOCKS = {
    "InceptionResnetV1, one block of a kind": (lambda: InceptionResnetV1((1, 1, 1)), 160),
    "IR-50, few blocks of a stage": (lambda: IResNet((1, 1, 2, 1), embedding=128), 112),
}
WHOLE = {"InceptionResnetV1": (InceptionResnetV1, 160)}


def initialised(make: Callable[[], nn.Module]) -> nn.Module:
    """In evaluation mode with PyTorch's own random weights, whose equal ones its exporter writes once."""
    torch.manual_seed(0)
    network = make()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    return network.eval().requires_grad_(False)


def legacy(network: nn.Module, path: Path, side: int) -> Path:
    return export(network, path, side=side)


def dynamo(network: nn.Module, path: Path, side: int) -> Path:
    pytest.importorskip("onnxscript")
    shapes = {"x": {0: torch.export.Dim("N", min=1, max=64)}}
    torch.onnx.export(
        network, (torch.rand(2, 3, side, side),), str(path), dynamo=True, dynamic_shapes=shapes, external_data=False
    )
    return path


def weights_behind_identity(path: Path) -> int:
    model = onnx.load(str(path))
    weights = {tensor.name for tensor in model.graph.initializer}
    return sum(node.op_type == "Identity" and node.input[0] in weights for node in model.graph.node)


CASES = [
    *(pytest.param(*BLOCKS[name], legacy, id=f"{name}-legacy") for name in BLOCKS),
    pytest.param(*BLOCKS["InceptionResnetV1, one block of a kind"], dynamo, id="InceptionResnetV1-dynamo"),
    *(pytest.param(*WHOLE[name], legacy, id=name, marks=pytest.mark.slow) for name in WHOLE),
]


@pytest.mark.parametrize(("make", "side", "exporter"), CASES)
def test_an_export_is_attacked_white_box_at_its_own_resolution(
    tmp_path: Path, batch: Callable, view: Callable, make: Callable, side: int, exporter: Callable
) -> None:
    network = initialised(make)
    path = exporter(network, tmp_path / "net.onnx", side)
    assert exporter is dynamo or weights_behind_identity(path) > 5  # which onnx2torch by itself refuses
    white, black = (kind("net", str(path)) for kind in (OnnxRecognizer, OnnxRuntimeRecognizer))
    pairs = batch(count=2, size=side, same=True)
    assert white.preprocessing.height_width == (side, side)

    x = pairs.probe.clone().requires_grad_()
    wanted = nn.functional.normalize(network(x * 2 - 1))
    found = white.embed(x)
    assert (found - wanted).abs().max() < 1e-4
    assert (found - black.embed(pairs.probe)).abs().max() < 1e-4
    direction = torch.randn(found.shape, generator=torch.Generator().manual_seed(0))
    exact = nn.functional.normalize(copy.deepcopy(network).double()(x.double() * 2 - 1))
    ours, theirs, right = (
        torch.autograd.grad((embedding * direction).sum(), x)[0] for embedding in (found, wanted, exact)
    )
    # As near the gradient in double precision as the source module itself comes in single.
    assert (ours - right).norm() < 3 * (theirs - right).norm() + 1e-3 * right.norm()
    assert (ours - theirs).norm() < 0.05 * theirs.norm()

    look = view(white, count=2)
    result = ProjectedDescent(steps=2, rel_stepsize=0.75)(look, pairs, Dodging(), Linf(8 / 255))
    assert result.images.shape == (2, 3, side, side)
    with torch.no_grad():
        before, after = (look.score(images, look.enroll(pairs)) for images in (pairs.probe, result.images))
    judged = view(black, count=2)
    assert (after < before - 0.01).all()
    assert (judged.score(result.images, judged.enroll(pairs)) - after).abs().max() < 1e-3
