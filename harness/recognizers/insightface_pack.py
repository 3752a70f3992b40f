"""Recognizers from InsightFace's model packs, by name. The pretrained packs are for non-commercial research only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from frbench.harness.core.contracts import Embeddings, Images
from frbench.harness.core.domains import Percent, Positive
from frbench.harness.core.errors import ConfigError, CorruptFile, DataMissing
from frbench.harness.recognizers.onnx_file import AutoDeviation, AutoMean, OnnxFile
from frbench.harness.recognizers.onnx_graph import require
from frbench.harness.recognizers.onnx_recognizer import OnnxRecognizer
from frbench.harness.recognizers.onnx_runtime import CPU, OnnxRuntimeRecognizer
from frbench.harness.recognizers.preprocessing import Size


@dataclass(frozen=True)
class InsightfacePack:
    """The recognition network of ``root``/models/``pack``, found as InsightFace finds it.

    differentiable: through onnx2torch (white box), or by onnxruntime (black box).
    download: whether InsightFace may fetch a pack that is not there (hundreds of megabytes).
    mean, std, scale, size, bgr: see ``OnnxFile``.
    min_clean_accuracy, device, providers: see ``TorchRecognizer`` and ``OnnxRuntimeRecognizer``.
    """

    identity = "recognizer.insightface_pack"
    version = 1

    pack: str
    root: str = "~/.insightface"
    differentiable: bool = True
    download: bool = False
    mean: AutoMean = "auto"
    std: AutoDeviation = "auto"
    scale: Positive = 255.0
    size: Size | None = None
    bgr: bool = False
    min_clean_accuracy: Percent | Mapping[str, Percent] | None = None
    device: str = "cpu"
    providers: Sequence[str] | Literal["auto"] = "auto"

    elsewhere = OnnxFile.elsewhere

    @property
    def name(self) -> str:
        return f"insightface_{self.pack}"

    @cached_property
    def recognizer(self) -> OnnxFile:
        """The ONNX recognizer inside."""
        common: dict[str, Any] = {
            "name": self.name,
            "path": str(self._recognition()),
            "mean": self.mean,
            "std": self.std,
            "scale": self.scale,
            "size": self.size,
            "bgr": self.bgr,
            "device": self.device,
        }
        if self.differentiable:
            return OnnxRecognizer(**common)
        return OnnxRuntimeRecognizer(**common, providers=self.providers)

    @property
    def digest(self) -> str:
        """SHA-256 of the recognition network's file."""
        return self.recognizer.digest

    def embed(self, images: Images) -> Embeddings:
        """Images float32 (N, 3, H, W), RGB in [0, 1] -> unit-length embeddings float32 (N, D)."""
        embeddings: Embeddings = self.recognizer.embed(images)  # type: ignore[attr-defined]
        return embeddings

    def raw(self, images: Images) -> Tensor:
        """The same before they are brought to unit length, float32 (N, D)."""
        embeddings: Tensor = self.recognizer.raw(images)  # type: ignore[attr-defined]
        return embeddings

    def fingerprint(self) -> dict[str, Any]:
        return self.recognizer.fingerprint()

    def _recognition(self) -> Path:
        """The file that InsightFace takes for recognition."""
        model_zoo = require("insightface.model_zoo", "insightface")
        folder = self._folder()
        files = sorted(folder.glob("*.onnx"))
        for file in files:
            model = _routed(model_zoo, file)
            if getattr(model, "taskname", None) == "recognition":
                return file
        names = ", ".join(file.name for file in files) or "no ONNX file"
        raise ConfigError(
            f"pack {self.pack} in {folder} holds {names}, none of which InsightFace takes for a recognizer: "
            "check recognizer.pack, or name the file with recognizer=onnx recognizer.path=FILE"
        )

    def _folder(self) -> Path:
        folder = Path(self.root).expanduser() / "models" / self.pack
        if not folder.is_dir() and self.download:
            storage = require("insightface.utils.storage", "insightface")
            try:
                storage.ensure_available("models", self.pack, root=self.root)
            except Exception as error:  # requests' and zipfile's errors
                reason = " ".join(str(error).split())[:120]
                raise DataMissing(
                    f"InsightFace could not download {self.pack} ({reason}): unpack it in {folder}"
                ) from error
        if not folder.is_dir():
            raise DataMissing(
                f"InsightFace pack {self.pack} is not at {folder}: unpack {self.pack}.zip of its model zoo there, "
                "or allow the download with recognizer.download=true (non-commercial research only)"
            )
        return folder


def _routed(model_zoo: Any, file: Path) -> Any:
    """InsightFace's wrapper of a file; None where it knows no use for it or cannot read it."""
    try:
        return model_zoo.get_model(str(file), providers=[CPU])
    except Exception as error:  # a broken file in the pack
        reason = " ".join(str(error).split())[:120]
        raise CorruptFile(f"InsightFace cannot read {file} ({reason}): download the pack again") from error
