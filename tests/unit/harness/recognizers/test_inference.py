"""A prepared network is the same network: folded, frozen, quicker, with the same embeddings and gradients."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image
from torch import nn
from torch.nn import functional

from frbench.harness.config import build
from frbench.harness.core.errors import FrbenchError
from frbench.harness.recognizers.architectures.iresnet import IResNet
from frbench.harness.recognizers.architectures.mobilefacenet import MobileFaceNet, PreluMobileFaceNet
from frbench.harness.recognizers.batchnorm_folding import FrozenPReLU, simplify
from frbench.harness.recognizers.inference import Prepared, SmallBatches, prepare, resolve_device
from frbench.harness.recognizers.preprocessing import Preprocessing, unit_length


def lived_in(network: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights and running statistics, as after training: fresh ones make normalisation a no-op."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if name.endswith("running_mean") or (name.endswith("bias") and value.ndim == 1):
            value.copy_(torch.randn(value.shape, generator=generator) * 0.2)
        elif name.endswith("running_var") or (name.endswith("weight") and value.ndim == 1):
            value.copy_(torch.rand(value.shape, generator=generator) * 0.8 + 0.6)
    return network.eval()


def count(network: nn.Module, *kinds: type) -> int:
    return sum(isinstance(layer, kinds) for layer in network.modules())


def norms_run(network: nn.Module) -> int:
    """How many batch normalisations a forward still passes through."""
    ran = []
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.register_forward_hook(lambda *arguments: ran.append(1))
    with torch.no_grad():
        network(torch.rand(1, 3, 112, 112))
    return len(ran)


NETWORKS = {
    "relu6 mobilefacenet": MobileFaceNet,
    "prelu mobilefacenet": PreluMobileFaceNet,
    "iresnet": lambda: IResNet((1, 1, 2, 1), embedding=32),
}


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_preparing_changes_no_embedding_and_no_gradient(make) -> None:
    torch.manual_seed(0)
    network = lived_in(make())
    prepared = prepare(network)
    images = torch.rand(3, 3, 112, 112) * 2 - 1
    direction = unit_length(torch.randn(3, network(images).shape[1]))
    gradients, embeddings = [], []
    for each in (network, prepared):
        x = images.clone().requires_grad_(True)
        embeddings.append(unit_length(each(x)))
        gradients.append(torch.autograd.grad((embeddings[-1] * direction).sum(), x)[0])
    assert (embeddings[0] - embeddings[1]).abs().max() < 1e-4
    assert functional.cosine_similarity(gradients[0].flatten(), gradients[1].flatten(), dim=0) > 0.999


def test_every_normalisation_that_can_be_folded_is_gone() -> None:
    assert norms_run(prepare(lived_in(MobileFaceNet()))) == 0
    assert norms_run(prepare(lived_in(PreluMobileFaceNet()))) == 0


def test_a_normalisation_before_a_padded_convolution_stays() -> None:
    blocks = (1, 2, 1, 1)
    # One per block stays: its shift reaches the image's edge, where the padding is zero.
    assert norms_run(prepare(lived_in(IResNet(blocks, embedding=8)))) == sum(blocks)


def test_the_prepared_network_is_frozen_and_the_given_one_untouched() -> None:
    network = lived_in(MobileFaceNet()).train()
    before = copy.deepcopy(network.state_dict())
    prepared = prepare(network)
    assert not any(parameter.requires_grad for parameter in prepared.parameters())
    assert not any(layer.training for layer in prepared.modules())
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    convolutions = [layer for layer in prepared.modules() if isinstance(layer, nn.Conv2d) and layer.weight.shape[1] > 1]
    assert all(layer.weight.is_contiguous(memory_format=torch.channels_last) for layer in convolutions)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 1000),
    kernel=st.sampled_from([1, 3]),
    stride=st.integers(1, 2),
    padding=st.integers(0, 1),
    groups=st.sampled_from([1, 2, 4]),
    before=st.booleans(),
    biased=st.booleans(),
    affine=st.booleans(),
)
def test_folding_is_exact_for_any_convolution(seed, kernel, stride, padding, groups, before, biased, affine) -> None:
    torch.manual_seed(seed)
    convolution = nn.Conv2d(4, 8, kernel, stride, padding, groups=groups, bias=biased)
    norm = nn.BatchNorm2d(4 if before else 8, affine=affine)
    network = lived_in(nn.Sequential(norm, convolution) if before else nn.Sequential(convolution, norm), seed)
    images = torch.randn(2, 4, 9, 9)
    simplified = simplify(copy.deepcopy(network))
    with torch.no_grad():
        assert torch.allclose(simplified(images), network(images), atol=1e-5)
    folded = len([node for node in simplified.graph.nodes if node.op == "call_module"]) == 1
    assert folded == (not before or padding == 0)


def test_a_normalisation_is_carried_through_flatten_into_the_linear_map() -> None:
    torch.manual_seed(0)
    network = lived_in(
        nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(), nn.Flatten(), nn.Linear(3 * 4 * 4, 5), nn.BatchNorm1d(5))
    )
    simplified = simplify(copy.deepcopy(network))
    images = torch.randn(6, 3, 4, 4)
    with torch.no_grad():
        assert torch.allclose(simplified(images), network(images), atol=1e-5)
    assert not any(
        isinstance(simplified.get_submodule(str(n.target)), nn.BatchNorm1d | nn.BatchNorm2d)
        for n in simplified.graph.nodes
        if n.op == "call_module"
    )


class Shared(nn.Module):
    """One convolution used twice, once with a normalisation behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.convolution(self.norm(self.convolution(x)))


