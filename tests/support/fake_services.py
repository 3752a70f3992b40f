"""Services in threads of the test, ours and made-up ones that answer as told, and few faces to ask them about."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from frbench.harness.core.contracts import Images, Verifier
from frbench.harness.core.errors import FrbenchError
from frbench.harness.serving.app import CompareServer, ServedModel
from frbench.harness.serving.batching import Comparator


@dataclass(frozen=True)
class Failing:
    """A verifier with a defect."""

    random = False
    differentiable = False

    def enroll(self, *_: object) -> None:
        raise RuntimeError("the secret of the house")


@contextmanager
def serving(verifier: Verifier, **options: Any) -> Iterator[str]:
    """The address of ``frbench serve`` with ``verifier`` behind it."""
    import uvicorn

    service = replace(CompareServer(port=0), **options)
    model = ServedModel("made for a test", verifier, 0, torch.device("cpu"))
    app = service.app(model, Comparator(verifier, model.seed, model.device))
    with service.listen() as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@dataclass
class Heard:
    """Requests that a made-up service got: headers, body and time of each."""

    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


Reply = tuple[int, dict[str, str], Any]


@contextmanager
def pretending(reply: Callable[[int], Reply]) -> Iterator[tuple[str, Heard]]:
    """A service whose n-th answer is ``reply(n)``: status, headers, and what is sent as JSON (bytes go as they are)."""
    heard, lock = Heard(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            with lock:
                number = len(heard.bodies)
                heard.headers.append({key.lower(): value for key, value in self.headers.items()})
                heard.bodies.append(body)
                heard.times.append(time.monotonic())
            status, headers, answer = reply(number)
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/compare", heard
    finally:
        server.shutdown()
        server.server_close()


def first_pairs_of_lfw(source: Path, folder: Path, folds: int, each: int) -> None:
    """In ``folder`` a small LFW: the first ``each`` genuine and impostor pairs of its first folds, and their images."""
    lines = (source / "pairs.txt").read_text().splitlines()[1:]
    kept = [lines[600 * fold + 300 * kind + i] for fold in range(folds) for kind in range(2) for i in range(each)]
    for words in map(str.split, kept):
        first, second = words[:2], [words[0], words[2]] if len(words) == 3 else words[2:]
        for person, number in (first, second):
            image = Path("aligned_112") / person / f"{person}_{int(number):04d}.jpg"
            (folder / image).parent.mkdir(parents=True, exist_ok=True)
            (folder / image).write_bytes((source / image).read_bytes())
    (folder / "pairs.txt").write_text("\n".join([f"{folds}\t{each}", *kept]) + "\n")


def always(answer: Any, status: int = 200, **headers: str) -> Callable[[int], Any]:
    """A reply for ``pretending`` that is the same every time."""
    return lambda number: (status, headers, answer)


def told(error: pytest.ExceptionInfo[FrbenchError]) -> str:
    """What the user reads, in one line."""
    text = str(error.value)
    assert "\n" not in text
    return text


def eight_bits(count: int, seed: int = 0) -> Images:
    """Images (count, 3, 112, 112) that a picture file holds exactly."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 112, 112), generator=generator).float() / 255
