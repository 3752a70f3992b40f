"""Checkpoints: architectures, strict loading, and what is said when a file is not what it should be."""

import hashlib
import math
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from frbench.harness.core.errors import FrbenchError
from frbench.harness.recognizers.architectures.iresnet import IResNet
from frbench.harness.recognizers.architectures.mobilefacenet import MobileFaceNet, PreluMobileFaceNet
from frbench.harness.recognizers.preprocessing import Preprocessing
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer
from frbench.harness.recognizers.weight_files import find_weights

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}


def tiny_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.PReLU(4), nn.Flatten(), nn.Linear(4 * 56 * 56, 8)
    )


def recognizer(weights: Path, **options) -> TorchRecognizer:
    return TorchRecognizer("small", options.pop("architecture", tiny_network), str(weights), **options)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "small.pt"
    torch.save(tiny_network().state_dict(), path)
    return path


def one_line(error: pytest.ExceptionInfo[FrbenchError], *parts: str) -> bool:
    text = str(error.value)
    return "\n" not in text and len(text) < 600 and all(part in text for part in parts)


@pytest.mark.parametrize(("layers", "millions"), [(18, 24.02), (34, 34.14), (50, 43.59), (100, 65.15)])
def test_iresnets_have_the_published_number_of_parameters(layers: int, millions: float) -> None:
    with torch.device("meta"):
        network = IResNet(BLOCKS[layers])
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)


def test_iresnet_50_has_the_names_of_arcface_torch_checkpoints() -> None:
    with torch.device("meta"):
        names = IResNet(BLOCKS[50]).state_dict()
    expected = {
        "conv1.weight": (64, 3, 3, 3),
        "bn1.running_var": (64,),
        "prelu.weight": (64,),
        "layer1.0.bn1.weight": (64,),
        "layer1.0.conv1.weight": (64, 64, 3, 3),
        "layer1.0.downsample.0.weight": (64, 64, 1, 1),
        "layer1.0.downsample.1.bias": (64,),
        "layer2.0.prelu.weight": (128,),
        "layer3.13.bn3.running_mean": (256,),
        "layer4.2.conv2.weight": (512, 512, 3, 3),
        "bn2.weight": (512,),
        "fc.weight": (512, 25088),
        "fc.bias": (512,),
        "features.running_mean": (512,),
    }
    assert {name: tuple(names[name].shape) for name in expected} == expected
    assert "layer1.1.downsample.0.weight" not in names
    assert "layer3.14.bn1.weight" not in names


def test_iresnet_survives_the_way_through_a_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = IResNet((1, 1, 1, 1), embedding=16).eval()
    torch.save({f"module.{name}": value for name, value in network.state_dict().items()}, tmp_path / "backbone.pth")
    images = torch.rand(2, 3, 112, 112)
    architecture = partial(IResNet, (1, 1, 1, 1), embedding=16)
    found = recognizer(tmp_path / "backbone.pth", architecture=architecture, mean=0.5, std=0.5).embed(images)
    with torch.no_grad():
        wanted = nn.functional.normalize(network((images - 0.5) / 0.5))
    assert torch.allclose(found, wanted, atol=1e-5)


def test_mobilefacenets_have_the_stages_of_the_paper() -> None:
    with torch.device("meta"):
        relu6, prelu = MobileFaceNet(), PreluMobileFaceNet()
    assert [(b.conv[2].out_channels, b.conv[1][0].stride[0]) for b in relu6.features] == [
        *[(64, 2), (64, 1), (64, 1), (64, 1), (64, 1), (128, 2)],
        *[(128, 1)] * 6,
        *[(128, 2), (128, 1), (128, 1)],
    ]
    assert sum(p.numel() for p in prelu.parameters()) < 1.1e6


def test_constructing_touches_no_file() -> None:
    made = recognizer(Path("nowhere.pt"))
    assert made.name == "small"
    assert made.differentiable
    assert made == recognizer(Path("nowhere.pt"))


def test_missing_weights_are_one_line_that_says_how_to_get_them(tmp_path: Path) -> None:
    missing = recognizer(tmp_path / "nowhere.pt", download_hint="ask the author")
    with pytest.raises(FrbenchError) as error:
        missing.embed(torch.rand(1, 3, 112, 112))
    assert one_line(error, "nowhere.pt", "does not exist", "ask the author")


