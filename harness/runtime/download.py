"""Downloads: streamed, resumed by byte ranges, checked against their SHA-256, and renamed into place.

Bytes go to ``<target>.part`` and are renamed after the check, so a target is always a complete file. Only http and
https are supported. ``FRBENCH_MIRROR`` names a web folder with the layout of the data folder, which replaces the
original addresses; digests are checked all the same.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx

from frbench.harness.core.errors import ConfigError, CorruptFile, DataMissing
from frbench.harness.core.leases import lease
from frbench.harness.runtime.http import RetryableError, retry_after
from frbench.harness.runtime.progress import Report, byte_bar

TIMEOUT = 30.0
ROUNDS = 5
FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0
PERMANENT = {400, 401, 403, 404, 405, 410, 451}


@dataclass(frozen=True)
class Download:
    """One file to download.

    Args:
        urls: Addresses, tried in turn.
        target: Path of the finished file.
        sha256: Its digest, where known.
        magic: The bytes that the file starts with.
    """

    urls: tuple[str, ...]
    target: Path
    sha256: str | None = None
    magic: bytes = b""

    @property
    def part(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    def resumable(self) -> int:
        """Bytes of an interrupted download to resume after; 0 without a digest, which alone proves that halves fit."""
        return self.part.stat().st_size if self.sha256 and self.part.is_file() else 0


class PermanentError(Exception):
    """An address that will not serve the file."""


def mirrored(urls: Sequence[str], place: str, mirror: str | None = None) -> tuple[str, ...]:
    """The addresses of the file ``place`` of the data folder: that of the mirror where there is one, else ``urls``."""
    base = (mirror or os.environ.get("FRBENCH_MIRROR", "")).rstrip("/")
    return (f"{base}/{quote(place)}",) if base else tuple(urls)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(
    url: str | Sequence[str], target: Path, sha256: str | None = None, progress: Report = lambda done, total: None
) -> Path:
    """Download one file from the first address that serves it.

    An existing file with the right digest is kept; with a digest, an interrupted download resumes.

    Args:
        url: One address or several.
        target: Path of the file.
        sha256: Its digest, where known.
        progress: Called with bytes done and bytes in all.

    Returns:
        ``target``.

    Raises:
        FrbenchError: No address serves the file; nothing is written at ``target``.
    """
    download = Download((url,) if isinstance(url, str) else tuple(url), target, sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    with lease(target.with_name(f".{target.name}.lease")):
        _fetch(download, progress, threading.Event())
    return target


def fetch_many(
    downloads: Sequence[Download],
    folder: Path,
    progress: Report = lambda done, total: None,
    workers: int = 16,
) -> None:
    """Download small files in parallel under one lease on ``folder``; existing files are kept.

    ``progress`` is called with files done and files in all. The first file that fails ends the run with its error;
    finished files stay, so the next call continues.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    with lease(folder / ".fetch.lease"), ThreadPoolExecutor(workers) as pool:
        waiting = [pool.submit(_fetch, download, lambda done, total: None, stop) for download in downloads]
        try:
            for done, future in enumerate(as_completed(waiting), 1):
                future.result()
                progress(done, len(downloads))
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def fetch_weights(url: str | Sequence[str], sha256: str, cache: Path) -> Path:
    """Download weights to ``cache/weights``, named by digest and name, with a progress bar."""
    urls = [url] if isinstance(url, str) else list(url)
    if not urls:
        raise ConfigError("the weights have no address; give a url to download them from, or the path of the file")
    name = Path(urlsplit(urls[0]).path).name or "weights"
    target = cached_weights(name, sha256, cache)
    if target.is_file() and file_sha256(target) == sha256:
        return target
    with byte_bar(f"fetching {name}") as progress:
        return fetch(urls, target, sha256, progress)


def cached_weights(name: str, sha256: str, cache: Path) -> Path:
    """The path of the downloaded weights ``name`` in the cache."""
    return cache.expanduser() / "weights" / f"{sha256[:12]}-{name}"


