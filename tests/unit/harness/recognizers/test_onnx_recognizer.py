"""ONNX recognizers: as people bring them, white box and black box, and what is said of broken ones."""

import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from frbench.harness.core.errors import FrbenchError
from frbench.harness.recognizers import onnx_runtime
from frbench.harness.recognizers.insightface_pack import InsightfacePack
from frbench.harness.recognizers.onnx_graph import require
from frbench.harness.recognizers.onnx_recognizer import OnnxRecognizer
from frbench.harness.recognizers.onnx_runtime import CPU, CUDA, OnnxRuntimeRecognizer, check_providers

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

WIDTH, SIDE, DIM = 4, 112, 8


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "127": np.array(127.5, np.float32),
        "1/128": np.array(1 / 128, np.float32),
        "kernel": random.normal(0, 0.3, (WIDTH, 3, 3, 3)).astype(np.float32),
        "slope": random.uniform(0.1, 0.4, (WIDTH, 1, 1)).astype(np.float32),
        "scale": random.uniform(0.5, 1.5, WIDTH).astype(np.float32),
        "shift": random.normal(0, 0.2, WIDTH).astype(np.float32),
        "mean": random.normal(0, 0.2, WIDTH).astype(np.float32),
        "variance": random.uniform(0.5, 1.5, WIDTH).astype(np.float32),
        "low": np.array(-1.0, np.float32),
        "high": np.array(1.5, np.float32),
        "matrix": random.normal(0, 0.1, (WIDTH * 14 * 14, DIM)).astype(np.float32),
        "bias": random.normal(0, 0.1, DIM).astype(np.float32),
        "flat": np.array([1, WIDTH * 14 * 14], np.int64),
        "flat_or_wrong": np.array([1, -1], np.int64),
        "swapped": np.array([WIDTH, 1, -1], np.int64),
    }


def write(
    path: Path,
    batch: int | str = "N",
    inside: bool = False,
    clip=("low", "high"),
    flatten: str = "",
    side: int = SIDE,
    channels: int = 3,
) -> Path:
    """A small ArcFace-like network: [Sub, Mul,] Conv, PRelu, BatchNormalization, Clip, flattening of a kind, Gemm."""
    node, stored = onnx.helper.make_node, weights()
    nodes, image = [], "image"
    if inside:
        nodes = [node("Sub", [image, "127"], ["a"], "Sub0"), node("Mul", ["a", "1/128"], ["b"], "Mul0")]
        image = "b"
    nodes += [
        node("Conv", [image, "kernel"], ["c"], "Conv0", strides=[8, 8], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        node("PRelu", ["c", "slope"], ["d"], "PRelu0"),
        node("BatchNormalization", ["d", "scale", "shift", "mean", "variance"], ["e"], "Norm0"),
        node("Clip", ["e", *clip], ["f"], "Clip0"),
    ]
    if flatten == "transposed":  # the batch leaves the leading place and comes back
        nodes += [
            node("Transpose", ["f"], ["g"], "T0", perm=[1, 0, 2, 3]),
            node("Reshape", ["g", "swapped"], ["h"], "R0"),
            node("Transpose", ["h"], ["i"], "T1", perm=[1, 0, 2]),
            node("Flatten", ["i"], ["flattened"], "F0", axis=1),
        ]
    elif flatten:
        nodes.append(node("Reshape", ["f", flatten], ["flattened"], "R0"))
    else:
        nodes.append(node("Flatten", ["f"], ["flattened"], "F0", axis=1))
    nodes.append(node("Gemm", ["flattened", "matrix", "bias"], ["embedding"], "Gemm0"))
    tensor = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "small",
        [tensor("image", onnx.TensorProto.FLOAT, [batch, channels, side, side])],
        [tensor("embedding", onnx.TensorProto.FLOAT, [batch, DIM])],
        [onnx.numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))
    return path


def by_onnxruntime(path: Path, gray_levels: torch.Tensor) -> torch.Tensor:
    """Unit embeddings by a plain session, one image at a time."""
    session = onnxruntime.InferenceSession(str(path), providers=[CPU])
    raw = [session.run(None, {"image": image[None].numpy()})[0].reshape(1, -1) for image in gray_levels]
    return torch.nn.functional.normalize(torch.from_numpy(np.concatenate(raw)))


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(7, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))


def one_line(error: pytest.ExceptionInfo[FrbenchError], *parts: str) -> bool:
    text = str(error.value)
    return "\n" not in text and len(text) < 600 and all(part in text for part in parts)


FILES = {
    "dynamic batch": {},
    "lower bound omitted": {"clip": ("", "high")},
    "upper bound omitted": {"clip": ("low", "")},
    "upper bound not named": {"clip": ("low",)},
    "fixed batch": {"batch": 1},
    "batch baked into a reshape": {"batch": 1, "flatten": "flat"},
    "wrong without an error at other batches": {"batch": 1, "flatten": "flat_or_wrong"},
    "batch moved and baked in": {"batch": 1, "flatten": "transposed"},
    "declared dynamic but baked in": {"flatten": "flat_or_wrong"},
}


