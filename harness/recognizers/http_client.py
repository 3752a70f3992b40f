"""Requests to somebody else's service: paced, repeated where that can help, and told in one line where not."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from frbench.harness.core.errors import ConfigError, FrbenchError, shortened

_PATIENCE = 120.0  # seconds: a service that wants us to wait longer is given up


def secrets(named: Mapping[str, str] | None, where: str) -> dict[str, str]:
    """Values from the environment; configs and records hold the variables' names alone, and errors too."""
    values = {}
    for name, variable in (named or {}).items():
        value = os.environ.get(variable)
        if value is None:
            raise ConfigError(f"{where}.{name}={variable} names an environment variable that is not set; export it")
        if not (value.isascii() and value.isprintable()):
            raise ConfigError(f"{where}.{name}: {variable} holds a line break or a character that cannot be sent")
        values[name] = value
    return values


class Busy(Exception):
    """An answer that may be another one later. ``after``: seconds to wait, as the service asked, or None."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class Courier:
    """POSTs to ``url`` over kept connections, from several threads at once.

    timeout_s: of each try. retries: further tries after 429, 5xx, timeouts and broken connections, with waits that
        double from half a second, or as long as ``Retry-After`` asks.
    requests_per_second: of all threads together, tries counted; None for no limit. concurrency: connections at most.
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
        httpx = _httpx()
        self.url, self.timeout_s, self.retries = url, timeout_s, retries
        self.pace = Pace(requests_per_second)
        limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        near = _checked(url) in ("localhost", "127.0.0.1", "::1")  # a proxy of the environment leads away from here
        self.client = httpx.Client(headers=dict(headers), timeout=timeout_s, limits=limits, trust_env=not near)

    def post(self, **body: Any) -> Any:
        """The answer's JSON; ``body`` as ``httpx.Client.post`` takes it."""
        import tenacity

        doubling = tenacity.wait_exponential(multiplier=0.5, max=30) + tenacity.wait_random(0, 0.25)

        def pause(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.after if isinstance(error, Busy) else None
            return doubling(state) if asked is None else asked

        tries = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Busy),
            stop=tenacity.stop_after_attempt(self.retries + 1),
            wait=pause,
            reraise=True,
        )
        try:
            return tries(self._once, body)
        except Busy as error:
            raise FrbenchError(
                f"{self.url}: {error}, after {self.retries + 1} tries; look whether the service runs (frbench serve "
                "starts one of your own) and whether recognizer.url is right, or ask more slowly with "
                "recognizer.requests_per_second"
            ) from error

    def _once(self, body: Mapping[str, Any]) -> Any:
        import httpx

        self.pace.wait()
        try:
            response = self.client.post(self.url, **body)
        except httpx.TimeoutException as error:
            raise Busy(f"no answer within {self.timeout_s:g} s") from error
        except httpx.TransportError as error:
            raise Busy(f"no connection ({_line(str(error) or type(error).__name__)})") from error
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

    def _busy(self, response: Any) -> Busy | FrbenchError:
        after = _seconds(response.headers.get("retry-after"))
        reason = f"answered {response.status_code}: {_line(response.text)}"
        if after is not None and after > _PATIENCE:
            return FrbenchError(f"{self.url}: {reason}, and asks to wait {after:.0f} s; run the same command later")
        return Busy(reason, after)


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


class Pace:
    """Lets threads through one by one, ``rate`` a second."""

    def __init__(self, rate: float | None) -> None:
        self.interval = 1 / rate if rate else 0.0
        self._lock, self._next = threading.Lock(), 0.0

    def wait(self) -> None:
        """Return when it is the caller's turn."""
        if not self.interval:
            return
        with self._lock:
            turn = max(time.monotonic(), self._next)
            self._next = turn + self.interval
        time.sleep(max(0.0, turn - time.monotonic()))


def _seconds(retry_after: str | None) -> float | None:
    """``Retry-After`` in seconds: a number or a date; None where it is neither."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _line(text: str) -> str:
    return shortened(text, 200) if text.strip() else "nothing"


def _httpx() -> Any:
    try:
        import httpx
        import tenacity  # noqa: F401
    except ImportError as error:
        raise FrbenchError(f'recognizer=service needs {error.name}; run: pip install "frbench[client]"') from error
    return httpx
