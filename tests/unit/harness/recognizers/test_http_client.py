"""Requests to a service: asked again, paced, given up, and never more told than one line."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from frbench.harness.core.errors import FrbenchError
from frbench.harness.recognizers import http_client
from frbench.harness.recognizers.service import CompareService

pytest.importorskip("uvicorn")

from support.fake_services import always, eight_bits, pretending, told

SCORE = 0.25


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_that_a_busy_service_is_asked_again_after_growing_waits(status: int, quick: list[float]) -> None:
    reply = lambda number: (status if number < 2 else 200, {}, {"similarity": SCORE})  # noqa: E731
    with pretending(reply) as (url, heard):
        assert CompareService(url).compare(eight_bits(1), eight_bits(1)).tolist() == [SCORE]
    assert len(heard.bodies) == 3
    assert [len(body) for body in heard.bodies] == [len(heard.bodies[0])] * 3, "the body is sent whole again"
    assert 0.5 <= quick[0] <= 0.75 and 1 <= quick[1] <= 1.25


def test_that_retry_after_is_honoured_as_a_number_and_as_a_date(quick: list[float]) -> None:
    late = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    replies = [(429, {"Retry-After": "7"}, {}), (503, {"Retry-After": late}, {}), (200, {}, {"similarity": SCORE})]
    with pretending(lambda number: replies[number]) as (url, _):
        CompareService(url).compare(eight_bits(1), eight_bits(1))
    assert quick[0] == 7
    assert 20 < quick[1] <= 60
    assert len(quick) == 2


def test_that_a_service_that_wants_a_long_wait_is_given_up_at_once(quick: list[float]) -> None:
    with pretending(always({}, 429, **{"Retry-After": "3600"})) as (url, heard), pytest.raises(FrbenchError) as error:
        CompareService(url).compare(eight_bits(1), eight_bits(1))
    assert "asks to wait 3600 s" in told(error)
    assert len(heard.bodies) == 1 and not quick


def test_that_a_service_that_stays_busy_is_told_with_its_last_answer(quick: list[float]) -> None:
    with (
        pretending(always({"why": "tea\ntime"}, 503)) as (url, heard),
        pytest.raises(FrbenchError, match=r"answered 503: .*tea.*after 3 tries") as error,
    ):
        CompareService(url, retries=2).compare(eight_bits(1), eight_bits(1))
    assert url in told(error)
    assert len(heard.bodies) == 3


def test_that_nobody_there_and_nobody_answering_are_told(quick: list[float]) -> None:
    with pytest.raises(FrbenchError, match=r"no connection .*after 2 tries.*frbench serve"):
        CompareService("http://127.0.0.1:9/compare", retries=1).compare(eight_bits(1), eight_bits(1))

    def late(number: int) -> Any:
        time.sleep(0.5)
        return 200, {}, {"similarity": SCORE}

    with pretending(late) as (url, _), pytest.raises(FrbenchError, match=r"no answer within 0\.1 s"):
        CompareService(url, timeout_s=0.1, retries=0).compare(eight_bits(1), eight_bits(1))


@pytest.mark.parametrize(
    ("status", "answer", "expected"),
    [
        (404, {"detail": "no"}, r"answered 404: .*no.*recognizer\.url"),
        (401, {"error": "who are you"}, r"answered 401: .*who are you"),
        (301, {}, r"answered 301"),
        (200, b"<html>hello</html>", r"answered '<html>hello</html>', expected JSON"),
        (200, {"score": 1}, r'nothing stands at similarity of the answer \{"score": 1\}'),
        (200, [1, 2], "nothing stands at similarity"),
        (200, {"similarity": "high"}, "answered 'high' at similarity, expected a number"),
        (200, {"similarity": None}, "answered 'None' at similarity"),
        (200, {"similarity": True}, "answered 'True' at similarity"),
        (200, b'{"similarity": NaN}', "answered 'nan' at similarity"),
    ],
)
def test_that_an_answer_that_cannot_be_used_is_one_line_and_ends_the_asking(
    status: int, answer: Any, expected: str, quick: list[float]
) -> None:
    with pretending(always(answer, status)) as (url, heard), pytest.raises(FrbenchError, match=expected) as error:
        CompareService(url, concurrency=1).compare(eight_bits(50), eight_bits(50))
    assert url in told(error)
    assert len(heard.bodies) < 5, "no further requests are paid for"
    assert not quick


def test_that_requests_are_paced_over_all_threads() -> None:
    with pretending(always({"similarity": SCORE})) as (url, heard):
        started = time.monotonic()
        CompareService(url, requests_per_second=20, concurrency=4).compare(eight_bits(7), eight_bits(7))
    assert max(heard.times) - started >= 6 / 20
    started = time.monotonic()
    for _ in range(1000):
        http_client.RateLimiter(None).wait()
    assert time.monotonic() - started < 0.5
