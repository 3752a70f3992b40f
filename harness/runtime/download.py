"""Files from the web: streamed, resumed, checked against their SHA-256, and put in place in one step.

Bytes arrive in ``<target>.part``, are checked, and only then renamed: what stands at a target is whole. Only http and
https are spoken. ``FRBENCH_MIRROR`` names a web folder with the layout of the data folder, which is asked in place of
the original addresses (digests still hold).
"""

from __future__ import annotations

import hashlib
import http.client
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from filelock import FileLock

from frbench.harness.core.errors import ConfigError, CorruptFile, DataMissing
from frbench.harness.runtime.progress import Report, byte_bar

CHUNK = 1 << 18
TIMEOUT = 30.0
ROUNDS = 5
FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0
PERMANENT = {400, 401, 403, 404, 405, 410, 451}


@dataclass(frozen=True)
class Download:
    """One file to fetch. Addresses are tried in turn; ``sha256`` may be unknown, ``magic`` is how the file begins."""

    urls: tuple[str, ...]
    target: Path
    sha256: str | None = None
    magic: bytes = b""

    @property
    def part(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    def resumable(self) -> int:
        """Bytes that need not be asked for again; without a digest nobody could tell whether the halves fit."""
        return self.part.stat().st_size if self.sha256 and self.part.is_file() else 0


class _Broken(Exception):
    """Worth another try. ``wait``: seconds that the server asks for."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class _Hopeless(Exception):
    """This address will not give the file."""


def mirrored(urls: Sequence[str], place: str, mirror: str | None = None) -> tuple[str, ...]:
    """The addresses of what is at ``place`` in the data folder: the mirror's alone, if one is given or set."""
    base = (mirror or os.environ.get("FRBENCH_MIRROR", "")).rstrip("/")
    return (f"{base}/{quote(place)}",) if base else tuple(urls)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(
    url: str | Sequence[str], target: Path, sha256: str | None = None, progress: Report = lambda done, total: None
) -> Path:
    """Fetch one file from the first of its addresses that gives it, and return ``target``.

    A right file that is already there is kept; with a digest, an interrupted download goes on where it stopped.
    ``progress`` is told bytes. Raises FrbenchError, and puts nothing at ``target``, where no address gives the file.
    """
    download = Download((url,) if isinstance(url, str) else tuple(url), target, sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        _fetch(download, progress, threading.Event())
    return target


def fetch_many(
    downloads: Sequence[Download],
    folder: Path,
    progress: Report = lambda done, total: None,
    workers: int = 16,
) -> None:
    """Fetch small files in parallel under one lock on ``folder``; files already there are kept.

    ``progress`` is told files. The first file that cannot be had ends the run with its error; what has arrived stays,
    so that the next call goes on from there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    with FileLock(folder / ".fetch.lock"), ThreadPoolExecutor(workers) as pool:
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
    """Weights by address and digest, kept in ``cache/weights`` under digest and name; shows a progress bar."""
    urls = [url] if isinstance(url, str) else list(url)
    if not urls:
        raise ConfigError("weights without an address: give a url to fetch them from, or a path to the file")
    name = Path(urlsplit(urls[0]).path).name or "weights"
    target = cached_weights(name, sha256, cache)
    if target.is_file() and file_sha256(target) == sha256:
        return target
    with byte_bar(f"fetching {name}") as progress:
        return fetch(urls, target, sha256, progress)


def cached_weights(name: str, sha256: str, cache: Path) -> Path:
    """Where weights called ``name`` stand in the cache once they are fetched."""
    return cache.expanduser() / "weights" / f"{sha256[:12]}-{name}"


def locate_weights(path: Path, urls: Sequence[str], sha256: str | None, cache: Path) -> Path:
    """Where the weights are: ``path`` if it exists, else the cache, else fetched into the cache.

    A digest, where one is stated, is checked wherever the file comes from.
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
            except _Broken as error:
                reason, wait = f"{error} ({url})", max(wait, error.wait)
            except _Hopeless as error:
                reason = f"{error} ({url})"
                urls.remove(url)
        attempt = 0 if download.resumable() > farthest else attempt + 1  # a bad line that still moves is no failure
        farthest = max(farthest, download.resumable())
        stop.wait(min(wait, LONGEST_WAIT) if urls and attempt < ROUNDS else 0.0)
    raise DataMissing(f"could not fetch {target.name}: {reason}: try again, or put the file at {target} by hand")


def _try(url: str, download: Download, progress: Report) -> None:
    """One try at one address: the file at its target, or _Broken, or _Hopeless."""
    resumed = download.resumable()
    try:
        _stream(url, download.part, resumed, progress)
    except urllib.error.HTTPError as error:
        if error.code in PERMANENT:
            raise _Hopeless(f"HTTP {error.code} {error.reason}") from None
        if error.code != 416 or not resumed:  # 416: nothing left to send, or another file; the digest tells
            after = error.headers.get("Retry-After", "")
            raise _Broken(f"HTTP {error.code} {error.reason}", float(after) if after.isdigit() else 0.0) from None
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(f"{type(error).__name__}: {getattr(error, 'reason', error)}") from None
    _settle(download, resumed > 0)


def _stream(url: str, part: Path, resumed: int, progress: Report) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "frbench", "Accept-Encoding": "identity"})
    if resumed:
        request.add_header("Range", f"bytes={resumed}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if not response.headers.get("Content-Range", "").startswith(f"bytes {resumed}-"):
            resumed = 0  # the server sends the whole file
        length = response.headers.get("Content-Length")
        total = None if length is None else resumed + int(length)
        done = resumed
        progress(done, total)
        with part.open("ab" if resumed else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                done += len(chunk)
                progress(done, total)
    if total is not None and done < total:
        raise _Broken(f"the connection dropped after {done} of {total} bytes")


def _settle(download: Download, resumed: bool) -> None:
    """Check what has arrived and put it in place; a wrong file is removed."""
    part = download.part
    with part.open("rb") as file:
        begins = file.read(len(download.magic))
    if begins != download.magic:
        part.unlink()
        raise _Hopeless(f"expected a file that begins with {download.magic!r}, got {begins!r}")
    if download.sha256 and (got := file_sha256(part)) != download.sha256:
        part.unlink()
        if resumed:  # the two halves may be of different files: once more from the start
            raise _Broken("the resumed file had the wrong digest")
        raise _Hopeless(f"expected SHA-256 {download.sha256}, got {got}")
    os.replace(part, download.target)
