"""A recognizer, with or without a defense before it, as a small HTTP service that answers with a similarity alone.

``POST /compare`` takes the multipart files ``probe`` and ``reference``; ``GET /health`` says what is served.
"""

# Annotations are not postponed here: FastAPI reads them, and they name what is imported inside of functions.
import asyncio
import ipaddress
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from frbench.harness.core.contracts import Verifier
from frbench.harness.core.domains import Cosine, NonNegative, Port, PositiveInt
from frbench.harness.core.errors import ConfigError, FrbenchError
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.images.aligned_images import SIDE
from frbench.harness.serving.batching import Answers, BadUpload, Batcher, Question, pixels

if TYPE_CHECKING:
    from fastapi import FastAPI, UploadFile

_CONNECTIONS = 256  # at once; each may hold two uploads in memory
_FORM = 64 << 10  # what a multipart body may hold beside its two files
_USAGE = "send multipart/form-data with the picture files probe and reference"


@dataclass(frozen=True)
class Served:
    """What stands behind the service. name: what it says it is; seed: of a random defense's draws."""

    name: str
    verifier: Verifier
    seed: int
    device: torch.device

    @property
    def version(self) -> str:
        """Changes with anything that changes an answer."""
        return fingerprint(self.verifier, self.seed if self.verifier.random else None)[:16]


@dataclass(frozen=True)
class Serving:
    """host, port: where to listen; port 0 takes a free one. threshold: above it a pair matches, null for no verdict.

    max_bytes: of one picture file. max_batch, wait_ms: how many questions one forward may answer, and how long the
    first of them waits for others, in milliseconds.
    """

    host: str = "127.0.0.1"
    port: Port = 8008
    threshold: Cosine | None = None
    max_bytes: PositiveInt = 2 << 20
    max_batch: PositiveInt = 32
    wait_ms: NonNegative = 2.0

    def run(self, served: Served) -> None:
        """Serve until interrupted. Raises FrbenchError where the address is taken or the recognizer cannot be used."""
        uvicorn = _uvicorn()
        with self.listen() as listener:
            answers = Answers(served.verifier, served.seed, served.device)
            gray = np.full((SIDE, SIDE, 3), 127, np.uint8)
            answers([Question(gray, gray)])  # weights are loaded, or missed, before anybody asks
            address, port = listener.getsockname()[:2]
            if not ipaddress.ip_address(address).is_loopback:
                warning = f"{address} can be reached from other machines, and the service asks nobody who they are"
                print(f"frbench: warning: {warning}; server.host=127.0.0.1 keeps it here", file=sys.stderr)
            shown = f"[{address}]" if ":" in address else address
            print(f"serving {served.name} at http://{shown}:{port}/compare; Ctrl-C ends it", flush=True)
            config = uvicorn.Config(
                self.app(served, answers),
                log_level="warning",
                access_log=False,
                lifespan="on",
                limit_concurrency=_CONNECTIONS,
                timeout_graceful_shutdown=2,
            )
            with suppress(KeyboardInterrupt):  # raised again by uvicorn, but not where a shell has it ignored
                uvicorn.Server(config).run(sockets=[listener])
            print("stopped")

    def listen(self) -> socket.socket:
        """The socket to serve on, bound before anything slow begins."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            listener = socket.create_server((self.host, self.port), family=family, backlog=1024)
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"cannot listen at {self.host} port {self.port} ({error}); "
                "take another with server.port=NUMBER, 0 for a free one"
            ) from error
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else each answer waits 40 ms for an ACK
        return listener

    def app(self, served: Served, answers: Answers) -> "FastAPI":
        """The application, ready for any ASGI server."""
        from fastapi import FastAPI, UploadFile

        batcher = Batcher(answers, self.wait_ms / 1000, self.max_batch)
        who = {"model": served.name, "version": served.version}

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            worker = asyncio.create_task(batcher.work())
            yield
            worker.cancel()

        app = FastAPI(title="frbench face compare", lifespan=lifespan, docs_url=None, redoc_url=None)

        @app.post("/compare")
        async def compare(probe: UploadFile, reference: UploadFile) -> dict[str, Any]:
            data = [await self._read("probe", probe), await self._read("reference", reference)]
            similarity = await batcher.ask(await asyncio.to_thread(_question, *data))
            match = None if self.threshold is None else similarity > self.threshold
            return {"similarity": similarity, "match": match, **who}

        @app.get("/health")
        async def health() -> dict[str, str]:
            return {"status": "ok", **who}

        _tell_errors(app)
        app.add_middleware(BodyLimit, most=2 * self.max_bytes + _FORM)
        return app

    async def _read(self, field: str, upload: "UploadFile") -> bytes:
        data = await upload.read(self.max_bytes + 1)
        if len(data) > self.max_bytes:
            raise BadUpload(413, f"{field} has more than {self.max_bytes} bytes, the most that is taken of one picture")
        return data


def _question(probe: bytes, reference: bytes) -> Question:
    pictures = []
    for field, data in (("probe", probe), ("reference", reference)):
        try:
            pictures.append(pixels(data))
        except BadUpload as error:
            raise BadUpload(error.status, f"{field} {error}") from error
    return Question(*pictures)


class BodyLimit:
    """Middleware: a body of more than ``most`` bytes is refused before it is kept, whatever length it declares."""

    def __init__(self, app: Any, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.exceptions import HTTPException
        from starlette.responses import JSONResponse

        told = f"the request has more than {self.most} bytes, the most that is taken of two pictures"
        declared = dict(scope.get("headers", ())).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.most:
            await JSONResponse({"error": told}, 413, {"connection": "close"})(scope, receive, send)
            return
        seen = 0

        async def counted() -> Any:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.most:
                raise HTTPException(413, told)
            return message

        await self.app(scope, counted, send)


def _tell_errors(app: "FastAPI") -> None:
    """Whatever goes wrong, the client gets {"error": one line}, and never a traceback."""
    from fastapi import Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

    @app.exception_handler(BadUpload)
    async def bad_image(request: Request, error: BadUpload) -> JSONResponse:
        return JSONResponse({"error": str(error)}, error.status)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": " ".join(str(error.detail).split())}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def incomplete(request: Request, error: RequestValidationError) -> JSONResponse:
        kind = request.headers.get("content-type", "nothing").split(";")[0]
        if kind != "multipart/form-data":
            return JSONResponse({"error": f"the content type is {kind}; {_USAGE}"}, 415)
        fields = ", ".join(str(each["loc"][-1]) for each in error.errors())
        return JSONResponse({"error": f"{fields}: missing or not a file; {_USAGE}"}, 422)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        told = {"error": "the service failed on this request; its own log says why"}
        return JSONResponse(told, 500, {"connection": "close"})  # the server closes it: nobody should ask on it again


def _uvicorn() -> Any:
    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise FrbenchError(f'frbench serve needs {error.name}; run: pip install "frbench[serve]"') from error
    return uvicorn
