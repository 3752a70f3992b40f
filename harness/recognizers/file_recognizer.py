"""The fields and properties of every recognizer whose network stands in a file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from frbench.harness.core.domains import Percent
from frbench.harness.recognizers.weight_files import find_weights, people_in
from frbench.harness.runtime.download import file_sha256


@dataclass(frozen=True, kw_only=True)
class FileRecognizer(ABC):
    """A recognizer whose network stands in a file.

    Args:
        urls: Addresses to download the file from where it does not exist.
        sha256: Digest of the file, which a download needs.
        cache: Folder of downloads.
        download_hint: How to get a file without a URL; the end of the error message.
        min_clean_accuracy: Minimum clean accuracy in per cent, for every data set or by name; see ``accuracy_check``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
    """

    urls: Sequence[str] = ()
    sha256: str | None = None
    cache: str | None = None
    download_hint: str = ""
    min_clean_accuracy: Percent | Mapping[str, Percent] | None = None
    device: str = "cpu"

    @property
    @abstractmethod
    def location(self) -> str:
        """The path of the file, or ``pkg:NAME`` of a file shipped with frbench."""

    @cached_property
    def file(self) -> Path:
        """The file, downloaded where necessary. Raises FrbenchError: it is not there."""
        return find_weights(self.location, self.urls, self.sha256, self.cache, self.download_hint)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return file_sha256(self.file)

    @cached_property
    def trained_on(self) -> np.ndarray:
        """``people_digests`` of the training identities that ``frbench fit`` stored; empty for any other file."""
        return people_in(self.file).numpy()