class Forked(nn.Module):
    """A convolution whose raw output is read beside its normalised and its rectified one."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raw = self.convolution(x)
        return raw * self.norm(raw) + self.relu(raw)


@pytest.mark.parametrize("kind", [Shared, Forked])
def test_layers_with_several_uses_keep_their_meaning(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    network = lived_in(kind())
    images = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.allclose(simplify(copy.deepcopy(network))(images), network(images), atol=1e-6)


class Moody(nn.Module):
    """Cannot be traced: what it does depends on what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 2, 112)
        self.norm = nn.BatchNorm2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.convolution(x))
        return -x if x.sum() > 0 else x


def test_a_network_that_cannot_be_traced_is_used_unfolded_with_a_warning() -> None:
    network = lived_in(Moody())
    with pytest.warns(UserWarning, match="unfolded"):
        prepared = prepare(network)
    images = torch.rand(2, 3, 112, 112)
    assert torch.allclose(prepared(images), network(images), atol=1e-6)


@settings(max_examples=25)
@given(
    shape=st.sampled_from([(2, 3, 4, 5), (4, 3), (1, 3, 1, 1)]), slopes=st.sampled_from([1, 3]), seed=st.integers(0, 99)
)
def test_the_frozen_prelu_has_the_values_and_gradients_of_pytorchs(shape, slopes: int, seed: int) -> None:
    torch.manual_seed(seed)
    ours_in = torch.randn(shape).requires_grad_(True)
    with torch.no_grad():
        ours_in.view(-1)[0] = 0.0
    theirs_in = ours_in.detach().clone().requires_grad_(True)
    slope, upstream = torch.randn(slopes), torch.randn(shape)
    ours, theirs = FrozenPReLU(slope)(ours_in), functional.prelu(theirs_in, slope)
    ours.backward(upstream)
    theirs.backward(upstream)
    assert torch.equal(ours, theirs)
    assert torch.allclose(ours_in.grad, theirs_in.grad, atol=1e-6)


def test_the_frozen_prelu_can_be_differentiated_twice() -> None:
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradgradcheck(FrozenPReLU(torch.tensor([0.1, 0.5, 1.5], dtype=torch.float64)), x)


@pytest.mark.parametrize("number", [1, 2, 5, 7])
def test_small_batches_give_what_one_batch_gives(number: int) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    images = torch.rand(number, 3, 6, 6)
    assert torch.allclose(SmallBatches(network, 2)(images), network(images), atol=1e-6)


@pytest.mark.parametrize("count", [1, 3, 4, 12, 13, 30])
def test_that_no_network_sees_a_batch_whose_size_changes_its_kernels(count: int) -> None:
    seen: list[int] = []

    class Sums(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(len(x))
            return x.flatten(1).cumsum(dim=1)

    images = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = SmallBatches(Sums(), 12, 4)(images)
    assert all(4 <= size <= 12 for size in seen)
    assert torch.equal(found, images.flatten(1).cumsum(dim=1))
    (slope,) = torch.autograd.grad(found[:, -1].sum(), images)
    assert torch.equal(slope, torch.ones_like(images))


class Held(Prepared):
    device, preprocessing = "cpu", Preprocessing(size=8)

    def as_shipped(self) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())


def test_a_recognizer_that_is_first_used_in_inference_mode_gives_gradients_after() -> None:
    recognizer, images = Held(), torch.rand(2, 3, 8, 8)
    with torch.inference_mode():
        recognizer.embed(images)
    (gradient,) = torch.autograd.grad(recognizer.embed(images.requires_grad_())[:, 0].sum(), images)
    assert gradient.abs().max() > 0


def test_devices_are_resolved_and_impossible_ones_refused_in_one_line() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
    for name in ("gpu", "cuda:99"):
        with pytest.raises(FrbenchError, match="device=auto") as error:
            resolve_device(name)
        assert "\n" not in str(error.value)


FACES = 24


@pytest.fixture(scope="module")
def faces(real_data: Path) -> torch.Tensor:
    """Some aligned LFW faces, (24, 3, 112, 112) in [0, 1]."""
    files = sorted((real_data / "lfw" / "aligned_112").glob("A*/*_0001.jpg"))[:FACES]
    stack = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    return torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 255


def real_recognizer(option: str, real_data: Path):
    conf = Path(__file__).parents[4] / "conf" / "recognizer" / f"{option}.yaml"
    config = OmegaConf.create({"paths": {"data": str(real_data), "cache": "cache"}, "device": "cpu"})
    config.recognizer = OmegaConf.load(conf)
    if option == "face_reid_0095":  # as a white box: squeeze-excite, pooling and PReLU through onnx2torch
        config.recognizer._target_ = "frbench.harness.recognizers.onnx_recognizer.OnnxRecognizer"
        del config.recognizer.providers
    return build.instantiate(OmegaConf.to_container(config, resolve=True)["recognizer"], "recognizer")


@pytest.mark.realdata
@pytest.mark.parametrize(
    "option", ["foamliu_mobilefacenet", "bubbliiiing_mobilefacenet", "mobileface_v2", "face_reid_0095"]
)
def test_prepared_recognizers_embed_real_faces_as_shipped(real_data: Path, faces: torch.Tensor, option: str) -> None:
    recognizer = real_recognizer(option, real_data)
    shipped = recognizer.as_shipped()
    gradients, embeddings = [], []
    for embed in (lambda x: unit_length(shipped(recognizer.preprocessing(x))), recognizer.embed):
        x = faces.clone().requires_grad_(True)
        embeddings.append(embed(x))
        scores = (embeddings[-1][::2] * embeddings[-1][1::2].detach()).sum()
        gradients.append(torch.autograd.grad(scores, x)[0])
    assert (embeddings[0] - embeddings[1]).abs().max() < 1e-4
    assert functional.cosine_similarity(gradients[0].flatten(1), gradients[1].flatten(1))[::2].min() > 0.999
