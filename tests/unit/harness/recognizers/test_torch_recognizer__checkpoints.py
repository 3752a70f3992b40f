"""PyTorch networks as people have them: wrapped checkpoints, several outputs, TorchScript, own architectures."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from frbench.harness.core.errors import FrbenchError, warn_once
from frbench.harness.recognizers.preprocessing import unit_length
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer

IMAGES = torch.rand(5, 3, 32, 24, generator=torch.Generator().manual_seed(1))


class Small(nn.Module):
    """Images (N, 3, 32, 24) -> (N, 8)."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.PReLU(width))
        self.fc = nn.Linear(width * 16 * 12, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(x).flatten(1))


class Normed(Small):
    """As AdaFace's networks: (direction, norm)."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        raw = super().forward(x)
        norm = torch.linalg.vector_norm(raw, dim=1, keepdim=True)
        return raw / norm, norm


class Config:
    """As a Hugging Face config: a plain object with attributes."""

    def __init__(self, width: int) -> None:
        self.width = width


class Pretrained(Small):
    """As a Hugging Face model: made from a config, with outputs by name."""

    def __init__(self, config: Config) -> None:
        super().__init__(config.width)

    @classmethod
    def from_config(cls, config: Config) -> Pretrained:
        torch.manual_seed(7)
        return cls(config)

    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        hidden = self.body(x)
        return {"last_hidden_state": hidden.flatten(2).mT, "pooler_output": self.fc(hidden.flatten(1))}


def network(kind: type[Small] = Small) -> Small:
    torch.manual_seed(3)
    return kind().eval()


def recognizer(path: Path | None, architecture: Any = Small, **options: Any) -> TorchRecognizer:
    return TorchRecognizer("mine", architecture, str(path) if path else None, size=(32, 24), **options)


@torch.no_grad()
def wanted() -> Tensor:
    return unit_length(network()(IMAGES))


@pytest.fixture(autouse=True)
def said_anew() -> None:
    warn_once.cache_clear()


def named(prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in network().state_dict().items()}


WRAPPED: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "state_dict": (lambda: {"state_dict": named(""), "epoch": 3}, "state_dict."),
    "net_state_dict": (lambda: {"iters": 7, "net_state_dict": named("")}, "net_state_dict."),
    "model": (lambda: {"model": named("module.")}, "model.module."),
    "state_dict_backbone": (
        lambda: {"state_dict_backbone": named(""), "state_dict_softmax_fc": {"weight": torch.zeros(9, 8)}},
        "state_dict_backbone.",
    ),
    "module.": (lambda: named("module."), "module."),
    "backbone. beside a head": (lambda: named("backbone.") | {"head.kernel": torch.zeros(8, 9)}, "backbone."),
    "Lightning": (
        lambda: {"state_dict": named("model.") | {"head.kernel": torch.zeros(8, 9)}, "hyper_parameters": {"lr": 0.1}},
        "state_dict.model.",
    ),
    "compiled": (lambda: {"checkpoint": {"net": named("_orig_mod.")}}, "checkpoint.net._orig_mod."),
    "the same weights twice": (lambda: {"model": named(""), "ema": named("")}, "ema."),
    "with the optimizer": (
        lambda: {"model": named(""), "optimizer": {"state": {0: {"exp_avg": torch.zeros(4)}}}},
        "model.",
    ),
}


@pytest.mark.parametrize("case", WRAPPED)
def test_that_wrappers_and_prefixes_are_found_and_said_in_one_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, place = WRAPPED[case]
    torch.save(make(), tmp_path / "theirs.pth")
    found = recognizer(tmp_path / "theirs.pth")
    assert torch.allclose(found.embed(IMAGES), wanted(), atol=1e-5)
    said = capsys.readouterr().err.strip()
    assert said == f"frbench: {tmp_path / 'theirs.pth'}: the weights of Small were found under {place}"
    torch.testing.assert_close(recognizer(tmp_path / "theirs.pth", prefix=place).embed(IMAGES), found.embed(IMAGES))
    assert not capsys.readouterr().err


def test_that_a_prefix_may_be_the_end_of_the_whole_one_and_must_be_there(tmp_path: Path) -> None:
    torch.save({"state_dict": named("module.arcface.")}, tmp_path / "a.pth")
    assert torch.allclose(recognizer(tmp_path / "a.pth", prefix="arcface.").embed(IMAGES), wanted(), atol=1e-5)
    with pytest.raises(FrbenchError, match=r"the file holds state_dict.module.arcface.body.0.weight \(4, 3, 3, 3\)"):
        recognizer(tmp_path / "a.pth", prefix="cosface.").embed(IMAGES)


def test_that_two_different_networks_in_a_file_are_not_chosen_between_in_silence(tmp_path: Path) -> None:
    torch.save({"model": named(""), "ema": {n: v + 1 for n, v in named("").items()}}, tmp_path / "two.pth")
    with pytest.raises(FrbenchError, match="holds different weights of Small under ema. and model.: choose with") as e:
        recognizer(tmp_path / "two.pth").embed(IMAGES)
    assert "\n" not in str(e.value)
    assert torch.allclose(recognizer(tmp_path / "two.pth", prefix="model.").embed(IMAGES), wanted(), atol=1e-5)


def test_that_what_fits_nowhere_is_listed_with_shapes(tmp_path: Path) -> None:
    torch.save({"net": {"stem.kernel": torch.zeros(7, 2), "stem.shift": torch.zeros(7)}}, tmp_path / "other.pth")
    with pytest.raises(FrbenchError) as error:
        recognizer(tmp_path / "other.pth").embed(IMAGES)
    text = str(error.value)
    assert "the file holds net.stem.kernel (7, 2), net.stem.shift (7,)" in text
    assert "the network has body.0.weight (4, 3, 3, 3), " in text and "and 6 more" in text
    assert "\n" not in text


def test_that_weights_of_another_width_are_told_apart(tmp_path: Path) -> None:
    torch.save({"model": named("module.")}, tmp_path / "narrow.pth")
    with pytest.raises(FrbenchError, match=r"under model.module.: .* wrong shape \(body.0.bias \(4,\) instead of"):
        recognizer(tmp_path / "narrow.pth", partial(Small, width=6)).embed(IMAGES)


def test_that_the_embedding_is_found_among_a_feature_and_its_norm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(network().state_dict(), tmp_path / "ada.pth")
    found = recognizer(tmp_path / "ada.pth", Normed)
    assert torch.allclose(found.embed(IMAGES), wanted(), atol=1e-5)
    assert "mine gives 0 (2, 8), 1 (2, 1): output 0 is taken for the embedding" in capsys.readouterr().err
    assert torch.allclose(found.module()(IMAGES), network(Normed)(found.preprocessing(IMAGES))[0], atol=1e-6)
    chosen = recognizer(tmp_path / "ada.pth", Normed, output=0)
    assert torch.equal(chosen.embed(IMAGES), found.embed(IMAGES))
    assert chosen.fingerprint() != found.fingerprint()
    with pytest.raises(
        FrbenchError, match=r"recognizer.output=2 is none of the outputs of mine: 0 \(2, 8\), 1 \(2, 1\)"
    ):
        recognizer(tmp_path / "ada.pth", Normed, output=2).embed(IMAGES)
    with pytest.raises(FrbenchError, match="mine gives one output alone"):
        recognizer(tmp_path / "ada.pth", output=1).embed(IMAGES)


class Classifying(Small):
    """(feature, logits): either may be the embedding."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        feature = super().forward(x)
        return feature, feature.repeat(1, 3)


