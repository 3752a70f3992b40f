"""``frbench serve``: an HTTP service that compares two face images with a recognizer and an optional defense.

``POST /compare`` takes the multipart files ``probe`` and ``reference`` and returns their similarity; ``GET /health``
returns the name and version of the model.
"""

# No postponed annotations: FastAPI evaluates them, and they refer to imports inside functions.
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
from frbench.harness.serving.batching import BadUpload, Batcher, Comparator, Comparison, decode_upload

if TYPE_CHECKING:
    from fastapi import FastAPI, UploadFile

_CONNECTIONS = 256  # simultaneous; each may hold two uploads in memory
_FORM = 64 << 10  # bytes of a multipart body beyond its two files
_USAGE = "send multipart/form-data with the image files probe and reference"


@dataclass(frozen=True)
class ServedModel:
    """The model behind the service.

    Attributes:
        name: shown to clients.
        verifier: the recognizer with its defense.
        seed: of the draws of a randomized defense.
        device: where the model runs.
    """

    name: str
    verifier: Verifier
    seed: int
    device: torch.device

    @property
    def version(self) -> str:
        """Changes with every part or setting that can change a similarity."""
        return fingerprint(self.verifier, self.seed if self.verifier.random else None)[:16]


@dataclass(frozen=True)
class CompareServer:
    """Options of the service.

    Attributes:
        host: address to listen on.
        port: port to listen on; 0 for a free one.
        threshold: a pair with a similarity above it is a match; None for no decision.
        max_bytes: limit of each image file.
        max_batch: comparisons per forward pass.
        wait_ms: time in milliseconds that the first comparison of a batch waits for others.
    """

    host: str = "127.0.0.1"
    port: Port = 8008
    threshold: Cosine | None = None
    max_bytes: PositiveInt = 2 << 20
    max_batch: PositiveInt = 32
    wait_ms: NonNegative = 2.0

    def run(self, model: ServedModel) -> None:
        """Serve until interrupted. Raises FrbenchError if the address is in use or the recognizer does not load."""
        uvicorn = _uvicorn()
        with self.listen() as listener:
            compare = Comparator(model.verifier, model.seed, model.device)
            gray = np.full((SIDE, SIDE, 3), 127, np.uint8)
            compare([Comparison(gray, gray)])  # loads the weights before the first request
            address, port = listener.getsockname()[:2]
            if not ipaddress.ip_address(address).is_loopback:
                warning = f"{address} accepts connections from other machines without authentication"
                print(f"frbench: warning: {warning}; server.host=127.0.0.1 accepts local ones only", file=sys.stderr)
            shown = f"[{address}]" if ":" in address else address
            print(f"serving {model.name} at http://{shown}:{port}/compare; press Ctrl-C to stop", flush=True)
            config = uvicorn.Config(
                self.app(model, compare),
                log_level="warning",
                access_log=False,
                lifespan="on",
                limit_concurrency=_CONNECTIONS,
                timeout_graceful_shutdown=2,
            )
            with suppress(KeyboardInterrupt):  # uvicorn raises it again, unless the shell ignores SIGINT
                uvicorn.Server(config).run(sockets=[listener])
            print("stopped")

    def listen(self) -> socket.socket:
        """The bound socket, created before the model loads. Raises ConfigError if the address is in use."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            listener = socket.create_server((self.host, self.port), family=family, backlog=1024)
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"cannot listen at {self.host} port {self.port} ({error}); "
                "choose another with server.port=NUMBER, 0 for a free one"
            ) from error
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # otherwise each response waits 40 ms for an ACK
        return listener

    def app(self, model: ServedModel, comparator: Comparator) -> "FastAPI":
        """The ASGI application."""
        from fastapi import FastAPI, UploadFile

        batcher = Batcher(comparator, self.wait_ms / 1000, self.max_batch)
        who = {"model": model.name, "version": model.version}

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            worker = asyncio.create_task(batcher.run())
            yield
            worker.cancel()

        app = FastAPI(title="frbench face compare", lifespan=lifespan, docs_url=None, redoc_url=None)

        @app.post("/compare")
        async def compare(probe: UploadFile, reference: UploadFile) -> dict[str, Any]:
            data = [await self._read("probe", probe), await self._read("reference", reference)]
            similarity = await batcher.submit(await asyncio.to_thread(_comparison, *data))
            match = None if self.threshold is None else similarity > self.threshold
            return {"similarity": similarity, "match": match, **who}

        @app.get("/health")
        async def health() -> dict[str, str]:
            return {"status": "ok", **who}

        _add_error_handlers(app)
        app.add_middleware(BodyLimit, max_bytes=2 * self.max_bytes + _FORM)
        return app

    async def _read(self, field: str, upload: "UploadFile") -> bytes:
        data = await upload.read(self.max_bytes + 1)
        if len(data) > self.max_bytes:
            raise BadUpload(413, f"{field} exceeds {self.max_bytes} bytes, the limit of an image")
        return data


def _comparison(probe: bytes, reference: bytes) -> Comparison:
    images = []
    for field, data in (("probe", probe), ("reference", reference)):
        try:
            images.append(decode_upload(data))
        except BadUpload as error:
            raise BadUpload(error.status, f"{field} {error}") from error
    return Comparison(*images)


class BodyLimit:
    """Middleware that rejects a body of more than ``max_bytes`` while it arrives, whatever length it declares."""

    def __init__(self, app: Any, max_bytes: int) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.exceptions import HTTPException
        from starlette.responses import JSONResponse

        message = f"the request exceeds {self.max_bytes} bytes, the limit of two images"
        declared = dict(scope.get("headers", ())).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.max_bytes:
            await JSONResponse({"error": message}, 413, {"connection": "close"})(scope, receive, send)
            return
        received = 0

        async def counted() -> Any:
            nonlocal received
            event = await receive()
            received += len(event.get("body", b""))
            if received > self.max_bytes:
                raise HTTPException(413, message)
            return event

        await self.app(scope, counted, send)


def _add_error_handlers(app: "FastAPI") -> None:
    """Every error is answered with {"error": one line}, never with a traceback."""
    from fastapi import Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

    @app.exception_handler(BadUpload)
    async def bad_upload(request: Request, error: BadUpload) -> JSONResponse:
        return JSONResponse({"error": str(error)}, error.status)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": " ".join(str(error.detail).split())}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def bad_form(request: Request, error: RequestValidationError) -> JSONResponse:
        kind = request.headers.get("content-type", "missing").split(";")[0]
        if kind != "multipart/form-data":
            return JSONResponse({"error": f"content type: {kind}; {_USAGE}"}, 415)
        fields = ", ".join(str(each["loc"][-1]) for each in error.errors())
        return JSONResponse({"error": f"{fields} missing or not a file; {_USAGE}"}, 422)

    @app.exception_handler(Exception)
    async def internal_error(request: Request, error: Exception) -> JSONResponse:
        answer = {"error": "internal error; see the log of the service"}
        return JSONResponse(answer, 500, {"connection": "close"})  # uvicorn closes it, so clients must not reuse it


def _uvicorn() -> Any:
    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise FrbenchError(f'frbench serve needs {error.name}; run: pip install "frbench[serve]"') from error
    return uvicorn
