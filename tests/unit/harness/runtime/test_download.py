"""Downloads against a web server on this machine that misbehaves in all the usual ways."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from frbench.harness.core.errors import FrbenchError
from frbench.harness.runtime import download as fetching
from frbench.harness.runtime.download import Download, fetch, fetch_many, fetch_weights, locate_weights, mirrored

CONTENT = bytes(range(256)) * 4096  # 1 MiB
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Site:
    """A web server.

    files: what is served, by path; faults: for each path what to do at the next requests, in turn.

    A fault is an HTTP status, ``("drop", n)`` to close the connection after n bytes, or None to serve.
    ``ranges``: whether Range is understood. ``seen``: (path, Range header) of every request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[int | tuple[str, int] | None]] = field(default_factory=dict)
    ranges: bool = True
    seen: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""
    delay: float = 0.0
    retry_after: str = ""


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *parts: object) -> None:
            return

        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            site.seen.append((self.path, asked))
            turns = site.faults.get(self.path)
            fault = turns.pop(0) if turns else None
            content = site.files.get(self.path)
            if isinstance(fault, int) or content is None:
                self.send_response(fault if isinstance(fault, int) else 404)
                if fault and site.retry_after:
                    self.send_header("Retry-After", site.retry_after)
                self.end_headers()
                return
            self._send(content, int(asked.removeprefix("bytes=").rstrip("-")) if asked and site.ranges else 0, fault)

        def _send(self, content: bytes, start: int, fault: tuple[str, int] | None) -> None:
            if start and start >= len(content):
                self.send_response(416)
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            end = len(content) if fault is None else start + fault[1]
            for at in range(start, end, 1 << 16):
                self.wfile.write(content[at : min(at + (1 << 16), end)])
                threading.Event().wait(site.delay)
            self.close_connection = True

    return Handler


@pytest.fixture
def site() -> Iterator[Site]:
    class Server(ThreadingHTTPServer):
        request_queue_size = 64
        daemon_threads = True

    site = Site({"/a.bin": CONTENT})
    server = Server(("127.0.0.1", 0), _handler(site))
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield site
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "FIRST_WAIT", 0.001)
    monkeypatch.delenv("FRBENCH_MIRROR", raising=False)


def test_that_a_file_arrives_whole_and_nothing_else_is_left(site: Site, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    target = fetch(f"{site.url}/a.bin", tmp_path / "deep" / "a.bin", DIGEST, lambda *done: told.append(done))
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir() if not path.name.endswith(".lock")] == ["a.bin"]
    assert told[0] == (0, len(CONTENT))
    assert told[-1] == (len(CONTENT), len(CONTENT))


def test_that_a_right_file_is_not_asked_for_again_and_a_wrong_one_is_replaced(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    for _ in range(2):
        fetch(f"{site.url}/a.bin", target, DIGEST)
        assert target.read_bytes() == CONTENT
    assert len(site.seen) == 1


def test_that_a_dropped_connection_goes_on_where_it_stopped(site: Site, tmp_path: Path) -> None:
    site.faults["/a.bin"] = [("drop", 300_000), ("drop", 200_000)]
    fetch(f"{site.url}/a.bin", tmp_path / "a.bin", DIGEST)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert [asked for _, asked in site.seen] == [None, "bytes=300000-", "bytes=500000-"]


def test_that_a_line_that_drops_often_but_moves_is_not_given_up(site: Site, tmp_path: Path) -> None:
    site.faults["/a.bin"] = [("drop", 50_000)] * 20
    assert fetch(f"{site.url}/a.bin", tmp_path / "a.bin", DIGEST).read_bytes() == CONTENT


def test_that_a_server_without_ranges_sends_the_whole_file_again(site: Site, tmp_path: Path) -> None:
    site.ranges = False
    site.faults["/a.bin"] = [("drop", 300_000)]
    assert fetch(f"{site.url}/a.bin", tmp_path / "a.bin", DIGEST).read_bytes() == CONTENT
    assert site.seen[1][1] == "bytes=300000-"


def test_that_a_part_of_another_file_is_thrown_away(site: Site, tmp_path: Path) -> None:
    for part in (b"x" * 1000, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 1)):
        (tmp_path / "a.bin.part").write_bytes(part)
        (tmp_path / "a.bin").unlink(missing_ok=True)
        assert fetch(f"{site.url}/a.bin", tmp_path / "a.bin", DIGEST).read_bytes() == CONTENT