@pytest.mark.filterwarnings("ignore:FixedBatch is used unfolded")
@pytest.mark.parametrize("kind", [OnnxRecognizer, OnnxRuntimeRecognizer])
@pytest.mark.parametrize("options", FILES.values(), ids=FILES)
def test_files_of_every_habit_give_onnxruntimes_embeddings(tmp_path: Path, images, kind, options) -> None:
    path = write(tmp_path / "net.onnx", **options)
    found = kind("net", str(path), mean=0, std=1).embed(images)
    assert found.shape == (7, DIM)
    assert (found - by_onnxruntime(path, images * 255)).abs().max() < 1e-4


def test_a_white_box_gives_the_gradient_of_the_black_box(tmp_path: Path, images) -> None:
    path = write(tmp_path / "net.onnx")
    white, black = OnnxRecognizer("white", str(path)), OnnxRuntimeRecognizer("black", str(path))
    assert white.differentiable
    assert not black.differentiable
    x = images[:1].clone().requires_grad_(True)
    direction = torch.nn.functional.normalize(torch.randn(1, DIM, generator=torch.Generator().manual_seed(0)))
    (gradient,) = torch.autograd.grad((white.embed(x) * direction).sum(), x)
    change = gradient / gradient.norm() * 0.05
    scores = [(black.embed(images[:1] + sign * change) * direction).sum() for sign in (1, -1)]
    assert float(scores[0] - scores[1]) / 0.1 == pytest.approx(float(gradient.norm()), rel=0.02)
    assert not black.embed(x).requires_grad


@pytest.mark.parametrize("inside", [True, False])
def test_auto_normalisation_follows_insightface(tmp_path: Path, images, inside: bool) -> None:
    arcface = pytest.importorskip("insightface.model_zoo.arcface_onnx")
    path = write(tmp_path / "net.onnx", inside=inside)
    theirs = arcface.ArcFaceONNX(str(path))
    bgr = [np.ascontiguousarray((image * 255).round().byte().permute(1, 2, 0).numpy()[:, :, ::-1]) for image in images]
    wanted = torch.nn.functional.normalize(torch.from_numpy(theirs.get_feat(bgr)))
    rounded = (images * 255).round() / 255
    assert (OnnxRecognizer("net", str(path)).embed(rounded) - wanted).abs().max() < 1e-4