def test_packaged_weights_are_found_beside_the_code() -> None:
    assert find_weights("pkg:tiny.safetensors").name == "tiny.safetensors"
    with pytest.raises(FrbenchError, match="reinstall"):
        find_weights("pkg:no_such_file.safetensors")


def test_missing_weights_with_an_address_are_fetched_and_checked(tmp_path: Path, checkpoint: Path, monkeypatch) -> None:
    import functools
    import http.server
    import threading

    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(checkpoint.parent))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *arguments: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/small.pt"
        digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
        remote = recognizer(tmp_path / "absent.pt", urls=[url], sha256=digest, cache=str(tmp_path / "cache"))
        assert remote.digest == digest
        assert remote.embed(torch.rand(1, 3, 112, 112)).shape == (1, 8)
        server.shutdown()


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_a_text_file_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("<html>404: not found</html>")
    with pytest.raises(FrbenchError) as error:
        recognizer(tmp_path / name).embed(torch.rand(1, 3, 112, 112))
    assert one_line(error, name, "is a web page, not network weights")


def test_a_truncated_checkpoint_is_refused_in_one_line(checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(FrbenchError) as error:
        recognizer(checkpoint).embed(torch.rand(1, 3, 112, 112))
    assert one_line(error, "small.pt", "without its end, not network weights")


class Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_hostile_pickle_is_refused_and_runs_nothing(tmp_path: Path, save) -> None:
    mark = tmp_path / "was_here"
    save({"weight": Hostile(mark)}, tmp_path / "hostile.pt")
    with pytest.raises(FrbenchError) as error:
        recognizer(tmp_path / "hostile.pt").embed(torch.rand(1, 3, 112, 112))
    assert one_line(error, "hostile.pt", "is a pickle of Python objects (", "pathlib.", "not network weights")
    assert not mark.exists()


def test_a_file_that_holds_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "weights": [torch.zeros(2)]}, tmp_path / "training.pt")
    with pytest.raises(FrbenchError) as error:
        recognizer(tmp_path / "training.pt").embed(torch.rand(1, 3, 112, 112))
    assert one_line(error, "training.pt", "not a state dict")


def test_foreign_missing_and_misshapen_entries_are_named(tmp_path: Path) -> None:
    state = tiny_network().state_dict()
    del state["0.weight"]
    state["head.weight"] = torch.zeros(3)
    state["4.bias"] = torch.zeros(9)
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(FrbenchError) as error:
        recognizer(tmp_path / "other.pt").embed(torch.rand(1, 3, 112, 112))
    assert one_line(error, "1 missing (0.weight)", "1 unexpected (head.weight)", "4.bias (9,) instead of (8,)")


def test_prefix_and_wrapping_and_format_make_no_difference(tmp_path: Path, checkpoint: Path) -> None:
    state = torch.load(checkpoint, weights_only=True)
    images = torch.rand(2, 3, 112, 112)
    wanted = recognizer(checkpoint).embed(images)
    wrapped = {
        "state_dict": {f"module.arcface.{name}": value for name, value in state.items()} | {"head": torch.ones(1)}
    }
    torch.save(wrapped, tmp_path / "wrapped.pth")
    save_file(state, tmp_path / "plain.safetensors")
    assert torch.equal(recognizer(tmp_path / "wrapped.pth", prefix="arcface.").embed(images), wanted)
    assert torch.equal(recognizer(tmp_path / "plain.safetensors").embed(images), wanted)


def test_normalisation_size_and_channel_order_are_the_recognizers_own_business(checkpoint: Path) -> None:
    shipped = recognizer(checkpoint).as_shipped()
    images = torch.rand(2, 3, 112, 112)
    mean, std = torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1), torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1)
    fed = recognizer(checkpoint, mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.4], bgr=True)
    gray_levels = recognizer(checkpoint, mean=[127.5, 102, 76.5], std=[51, 76.5, 102], scale=255, bgr=True)
    with torch.no_grad():
        wanted = nn.functional.normalize(shipped(((images - mean) / std).flip(1)))
    assert torch.allclose(fed.embed(images), wanted, atol=1e-5)
    assert torch.allclose(gray_levels.embed(images), wanted, atol=1e-5)
    assert fed.embed(torch.rand(1, 3, 160, 160)).shape == (1, 8)


