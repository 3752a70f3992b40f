"""What every recognizer promises, for every option in conf/recognizer."""

import importlib
import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

from frbench.harness.config import build
from frbench.harness.core.contracts import Recognizer
from frbench.harness.core.errors import FrbenchError
from frbench.harness.recognizers.architecture_metadata import architecture_config
from frbench.harness.recognizers.architectures.iresnet import IResNet
from frbench.harness.recognizers.preprocessing import FEEDING
from frbench.harness.recognizers.weight_files import METADATA

CONF = Path(__file__).parents[2] / "conf" / "recognizer"
NETWORK = CONF.parent / "network" / "tiny.yaml"
OPTIONS = sorted(path.stem for path in CONF.glob("*.yaml"))
REAL = {"bubbliiiing_mobilefacenet", "face_reid_0095", "foamliu_mobilefacenet", "mobileface_v2"}
# The larger ones differ from this one in a number only; their parameter counts are tested elsewhere.
BROUGHT = {"iresnet18", "onnx", "insightface", "ensemble", "flip_averaged", "trained", "pytorch", "torchscript"}


def instantiate(option: str, data: Path | str, **overrides: Any) -> Recognizer:
    config = OmegaConf.create({"paths": {"data": str(data), "cache": str(data)}, "device": "cpu", "trust": []})
    config.recognizer = OmegaConf.merge(OmegaConf.load(CONF / f"{option}.yaml"), overrides)
    config.recognizer.pop("defaults", None)  # what they bring is among the overrides
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    recognizer: Recognizer = build.instantiate(plain["recognizer"], "recognizer")
    return recognizer


def small_network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, 8, 1), torch.nn.PReLU(4), torch.nn.Flatten(), torch.nn.Linear(784, 8)
    ).eval()


def small_onnx(path: Path) -> Path:
    network = small_network()
    names: dict[str, Any] = {"input_names": ["image"], "output_names": ["embedding"]}
    free = {"image": {0: "n"}, "embedding": {0: "n"}}
    with warnings.catch_warnings():  # the exporter that needs no further package is deprecated
        warnings.simplefilter("ignore")
        example = (torch.rand(1, 3, 112, 112),)
        torch.onnx.export(network, example, str(path), dynamo=False, dynamic_axes=free, **names)
    return path


@pytest.fixture(scope="module")
def bring(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """What a user must bring for options that ship nothing: overrides by option."""
    folder = tmp_path_factory.mktemp("brought")

    def iresnet() -> dict[str, Any]:
        torch.manual_seed(0)
        torch.save(IResNet((2, 2, 2, 2)).state_dict(), folder / "backbone.pth")
        return {"weights": str(folder / "backbone.pth")}

    def onnx() -> dict[str, Any]:
        pytest.importorskip("onnxruntime")
        return {"path": str(small_onnx(folder / "mine.onnx"))}

    def pack() -> dict[str, Any]:
        pytest.importorskip("insightface")
        (folder / "models" / "mine").mkdir(parents=True, exist_ok=True)
        small_onnx(folder / "models" / "mine" / "w.onnx")
        return {"pack": "mine", "root": str(folder)}

    def own() -> dict[str, Any]:
        torch.save({"model": small_network().state_dict()}, folder / "own.pth")
        return {"weights": str(folder / "own.pth"), "architecture": {"_target_": f"{__name__}.small_network"}}

    def archive() -> dict[str, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.script(small_network()), str(folder / "archive.pt"))
        return {"weights": str(folder / "archive.pt")}

    small = OmegaConf.to_container(OmegaConf.load(CONF / "tiny.yaml"))

    def ensemble() -> dict[str, Any]:
        return {"members": {"a": {**small, "bgr": True}, "b": small}}  # type: ignore[dict-item]

    def trained() -> dict[str, Any]:
        network = {
            "_target_": "frbench.harness.recognizers.initialization.Architecture",
            "make": OmegaConf.load(NETWORK).make,
        }
        architecture = hydra.utils.instantiate(network)
        state = architecture.module(0).network.state_dict()
        metadata = {METADATA: json.dumps({"architecture": architecture_config(architecture)})}
        members = {f"members.0.{name}": each for name, each in state.items()}
        save_file(members, folder / "trained.safetensors", metadata)
        return {"weights": str(folder / "trained.safetensors")}

    makers: dict[str, Callable[[], dict[str, Any]]] = {
        "iresnet18": iresnet,
        "onnx": onnx,
        "insightface": pack,
        "ensemble": ensemble,
        "flip_averaged": lambda: {"recognizer": small},
        "trained": trained,
        "pytorch": own,
        "torchscript": archive,
    }
    return lambda option: makers[option]()


def usable() -> list[Any]:
    marked = [pytest.param(option, marks=pytest.mark.realdata) for option in OPTIONS if option in REAL]
    return marked + [option for option in OPTIONS if option in BROUGHT or option == "tiny"]


@pytest.fixture(scope="module", params=usable())
def recognizer(request: pytest.FixtureRequest, bring: Callable[[str], dict[str, Any]]) -> Recognizer:
    option = request.param
    if option in REAL:
        return instantiate(option, request.getfixturevalue("real_data"))
    return instantiate(option, "no_data", **(bring(option) if option in BROUGHT else {}))


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(5, 3, 112, 112, generator=torch.Generator().manual_seed(0))


def test_embeddings_are_float32_of_unit_length(recognizer: Recognizer, images: torch.Tensor) -> None:
    embeddings = recognizer.embed(images)
    assert embeddings.dtype == torch.float32
    assert embeddings.ndim == 2
    assert len(embeddings) == len(images)
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(len(images)), atol=1e-5)
    assert (embeddings[0] - embeddings[1]).abs().max() > 1e-4


