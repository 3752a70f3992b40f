"""A face-compare service over HTTP as a recognizer: it takes 8-bit images and returns only a similarity."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from io import BytesIO
from typing import Any, ClassVar, Literal

import torch

from frbench.harness.core.contracts import Images, Scores
from frbench.harness.core.domains import AnyFloat, NonNegativeInt, NonZero, Percent, Positive, PositiveInt
from frbench.harness.core.errors import FrbenchError
from frbench.harness.images.eight_bit import to_bytes
from frbench.harness.recognizers.http_client import HttpClient, secrets
from frbench.harness.recognizers.preprocessing import FEEDING

_MEDIA = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "bmp": "image/bmp"}
# Lossless where the format has it, and quick rather than small.
_SAVING: dict[str, dict[str, Any]] = {
    "png": {"compress_level": 1},
    "jpeg": {"quality": 95, "subsampling": 0},
    "webp": {"lossless": True, "quality": 0},
    "bmp": {},
}


@dataclass(frozen=True)
class CompareService:
    """Not an embedder: ``compare`` sends each pair as one request and reads a similarity from the JSON answer.

    url: where to POST. encoding: multipart files, or a JSON object with base64 texts; probe_field and reference_field
        name the two pictures, ``fields`` are sent beside them.
    headers_from_env, fields_from_env: name -> the environment variable that holds the value; values are never kept.
    score_path: where the similarity stands in the answer, dots between keys and list numbers ("result.0.confidence").
    score_scale, score_offset: score = value * score_scale + score_offset, to bring the service's values to [-1, 1].
    service_version: what the service runs, as far as you know. Kept scores belong to it. Without it the place
        version_path of the answer to a first, gray pair says so; without both, the URL stands for it.
    random: whether the service answers the same question differently each time.
    timeout_s, retries, requests_per_second, concurrency: see ``HttpClient``.
    min_clean_accuracy: least clean accuracy in per cent; see ``accuracy_check``.
    """

    identity = "recognizer.compare_service"
    version = 1

    url: str
    name: str = "service"
    service_version: str | None = None
    version_path: str | None = "version"
    encoding: Literal["multipart", "json_base64"] = "multipart"
    probe_field: str = "probe"
    reference_field: str = "reference"
    image_format: Literal["png", "jpeg", "webp", "bmp"] = "png"
    fields: Mapping[str, Any] | None = None
    headers_from_env: Mapping[str, str] | None = None
    fields_from_env: Mapping[str, str] | None = None
    score_path: str = "similarity"
    score_scale: NonZero = 1.0
    score_offset: AnyFloat = 0.0
    random: bool = False
    timeout_s: Positive = 30.0
    retries: NonNegativeInt = 4
    requests_per_second: Positive | None = None
    concurrency: PositiveInt = 16
    min_clean_accuracy: Percent | Mapping[str, Percent] | None = None

    differentiable = False
    elsewhere: ClassVar[Mapping[str, str]] = dict.fromkeys(FEEDING, "the service prepares pictures for its own network")

    def compare(self, probe: Images, reference: Images) -> Scores:
        """Scores float32 (N,) of N pairs, after rounding to 8 bits. Raises FrbenchError where the service fails."""
        client, pairs = self._client, zip(_rounded(probe), _rounded(reference), strict=True)
        with ThreadPoolExecutor(self.concurrency) as pool:
            asked = [pool.submit(self._score, client, *pair) for pair in pairs]
            try:
                scores = [each.result() for each in asked]
            except BaseException:
                pool.shutdown(cancel_futures=True)  # after a failure no further request is paid for
                raise
        return torch.tensor(scores, dtype=torch.float32, device=probe.device)

    @property
    def digest(self) -> str:
        """SHA-256 of what is known of the service: its version and how its answer is read."""
        return hashlib.sha256(json.dumps(self.fingerprint(), sort_keys=True).encode()).hexdigest()

    def fingerprint(self) -> dict[str, Any]:
        """All that determines the scores: not the URL where the version is known, nor the request rate."""
        reading = {"score_path": self.score_path, "scale": self.score_scale, "offset": self.score_offset}
        return {"service": self._identity, "image_format": self.image_format, "random": self.random, **reading}

    @cached_property
    def _identity(self) -> str:
        if self.service_version is not None or self.version_path is None:
            return self.service_version or self.url
        gray = Picture(bytes([127]) * (3 * 112 * 112), 112, 112)
        try:
            return str(self._at(self.version_path, self._answer(self._client, gray, gray)))
        except FrbenchError as error:
            raise FrbenchError(
                f"{error} (asked with a gray picture what it runs: recognizer.service_version=NAME says it instead)"
            ) from error

    @cached_property
    def _client(self) -> HttpClient:
        headers = secrets(self.headers_from_env, "recognizer.headers_from_env")
        return HttpClient(self.url, headers, self.timeout_s, self.retries, self.requests_per_second, self.concurrency)

    def _score(self, client: HttpClient, probe: Picture, reference: Picture) -> float:
        value = self._at(self.score_path, self._answer(client, probe, reference))
        try:
            score = float(value) * self.score_scale + self.score_offset
        except (TypeError, ValueError):
            score = math.nan
        if isinstance(value, bool) or not math.isfinite(score):
            raise FrbenchError(f"{self.url}: answered {str(value)[:80]!r} at {self.score_path}, expected a number")
        return score

    def _answer(self, client: HttpClient, probe: Picture, reference: Picture) -> Any:
        files = {
            self.probe_field: _encoded(probe, self.image_format),
            self.reference_field: _kept(reference, self.image_format),
        }
        beside = {**(self.fields or {}), **secrets(self.fields_from_env, "recognizer.fields_from_env")}
        if self.encoding == "json_base64":
            texts = {name: base64.b64encode(data).decode() for name, data in files.items()}
            return client.post(json={**beside, **texts})
        media = _MEDIA[self.image_format]
        named = {name: (f"{name}.{self.image_format}", data, media) for name, data in files.items()}
        return client.post(data=beside, files=named)

    def _at(self, path: str, answer: Any) -> Any:
        """The value at ``path`` of an answer."""
        found = answer
        for key in path.split("."):
            try:
                found = found[int(key)] if isinstance(found, list) else found[key]
            except (KeyError, IndexError, ValueError, TypeError) as error:
                shown = json.dumps(answer)[:200]
                raise FrbenchError(f"{self.url}: nothing stands at {path} of the answer {shown}") from error
        return found


@dataclass(frozen=True)
class Picture:
    """RGB bytes of one picture."""

    identity = "recognizer.service_picture"
    version = 1

    rgb: bytes
    width: int
    height: int


def _rounded(images: Images) -> list[Picture]:
    """Images (N, 3, H, W) in [0, 1] as the nearest pictures of 8 bits."""
    stack = to_bytes(images)
    height, width = stack.shape[1:3]
    return [Picture(each.tobytes(), width, height) for each in stack]


def _encoded(picture: Picture, image_format: str) -> bytes:
    from PIL import Image

    file = BytesIO()
    image = Image.frombytes("RGB", (picture.width, picture.height), picture.rgb)
    image.save(file, image_format, **_SAVING[image_format])
    return file.getvalue()


_kept = lru_cache(maxsize=256)(_encoded)  # a reference is sent with each of its pair's queries