def test_a_network_of_112x96_sees_the_middle_of_the_112x112_crop() -> None:
    prepared, images = Preprocessing(size=(112, 96)), torch.rand(2, 3, 112, 112)
    assert torch.equal(prepared(images), images[..., 8:104])
    large = functional.interpolate(images, size=(224, 224), mode="bilinear")
    small = functional.interpolate(large, size=(112, 112), mode="bilinear")
    assert torch.allclose(prepared(large), small[..., 8:104], atol=1e-6)
    assert prepared(torch.rand(1, 3, 100, 100)).shape == (1, 3, 112, 96)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"mean": [0.5, 0.5]}, "one finite number or one per RGB channel"),
        ({"mean": math.nan}, "one finite number"),
        ({"std": 0}, "none of them 0"),
        ({"std": [1, 0, 1]}, "none of them 0"),
        ({"scale": 0}, "the value of white"),
        ({"scale": -1}, "the value of white"),
        ({"size": 0}, "one side in pixels, or [HEIGHT,WIDTH]"),
        ({"size": [112, 96, 3]}, "one side in pixels, or [HEIGHT,WIDTH]"),
        ({"size": [112]}, "one side in pixels, or [HEIGHT,WIDTH]"),
    ],
)
def test_numbers_that_no_preprocessing_has_are_refused(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(FrbenchError) as error:
        Preprocessing(**options)
    (name,) = options
    assert one_line(error, f"recognizer.{name}=", expected)


@pytest.mark.parametrize(
    "images", [torch.rand(3, 112, 112), torch.rand(1, 1, 112, 112), torch.zeros(1, 3, 8, 8).byte()]
)
def test_what_is_not_a_batch_of_rgb_images_is_refused(checkpoint: Path, images: torch.Tensor) -> None:
    with pytest.raises(FrbenchError, match="expected float RGB images"):
        recognizer(checkpoint).embed(images)


def test_the_fingerprint_knows_weights_architecture_and_feeding_but_no_path(tmp_path: Path, checkpoint: Path) -> None:
    copied = tmp_path / "elsewhere.pt"
    copied.write_bytes(checkpoint.read_bytes())
    ours = recognizer(checkpoint).fingerprint()
    assert ours == recognizer(copied).fingerprint()
    assert ours["weights"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert ours != recognizer(checkpoint, bgr=True).fingerprint()
    assert str(tmp_path) not in str(ours)


def test_the_fingerprint_tells_architectures_apart(checkpoint: Path) -> None:
    small = recognizer(checkpoint, architecture=partial(MobileFaceNet, embedding=64)).fingerprint()
    large = recognizer(checkpoint, architecture=partial(MobileFaceNet, embedding=128)).fingerprint()
    assert small != large
    assert small["architecture"]["embedding"] == 64


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("file", "architecture", "prefix"),
    [
        ("foamliu_mobilefacenet.pt", MobileFaceNet, ""),
        ("bubbliiiing_arcface_mobilefacenet.pth", PreluMobileFaceNet, "arcface."),
    ],
)
def test_published_checkpoints_load_strictly(real_data: Path, file: str, architecture, prefix: str) -> None:
    real = recognizer(real_data / "models" / file, architecture=architecture, prefix=prefix)
    with torch.no_grad():
        assert real.as_shipped()(torch.zeros(1, 3, 112, 112)).shape == (1, 128)


@pytest.mark.realdata
def test_the_other_variants_checkpoint_is_refused_by_name(real_data: Path) -> None:
    wrong = recognizer(real_data / "models" / "foamliu_mobilefacenet.pt", architecture=PreluMobileFaceNet)
    with pytest.raises(FrbenchError) as error:
        wrong.as_shipped()
    assert one_line(error, "does not fit PreluMobileFaceNet", "the file holds", "the network has")