def test_that_a_part_that_is_already_whole_is_taken(site: Site, tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    assert fetch(f"{site.url}/a.bin", tmp_path / "a.bin", DIGEST).read_bytes() == CONTENT


def test_that_wrong_bytes_are_one_line_and_leave_nothing_behind(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"] = b"something else"
    with pytest.raises(FrbenchError) as error:
        fetch(f"{site.url}/a.bin", tmp_path / "a.bin", DIGEST)
    text = str(error.value)
    assert "\n" not in text
    assert "a.bin" in text
    assert DIGEST in text
    assert hashlib.sha256(b"something else").hexdigest() in text
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []
    assert len(site.seen) == 1


def test_that_passing_trouble_is_tried_again_and_a_missing_file_is_not(site: Site, tmp_path: Path) -> None:
    site.faults["/a.bin"] = [503, 500, 429]
    assert fetch(f"{site.url}/a.bin", tmp_path / "a.bin", DIGEST).read_bytes() == CONTENT
    site.seen.clear()
    with pytest.raises(FrbenchError, match=r"b\.bin: HTTP 404.*by hand$"):
        fetch(f"{site.url}/b.bin", tmp_path / "b.bin")
    assert len(site.seen) == 1


def test_that_lasting_trouble_ends_with_its_reason(site: Site, tmp_path: Path) -> None:
    site.faults["/a.bin"] = [503] * 100
    with pytest.raises(FrbenchError, match="HTTP 503"):
        fetch(f"{site.url}/a.bin", tmp_path / "a.bin", DIGEST)
    with pytest.raises(FrbenchError, match="refused"):
        fetch("http://127.0.0.1:9/a.bin", tmp_path / "a.bin", DIGEST)


def test_that_the_wait_is_as_long_as_the_server_asks(site: Site, tmp_path: Path) -> None:
    site.retry_after = "1"
    site.faults["/a.bin"] = [429]
    began = time.monotonic()
    fetch(f"{site.url}/a.bin", tmp_path / "a.bin", DIGEST)
    assert time.monotonic() - began >= 1


def test_that_the_next_address_is_asked_where_one_is_missing_or_wrong(site: Site, tmp_path: Path) -> None:
    site.files["/wrong.bin"] = b"wrong"
    urls = [f"{site.url}/{name}.bin" for name in ("missing", "wrong", "a")]
    assert fetch(urls, tmp_path / "a.bin", DIGEST).read_bytes() == CONTENT


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/a", "a.bin"])
def test_that_only_http_and_https_are_spoken(url: str, tmp_path: Path) -> None:
    with pytest.raises(FrbenchError, match="only http and https"):
        fetch(url, tmp_path / "a.bin", DIGEST)


def test_that_many_files_arrive_and_only_absent_ones_are_asked_for(site: Site, tmp_path: Path) -> None:
    site.files = {f"/{i}.jpg": b"jpeg %d" % i for i in range(100)}
    site.faults = {f"/{i}.jpg": [503, ("drop", 3)] for i in range(0, 100, 7)}
    wanted = [Download((f"{site.url}/{i}.jpg",), tmp_path / "d" / f"{i}.jpg", magic=b"jpeg") for i in range(100)]
    told: list[tuple[int, int | None]] = []
    fetch_many(wanted, tmp_path, lambda *done: told.append(done))
    assert told == [(i, 100) for i in range(1, 101)]
    assert {path.name: path.read_bytes() for path in (tmp_path / "d").iterdir()} == {
        name[1:]: content for name, content in site.files.items()
    }
    (tmp_path / "d" / "5.jpg").unlink()
    site.seen.clear()
    fetch_many(wanted, tmp_path)
    assert site.seen == [("/5.jpg", None)]


def test_that_a_page_in_place_of_an_image_is_refused_and_what_came_before_stays(site: Site, tmp_path: Path) -> None:
    site.files = {"/0.jpg": b"jpeg", "/1.jpg": b"<html>log in</html>"}
    wanted = [Download((f"{site.url}/{i}.jpg",), tmp_path / f"{i}.jpg", magic=b"jpeg") for i in range(2)]
    with pytest.raises(FrbenchError, match=r"1\.jpg.*begins with b'jpeg'"):
        fetch_many(wanted, tmp_path, workers=1)
    assert sorted(path.name for path in tmp_path.glob("*.jpg*")) == ["0.jpg"]


def test_that_a_killed_download_is_taken_up_where_it_was(site: Site, tmp_path: Path) -> None:
    site.delay = 0.02  # a second or more for the file
    site.files["/a.bin"] = CONTENT * 4
    digest = hashlib.sha256(CONTENT * 4).hexdigest()
    target, part = tmp_path / "a.bin", tmp_path / "a.bin.part"
    code = (
        "import sys; from pathlib import Path; from frbench.harness.runtime import download; "
        "download.fetch(sys.argv[1], Path(sys.argv[2]), sys.argv[3])"
    )
    process = subprocess.Popen([sys.executable, "-c", code, f"{site.url}/a.bin", str(target), digest])
    while not (part.exists() and part.stat().st_size > 200_000):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not target.exists()
    had = part.stat().st_size
    site.delay = 0
    site.seen.clear()
    fetch(f"{site.url}/a.bin", target, digest)
    assert target.read_bytes() == CONTENT * 4
    assert site.seen == [("/a.bin", f"bytes={had}-")]


def test_that_weights_are_found_where_they_are_or_fetched_once(site: Site, tmp_path: Path) -> None:
    local, cache, urls = tmp_path / "models" / "w.pt", tmp_path / "cache", [f"{site.url}/a.bin"]
    cached = locate_weights(local, urls, DIGEST, cache)
    assert cached.read_bytes() == CONTENT
    assert cached.is_relative_to(cache)
    assert locate_weights(local, urls, DIGEST, cache) == cached
    assert fetch_weights(urls, DIGEST, cache).read_bytes() == CONTENT
    assert len(site.seen) == 1
    local.parent.mkdir()
    local.write_bytes(CONTENT)
    assert locate_weights(local, urls, DIGEST, cache) == local
    local.write_bytes(b"damaged")
    with pytest.raises(FrbenchError, match=r"w\.pt: expected SHA-256"):
        locate_weights(local, urls, DIGEST, cache)
    assert locate_weights(local, urls, None, cache) == local


def test_that_weights_without_an_address_are_asked_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(FrbenchError, match=r"no weights at .*w\.onnx.*put the file there"):
        locate_weights(tmp_path / "w.onnx", [], DIGEST, tmp_path)


def test_that_a_mirror_is_asked_in_place_of_the_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    origin = ["https://example.org/x"]
    assert mirrored(origin, "models/w.pt") == ("https://example.org/x",)
    assert mirrored(origin, "models/a b.pt", "http://m/data/") == ("http://m/data/models/a%20b.pt",)
    monkeypatch.setenv("FRBENCH_MIRROR", "http://m")
    assert mirrored(origin, "models/w.pt") == ("http://m/models/w.pt",)