def locate_weights(path: Path, urls: Sequence[str], sha256: str | None, cache: Path) -> Path:
    """The path of the weights: ``path`` where it exists, else a download in ``cache``.

    A digest, where there is one, is checked in both cases.
    """
    path = path.expanduser()
    if path.is_file():
        if sha256 and (got := file_sha256(path)) != sha256:
            raise CorruptFile(f"{path}: expected SHA-256 {sha256}, got {got}: replace the file")
        return path
    sources = mirrored(urls, f"models/{path.name}")
    if not sha256 or not sources:
        raise DataMissing(f"no weights at {path}, and no public address for them: put the file there")
    return fetch_weights(sources, sha256, cache)


def _fetch(download: Download, progress: Report, stop: threading.Event) -> None:
    target, urls = download.target, list(download.urls)
    if target.is_file() and (download.sha256 is None or file_sha256(target) == download.sha256):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    for url in urls:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ConfigError(f"cannot fetch {url}: only http and https addresses are fetched")
    reason, attempt, farthest = "no address is known", 0, download.resumable()
    while urls and attempt < ROUNDS and not stop.is_set():
        wait = FIRST_WAIT * 2**attempt if attempt else 0.0
        for url in list(urls):
            try:
                _try(url, download, progress)
                return
            except RetryableError as error:
                reason, wait = f"{error} ({url})", max(wait, error.retry_after or 0.0)
            except PermanentError as error:
                reason = f"{error} ({url})"
                urls.remove(url)
        attempt = 0 if download.resumable() > farthest else attempt + 1  # progress on a bad connection is not a failure
        farthest = max(farthest, download.resumable())
        stop.wait(min(wait, LONGEST_WAIT) if urls and attempt < ROUNDS else 0.0)
    raise DataMissing(f"could not fetch {target.name}: {reason}: try again, or put the file at {target} by hand")


def _try(url: str, download: Download, progress: Report) -> None:
    """Download from one address. Raises RetryableError or PermanentError."""
    resumed = download.resumable()
    try:
        _stream(url, download.part, resumed, progress)
    except httpx.HTTPStatusError as error:
        status, reason = error.response.status_code, error.response.reason_phrase
        if status in PERMANENT:
            raise PermanentError(f"HTTP {status} {reason}") from None
        if status != 416 or not resumed:  # 416: nothing left to send, or another file; the digest decides
            raise RetryableError(f"HTTP {status} {reason}", retry_after(error.response.headers)) from None
    except (OSError, httpx.HTTPError) as error:
        raise RetryableError(f"{type(error).__name__}: {error}") from None
    _settle(download, resumed > 0)


def _stream(url: str, part: Path, resumed: int, progress: Report) -> None:
    headers = {"Range": f"bytes={resumed}-"} if resumed else {}
    with _client().stream("GET", url, headers=headers) as response:
        response.raise_for_status()
        if not response.headers.get("Content-Range", "").startswith(f"bytes {resumed}-"):
            resumed = 0  # the server sends the whole file
        length = response.headers.get("Content-Length")
        total = None if length is None else resumed + int(length)
        done = resumed
        progress(done, total)
        with part.open("ab" if resumed else "wb") as file:
            for chunk in response.iter_raw():
                file.write(chunk)
                done += len(chunk)
                progress(done, total)
    if total is not None and done < total:
        raise RetryableError(f"the connection dropped after {done} of {total} bytes")


@cache
def _client() -> httpx.Client:
    """The client of all downloads, with the certificates of the system, to which institutions add their own."""
    headers = {"User-Agent": "frbench", "Accept-Encoding": "identity"}
    return httpx.Client(headers=headers, timeout=TIMEOUT, follow_redirects=True, verify=ssl.create_default_context())


def _settle(download: Download, resumed: bool) -> None:
    """Check the finished download and rename it to its target, or remove it."""
    part = download.part
    with part.open("rb") as file:
        begins = file.read(len(download.magic))
    if begins != download.magic:
        part.unlink()
        raise PermanentError(f"expected a file that begins with {download.magic!r}, got {begins!r}")
    if download.sha256 and (got := file_sha256(part)) != download.sha256:
        part.unlink()
        if resumed:  # the halves may belong to different files: start again
            raise RetryableError("wrong digest of the resumed file")
        raise PermanentError(f"expected SHA-256 {download.sha256}, got {got}")
    os.replace(part, download.target)