def test_that_two_outputs_which_may_both_be_embeddings_must_be_chosen_from(tmp_path: Path) -> None:
    torch.save(network().state_dict(), tmp_path / "a.pth")
    with pytest.raises(FrbenchError, match=r"gives 0 \(2, 8\), 1 \(2, 24\), of which 2 may be the embedding"):
        recognizer(tmp_path / "a.pth", Classifying).embed(IMAGES)
    assert recognizer(tmp_path / "a.pth", Classifying, output=1).embed(IMAGES).shape == (5, 24)


def archived(path: Path, kind: type[Small], script: bool) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.jit.script(network(kind)) if script else torch.jit.trace(network(kind), IMAGES[:3])
        torch.jit.save(made, str(path))
    return path


@pytest.mark.filterwarnings("ignore:Scripted is used unfolded", "ignore:OneOutput is used unfolded")
@pytest.mark.parametrize("kind", [Small, Normed])
@pytest.mark.parametrize("script", [False, True])
def test_that_a_torchscript_archive_is_a_network_with_gradients(
    tmp_path: Path, kind: type[Small], script: bool
) -> None:
    if script and kind is Normed:
        pytest.skip("TorchScript knows no super()")
    path = archived(tmp_path / "archive.pt", kind, script)
    made = recognizer(path, None)
    assert torch.allclose(made.embed(IMAGES), wanted(), atol=1e-5)
    x = IMAGES.clone().requires_grad_(True)
    (found,) = torch.autograd.grad(made.embed(x)[:, 0].sum(), x)
    (true,) = torch.autograd.grad(unit_length(network()(x))[:, 0].sum(), x)
    assert torch.allclose(found, true, atol=1e-5)
    assert made.fingerprint()["architecture"] == "torchscript"
    assert torch.allclose(recognizer(path).embed(IMAGES), wanted(), atol=1e-5), "its weights fit the architecture too"


