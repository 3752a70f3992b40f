"""ONNX recognizers as black boxes, run by onnxruntime with a checked execution provider."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from frbench.harness.core.contracts import Embeddings, Images
from frbench.harness.core.errors import ConfigError, CorruptFile, FrbenchError
from frbench.harness.recognizers.inference import resolve_device
from frbench.harness.recognizers.onnx_canonical import fold_constants, free_batch
from frbench.harness.recognizers.onnx_file import FixedBatch, OnnxFile, first_that_agrees
from frbench.harness.recognizers.onnx_graph import Interface, read_onnx, require
from frbench.harness.recognizers.preprocessing import unit_length
from frbench.harness.runtime.out_of_memory import is_out_of_memory

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
# Runtimes on other hardware and with fused kernels differ in the fourth digit; a wrong batch differs in the first.
TOLERANCE = 1e-3
HALF_PRECISION = 2e-2


@dataclass(frozen=True)
class OnnxRuntimeRecognizer(OnnxFile):
    """An ONNX file that only answers: no gradients.

    providers: names of onnxruntime's execution providers, best first; the session must really have the first, or
               FrbenchError. ``auto`` takes CUDA where ``device`` and the installed onnxruntime allow it, else the CPU.
    """

    identity = "recognizer.onnx_runtime"
    version = 1

    providers: Sequence[str] | Literal["auto"] = "auto"

    differentiable = False

    @cached_property
    def session(self) -> Callable[[Tensor], Tensor]:
        """Preprocessed images (N, 3, S, S) -> raw embeddings (N, D), both on the CPU, at any batch size."""
        freed = read_onnx(self.file)[0]
        fold_constants(freed)
        free_batch(freed)
        providers = self._providers()
        own = open_file(self.file, self.interface, providers)
        if not self._fell_back():
            check_providers(providers, own.get_providers())
        fixed = FixedBatch(Runner(own, self.interface), self.interface.batch or 1)
        ways: list[Callable[[], Callable[[Tensor], Tensor]]] = [
            lambda: Runner(open_session(freed.SerializeToString(), providers), self.interface),
            lambda: fixed,
        ]
        probes = self.probes()
        return first_that_agrees(ways, probes, fixed(probes), tolerance(self.interface, TOLERANCE), self.file)

    def embed(self, images: Images) -> Embeddings:
        """Images float32 (N, 3, H, W), RGB in [0, 1] -> unit-length embeddings float32 (N, D), without gradient."""
        return unit_length(self.raw(images))

    def raw(self, images: Images) -> Tensor:
        """The same before they are brought to unit length, float32 (N, D)."""
        with torch.no_grad():
            return self.session(self.preprocessing(images.detach().cpu())).to(images.device)

    def _providers(self) -> list[str]:
        if self.providers != "auto":
            return list(self.providers)
        return [CUDA, CPU] if resolve_device(self.device).type == "cuda" else [CPU]

    def _fell_back(self) -> bool:
        """Whether nobody asked for more than what there is: then the CPU will do, and ``doctor`` says so."""
        return self.providers == "auto" and self.device == "auto"


def open_session(model: Path | bytes, providers: Sequence[str]) -> Any:
    """An onnxruntime session with as many threads as PyTorch has; providers that are not there are passed over."""
    onnxruntime = require("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    source = model if isinstance(model, bytes) else str(model)
    available = set(onnxruntime.get_available_providers())
    chosen = [name for name in providers if name in available] or [CPU]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return onnxruntime.InferenceSession(source, options, providers=chosen)
    except Exception as error:  # onnxruntime's exceptions share no public base
        reason = " ".join(str(error).split())[:160]
        raise CorruptFile(f"onnxruntime cannot run {_called(model)} ({reason}): export or download it again") from error


def _called(model: Path | bytes) -> str:
    return "the mended model" if isinstance(model, bytes) else str(model)


def open_file(file: Path, interface: Interface, providers: Sequence[str]) -> Any:
    """A session of the file as it is, or repaired in memory where no runtime could run it."""
    return open_session(read_onnx(file)[0].SerializeToString() if interface.repaired else file, providers)


@dataclass(frozen=True)
class Runner:
    """Runs a session on images float32 (N, 3, H, W), in the order of axes and the type of number that it takes.

    Raises:
        FrbenchError: onnxruntime cannot run the graph on them.
        torch.OutOfMemoryError: the device has too little memory.
    """

    session: Any
    interface: Interface

    def __call__(self, images: Tensor) -> Tensor:
        pixels = images.permute(0, 2, 3, 1) if self.interface.channels_last else images
        kind = self.interface.dtype
        array = (pixels.round() if kind.kind in "iu" else pixels).contiguous().numpy().astype(kind)
        try:
            (raw,) = self.session.run([self.interface.output], {self.interface.input: array})
        except Exception as error:  # onnxruntime's exceptions share no public base
            reason = " ".join(str(error).split())[:160]
            if is_out_of_memory(error):
                raise torch.OutOfMemoryError(reason) from error
            raise ConfigError(
                f"onnxruntime fails on images {array.shape} ({reason}): give recognizer.size=, or export the file again"
            ) from error
        return torch.from_numpy(raw).float()


def tolerance(interface: Interface, single: float) -> float:
    """Largest difference of embeddings between two ways to run a graph; ``single`` unless weights are half."""
    return HALF_PRECISION if interface.half else single


def check_providers(asked: Sequence[str], got: Sequence[str]) -> None:
    """Refuse a session that quietly runs elsewhere than asked."""
    if asked and asked[0] not in got:
        raise FrbenchError(f"onnxruntime was asked for {asked[0]} and runs on {got[0]}: {provider_remedy()}")


def provider_remedy() -> str:
    """What to do about a missing CUDA provider, by what is installed."""
    plain, gpu = _installed("onnxruntime"), _installed("onnxruntime-gpu")
    if plain and gpu:
        return (
            f"onnxruntime {plain} and onnxruntime-gpu {gpu} are both installed and overwrite each other; "
            "pip uninstall onnxruntime, then pip install --force-reinstall --no-deps onnxruntime-gpu"
        )
    if gpu:
        return (
            f"onnxruntime-gpu {gpu} does not find a GPU with its CUDA and cuDNN libraries; install them, or use the CPU"
        )
    return 'pip uninstall onnxruntime, then pip install "frbench[onnx-gpu]"; or use providers=auto'


def provider_problems() -> list[str]:
    """For ``doctor``: reasons why ONNX recognizers would run slower than this machine could."""
    if _installed("onnxruntime") and _installed("onnxruntime-gpu"):
        return [provider_remedy()]
    if not torch.cuda.is_available() or not (_installed("onnxruntime") or _installed("onnxruntime-gpu")):
        return []
    has_cuda = CUDA in require("onnxruntime").get_available_providers()
    return [] if has_cuda else [f"ONNX recognizers run on the CPU: {provider_remedy()}"]


def _installed(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
