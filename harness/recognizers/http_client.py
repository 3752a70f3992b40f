"""The HTTP client of face-compare services: rate limit, retries, and errors of one line."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import tenacity

from frbench.harness.core.errors import ConfigError, FrbenchError, shortened
from frbench.harness.runtime.http import RetryableError, retry_after

_LONGEST_WAIT = 120.0  # seconds of Retry-After beyond which the request fails


def secrets(named: Mapping[str, str] | None, where: str) -> dict[str, str]:
    """Values of environment variables; configs, records and errors hold only the names of the variables."""
    values = {}
    for name, variable in (named or {}).items():
        value = os.environ.get(variable)
        if value is None:
            raise ConfigError(f"{where}.{name}={variable} names an environment variable that is not set; export it")
        if not (value.isascii() and value.isprintable()):
            raise ConfigError(f"{where}.{name}: {variable} holds a line break or a character that cannot be sent")
        values[name] = value
    return values


class HttpClient:
    """POSTs to one URL over persistent connections, from several threads.

    Args:
        url: The address.
        headers: Sent with each request.
        timeout_s: Seconds until an attempt fails.
        retries: Further attempts after 429, 5xx, timeouts and broken connections, after waits that double from half a
            second, or as long as ``Retry-After`` says.
        requests_per_second: Limit over all threads and attempts; None: no limit.
        concurrency: Largest number of connections.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        timeout_s: float = 30.0,
        retries: int = 4,
        requests_per_second: float | None = None,
        concurrency: int = 16,
    ) -> None:
        self.url, self.timeout_s, self.retries = url, timeout_s, retries
        self.rate_limiter = RateLimiter(requests_per_second)
        limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        near = _checked(url) in ("localhost", "127.0.0.1", "::1")  # a proxy cannot reach this machine
        self.client = httpx.Client(headers=dict(headers), timeout=timeout_s, limits=limits, trust_env=not near)

    def post(self, **body: Any) -> Any:
        """The JSON of the answer to ``body``, the keyword arguments of ``httpx.Client.post``."""
        doubling = tenacity.wait_exponential(multiplier=0.5, max=30) + tenacity.wait_random(0, 0.25)

        def pause(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.retry_after if isinstance(error, RetryableError) else None
            return doubling(state) if asked is None else asked

        tries = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(RetryableError),
            stop=tenacity.stop_after_attempt(self.retries + 1),
            wait=pause,
            reraise=True,
        )
        try:
            return tries(self._once, body)
        except RetryableError as error:
            raise FrbenchError(
                f"{self.url}: {error}, after {self.retries + 1} tries; check that the service runs (frbench serve "
                "starts one) and that recognizer.url is right, or lower recognizer.requests_per_second"
            ) from error

    def _once(self, body: Mapping[str, Any]) -> Any:
        self.rate_limiter.wait()
        try:
            response = self.client.post(self.url, **body)
        except httpx.TimeoutException as error:
            raise RetryableError(f"no answer within {self.timeout_s:g} s") from error
        except httpx.TransportError as error:
            raise RetryableError(f"no connection ({_line(str(error) or type(error).__name__)})") from error
        if response.status_code == 429 or response.status_code >= 500:
            raise self._busy(response)
        shown = _line(response.text)
        if response.status_code != 200:
            raise FrbenchError(
                f"{self.url}: answered {response.status_code}: {shown}; expected 200: compare recognizer.url, "
                ".encoding, .probe_field, .reference_field and .fields with what the service takes"
            )
        try:
            return response.json()
        except ValueError as error:
            raise FrbenchError(f"{self.url}: answered {shown!r}, expected JSON; look at recognizer.url") from error

    def _busy(self, response: Any) -> RetryableError | FrbenchError:
        after = retry_after(response.headers)
        reason = f"answered {response.status_code}: {_line(response.text)}"
        if after is not None and after > _LONGEST_WAIT:
            return FrbenchError(f"{self.url}: {reason}, and asks to wait {after:.0f} s; run the same command later")
        return RetryableError(reason, after)


def _checked(url: str) -> str:
    """The host of ``url``."""
    try:
        address = urlsplit(url)
        _ = address.port
    except ValueError as error:
        raise ConfigError(f"recognizer.url={url} cannot be read ({error}), expected http://HOST:PORT/PATH") from error
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ConfigError(f"recognizer.url={url} is not an address such as http://127.0.0.1:8008/compare")
    if address.username or address.password:
        raise ConfigError(
            f"recognizer.url of {address.hostname} holds a user or password, which records would keep; take "
            "recognizer.headers_from_env"
        )
    return address.hostname


class RateLimiter:
    """Spaces the requests of all threads: at most ``rate`` a second."""

    def __init__(self, rate: float | None) -> None:
        self.interval = 1 / rate if rate else 0.0
        self._lock, self._next = threading.Lock(), 0.0

    def wait(self) -> None:
        """Block until the next request may start."""
        if not self.interval:
            return
        with self._lock:
            turn = max(time.monotonic(), self._next)
            self._next = turn + self.interval
        time.sleep(max(0.0, turn - time.monotonic()))


def _line(text: str) -> str:
    return shortened(text, 200) if text.strip() else "nothing"