class Writing(nn.Module):
    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    def forward(self, x: Tensor) -> Tensor:
        torch.save(x, self.target)
        return x.mean(dim=(2, 3))


class Reading(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.from_file("/etc/hostname", size=3, dtype=torch.uint8).float().expand(x.shape[0], 3)


class Waking(nn.Module):
    """Runs code while it is loaded."""

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, bool]:
        return torch.zeros(1), self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, bool]) -> None:
        torch.save(state[0], "was_here")
        self.training = state[1]

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (lambda mark: Writing(mark), "runs aten::save"),
        (lambda mark: Reading(), "runs aten::from_file"),
        (lambda mark: Waking(), "has code that runs while the archive is loaded"),
    ],
)
def test_that_an_archive_that_does_more_than_compute_is_refused_and_runs_nothing(
    tmp_path: Path, kind: Callable[[str], nn.Module], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(kind("was_here")), str(tmp_path / "bad.pt"))
    with pytest.raises(FrbenchError, match=expected) as error:
        recognizer(tmp_path / "bad.pt", None).embed(IMAGES)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "was_here").exists()


def test_that_an_archive_needs_no_architecture_and_anything_else_does(tmp_path: Path) -> None:
    save_file(network().state_dict(), tmp_path / "state.safetensors")
    with pytest.raises(FrbenchError, match="safetensors file, not a TorchScript archive: take recognizer=pytorch "):
        recognizer(tmp_path / "state.safetensors", None).embed(IMAGES)
    with pytest.raises(FrbenchError, match=r"and no recognizer\.prefix"):
        recognizer(tmp_path / "state.safetensors", None, prefix="a.").embed(IMAGES)


def test_that_an_architecture_made_from_a_config_is_known_by_what_the_config_says() -> None:
    """As Hugging Face's: weights that the maker brings, outputs by name, a config object among the arguments."""
    made = recognizer(None, partial(Pretrained.from_config, config=Config(4)))
    raw = Pretrained.from_config(Config(4)).eval()(IMAGES)["pooler_output"]
    assert torch.allclose(made.embed(IMAGES), unit_length(raw), atol=1e-5)
    wider = recognizer(None, partial(Pretrained.from_config, config=Config(6)))
    assert made.digest != wider.digest and made.fingerprint() != wider.fingerprint()
    assert made.fingerprint()["architecture"]["config"]["attributes"] == {"width": 4}
    again = recognizer(None, partial(Pretrained.from_config, config=Config(4)))
    assert again.fingerprint() == made.fingerprint()


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        (network(), r"made already, expected what makes one: add \+recognizer.architecture._partial_=true"),
        (partial(Pretrained), "cannot be made .TypeError: .*config"),
        (dict, "makes dict, expected a torch.nn.Module"),
    ],
)
def test_that_what_makes_no_network_is_told_in_one_line(architecture: Any, expected: str) -> None:
    with pytest.raises(FrbenchError, match=expected) as error:
        recognizer(None, architecture).embed(IMAGES)
    assert "\n" not in str(error.value)


def test_that_images_of_another_size_are_told_from_a_broken_network(tmp_path: Path) -> None:
    file = io.BytesIO()
    torch.save(network().state_dict(), file)
    (tmp_path / "a.pth").write_bytes(file.getvalue())
    other = TorchRecognizer("mine", Small, str(tmp_path / "a.pth"))
    with pytest.raises(FrbenchError, match=r"mine cannot take images of 112x112 .*give the height and width"):
        other.embed(IMAGES)