def test_the_declared_size_is_taken_and_images_resized(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx")
    assert OnnxRecognizer("net", str(path)).embed(torch.rand(2, 3, 160, 160)).shape == (2, DIM)
    assert OnnxRecognizer("net", str(path)).preprocessing.size == SIDE


OTHER_FILES = {
    "a web page": b"<html>404: not found</html>\n",
    "an empty file": b"",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "a text file that begins with": b"hello world\n" * 50,
    "a pickle of Python objects": pickle.dumps(torch.nn.Linear(2, 2), 2),
}


@pytest.mark.parametrize("kind", [OnnxRecognizer, OnnxRuntimeRecognizer])
@pytest.mark.parametrize("what", OTHER_FILES)
def test_a_file_that_is_no_onnx_is_named(tmp_path: Path, kind, what: str) -> None:
    (tmp_path / "net.onnx").write_bytes(OTHER_FILES[what])
    with pytest.raises(FrbenchError) as error:
        kind("net", str(tmp_path / "net.onnx")).embed(torch.rand(1, 3, SIDE, SIDE))
    assert one_line(error, "net.onnx is " + what, "not an ONNX model")


def test_a_truncated_file_is_one_clear_line(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FrbenchError) as error:
        OnnxRecognizer("net", str(path)).embed(torch.rand(1, 3, SIDE, SIDE))
    assert one_line(error, "net.onnx", "not a readable ONNX model")


@pytest.mark.parametrize("options", [{"channels": 1}, {"channels": 112}])
def test_a_network_that_takes_no_rgb_images_is_one_clear_line(tmp_path: Path, options) -> None:
    path = write(tmp_path / "net.onnx", **options)
    with pytest.raises(FrbenchError) as error:
        OnnxRecognizer("net", str(path)).embed(torch.rand(1, 3, SIDE, SIDE))
    assert one_line(error, "net.onnx", "RGB images, (N, 3, H, W)")


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(FrbenchError) as error:
        OnnxRecognizer("net", str(tmp_path / "none.onnx"), download_hint="ask").embed(torch.rand(1, 3, SIDE, SIDE))
    assert one_line(error, "none.onnx", "does not exist", "ask")


def test_a_missing_package_names_the_extra_that_brings_it() -> None:
    with pytest.raises(FrbenchError, match=r'pip install "frbench\[onnx\]"'):
        require("no_such_runtime")


def test_asking_for_cuda_without_it_is_refused_and_auto_falls_back(tmp_path: Path, images) -> None:
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    path = write(tmp_path / "net.onnx")
    with pytest.raises(FrbenchError) as error:
        OnnxRuntimeRecognizer("net", str(path), providers=[CUDA, CPU]).embed(images)
    assert one_line(error, "asked for CUDAExecutionProvider", "runs on CPUExecutionProvider", "frbench[onnx-gpu]")
    assert OnnxRuntimeRecognizer("net", str(path), device="auto").embed(images).shape == (7, DIM)


@pytest.mark.parametrize(
    ("installed", "remedy"),
    [
        ({"onnxruntime": "1", "onnxruntime-gpu": "1"}, "--force-reinstall --no-deps onnxruntime-gpu"),
        ({"onnxruntime-gpu": "1"}, "does not find a GPU"),
        ({"onnxruntime": "1"}, "pip uninstall onnxruntime"),
    ],
)
def test_the_remedy_depends_on_what_is_installed(monkeypatch, installed, remedy: str) -> None:
    monkeypatch.setattr(onnx_runtime, "_installed", installed.get)
    with pytest.raises(FrbenchError) as error:
        check_providers([CUDA, CPU], [CPU])
    assert one_line(error, remedy)
    check_providers([CUDA, CPU], [CUDA, CPU])


def test_doctor_hears_of_two_runtimes_that_overwrite_each_other(monkeypatch) -> None:
    monkeypatch.setattr(onnx_runtime, "_installed", {"onnxruntime": "1.2", "onnxruntime-gpu": "1.3"}.get)
    assert ["1.2" in problem and "1.3" in problem for problem in onnx_runtime.provider_problems()] == [True]
    monkeypatch.setattr(onnx_runtime, "_installed", {}.get)
    assert onnx_runtime.provider_problems() == []


def test_the_runtime_uses_as_many_threads_as_torch(tmp_path: Path) -> None:
    session = onnx_runtime.open_session(write(tmp_path / "net.onnx"), [CPU])
    assert session.get_session_options().intra_op_num_threads == torch.get_num_threads()


def test_the_fingerprint_knows_the_file_and_its_feeding_but_no_path(tmp_path: Path) -> None:
    first, second = write(tmp_path / "one.onnx"), write(tmp_path / "two.onnx")
    ours = OnnxRecognizer("a", str(first)).fingerprint()
    assert ours == OnnxRecognizer("b", str(second)).fingerprint()
    assert ours != OnnxRecognizer("a", str(first), std=128).fingerprint()
    assert ours["preprocessing"]["mean"] == 127.5


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A folder like an unpacked InsightFace pack: something else first, then the recognizer."""
    pytest.importorskip("insightface")
    folder = tmp_path / "models" / "small_l"
    folder.mkdir(parents=True)
    write(folder / "w_small.onnx")
    return folder


@pytest.mark.parametrize("differentiable", [True, False])
def test_an_insightface_pack_is_found_by_name(pack: Path, images, differentiable: bool) -> None:
    recognizer = InsightfacePack("small_l", root=str(pack.parent.parent), differentiable=differentiable)
    wanted = by_onnxruntime(pack / "w_small.onnx", (images * 255 - 127.5) / 127.5)
    x = images.clone().requires_grad_(True)
    found = recognizer.embed(x)
    assert (found - wanted).abs().max() < 1e-4
    assert found.requires_grad == differentiable
    assert recognizer.name == "insightface_small_l"


def test_a_pack_that_is_not_there_is_not_downloaded_unasked(tmp_path: Path, monkeypatch) -> None:
    storage = pytest.importorskip("insightface.utils.storage")
    monkeypatch.setattr(storage, "ensure_available", lambda *arguments, **options: pytest.fail("tried to download"))
    with pytest.raises(FrbenchError) as error:
        InsightfacePack("buffalo_l", root=str(tmp_path)).embed(torch.rand(1, 3, SIDE, SIDE))
    assert one_line(error, "buffalo_l", "download=true", "non-commercial")


def test_a_pack_without_a_recognizer_is_one_clear_line(pack: Path, monkeypatch) -> None:
    zoo = pytest.importorskip("insightface.model_zoo")
    for answer in (None, SimpleNamespace(taskname="detection")):
        monkeypatch.setattr(zoo, "get_model", lambda *arguments, answer=answer, **options: answer)
        with pytest.raises(FrbenchError) as error:
            InsightfacePack("small_l", root=str(pack.parent.parent)).embed(torch.rand(1, 3, SIDE, SIDE))
        assert one_line(error, "w_small.onnx", "recognizer=onnx recognizer.path=FILE")


@pytest.mark.realdata
def test_a_real_file_with_a_baked_in_batch_agrees_with_its_checkpoint(real_data: Path, images) -> None:
    from frbench.harness.recognizers.architectures.mobilefacenet import MobileFaceNet
    from frbench.harness.recognizers.torch_recognizer import TorchRecognizer

    models, mean, std = real_data / "models", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    checkpoint = TorchRecognizer("pt", MobileFaceNet, str(models / "foamliu_mobilefacenet.pt"), mean=mean, std=std)
    for kind in (OnnxRecognizer, OnnxRuntimeRecognizer):
        exported = kind("onnx", str(models / "foamliu_mobilefacenet.onnx"), mean=mean, std=std, scale=1)
        assert (exported.embed(images) - checkpoint.embed(images)).abs().max() < 1e-4