def test_an_embedding_does_not_depend_on_the_rest_of_the_batch(recognizer: Recognizer, images: torch.Tensor) -> None:
    together = recognizer.embed(images)
    alone = torch.cat([recognizer.embed(image[None]) for image in images])
    assert (together - alone).abs().max() < 1e-4
    assert (recognizer.embed(images.flip(0)).flip(0) - together).abs().max() < 1e-4


def test_the_images_are_left_as_they_were(recognizer: Recognizer, images: torch.Tensor) -> None:
    kept = images.clone()
    recognizer.embed(images)
    assert torch.equal(images, kept)


def test_gradients_flow_exactly_where_promised(recognizer: Recognizer, images: torch.Tensor) -> None:
    x = images[:2].clone().requires_grad_(True)
    embeddings = recognizer.embed(x)
    assert embeddings.requires_grad == recognizer.differentiable
    if recognizer.differentiable:
        (gradient,) = torch.autograd.grad(embeddings[0, 0], x)
        assert gradient.isfinite().all()
        assert gradient[0].abs().max() > 0
        assert gradient[1].abs().max() == 0
    assert not recognizer.embed(images[:2]).requires_grad


FED: dict[str, Any] = {"mean": 0.3, "std": [0.7, 0.8, 0.9], "scale": 2, "bgr": True}


@pytest.mark.parametrize("option", usable())
def test_mean_std_scale_bgr_size_and_prefix_mean_the_same_everywhere_or_are_refused(
    option: str, request: pytest.FixtureRequest, bring: Callable[[str], dict[str, Any]], images: torch.Tensor
) -> None:
    data = request.getfixturevalue("real_data") if option in REAL else "no_data"
    brought = bring(option) if option in BROUGHT else {}
    plain: Any = instantiate(option, data, **brought)
    allowed = set(FEEDING) - set(type(plain).elsewhere if hasattr(type(plain), "elsewhere") else ())
    written = OmegaConf.load(CONF / f"{option}.yaml")
    assert allowed == set(FEEDING) & set(written), "each is set in the YAML, or the class says where it is set"
    if "mean" not in allowed:
        return
    fed = instantiate(option, data, **brought, **FED, size=[112, 112])
    bare = instantiate(option, data, **brought, mean=0, std=1, scale=1, bgr=False)
    std = torch.tensor(FED["std"]).view(1, 3, 1, 1)
    wanted = bare.embed(((FED["scale"] * images - FED["mean"]) / std).flip(1))
    assert torch.allclose(fed.embed(images), wanted, atol=1e-5)
    assert fed.fingerprint() != bare.fingerprint()  # type: ignore[attr-defined]
    if "prefix" in allowed:
        with pytest.raises(FrbenchError):
            instantiate(option, data, **brought, prefix="nowhere.").embed(images)


@pytest.mark.parametrize("option", ["service", "ensemble", "flip_averaged", "onnx", "insightface", "trained"])
def test_what_is_set_elsewhere_is_refused_with_the_place(option: str, composed: Callable[..., dict[str, Any]]) -> None:
    config = composed(f"recognizer={option}")["recognizer"]
    module, _, kind = config["_target_"].rpartition(".")
    elsewhere = getattr(importlib.import_module(module), kind).elsewhere
    assert elsewhere and set(elsewhere) <= set(FEEDING)
    for name, reason in elsewhere.items():
        with pytest.raises(FrbenchError, match=f"'recognizer.{name}' cannot be set: {re.escape(reason)}"):
            build.instantiate({**config, name: "auto"}, "recognizer")


def test_the_digest_is_the_sha256_of_the_weights(recognizer: Recognizer) -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", recognizer.digest)


def test_the_fingerprint_is_plain_data_without_paths(recognizer: Any) -> None:
    facts = recognizer.fingerprint()
    text = json.dumps(facts)
    assert facts["weights"] == recognizer.digest
    inside = [*facts.get("members", ()), *([facts["of"]] if "of" in facts else [])]
    for own in [each["of"] for each in inside] or [facts]:
        assert {"architecture", "weights", "preprocessing"} <= own.keys()
    assert str(Path.cwd().anchor) + "tmp" not in text
    assert "models/" not in text


@pytest.mark.parametrize(
    "option",
    sorted(set(OPTIONS) - (BROUGHT - {"iresnet18"}) - {"tiny", "service"}),
)
def test_every_option_is_built_without_its_weights_and_names_them_when_used(option: str, tmp_path: Path) -> None:
    overrides = {"urls": []} if option in {"foamliu_mobilefacenet", "bubbliiiing_mobilefacenet"} else {}
    recognizer = instantiate(option, tmp_path, **overrides)
    assert recognizer.name == option
    with pytest.raises(FrbenchError) as error:
        recognizer.embed(torch.rand(1, 3, 112, 112))
    assert "\n" not in str(error.value)
    assert str(tmp_path / "models") in str(error.value)


def test_every_option_in_conf_is_looked_at_here() -> None:
    assert set(OPTIONS) - {"iresnet34", "iresnet50", "iresnet100"} == REAL | BROUGHT | {"tiny", "service"}
