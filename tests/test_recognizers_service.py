"""A face-compare service as a recognizer: what is sent, what is read, what is repeated, and what is never kept."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from frbench.harness.cli import main
from frbench.harness.contracts import Draw, Images, Template
from frbench.harness.errors import FrbenchError
from frbench.harness.fingerprints import fingerprint
from frbench.harness.metering import Meter, Metered, MeteredComparer, metered
from frbench.harness.recognizers import courier
from frbench.harness.recognizers.service import CompareService
from frbench.harness.verifiers import ComparerVerifier, CosineVerifier, Embedder, lifted, purified

pytest.importorskip("httpx")
pytest.importorskip("tenacity")
pytest.importorskip("uvicorn")

from running import first_pairs_of_lfw, pretending, serving

SCORE = 0.25


def eight_bits(count: int, seed: int = 0) -> Images:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 112, 112), generator=generator).float() / 255


def always(answer: Any, status: int = 200, **headers: str) -> Callable[[int], Any]:
    return lambda number: (status, headers, answer)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits between tries, noted instead of waited for."""
    waits: list[float] = []
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=waits.append))
    return waits


def told(error: pytest.ExceptionInfo[FrbenchError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("image_format", ["png", "bmp", "webp"])
def test_that_scores_of_8_bit_images_are_those_of_the_recognizer_itself(image_format: Any, linear: Callable) -> None:
    verifier, probe, reference = CosineVerifier(linear(size=112)), eight_bits(9), eight_bits(9, 1)
    index = torch.arange(9)
    expected = verifier.score(probe, verifier.enroll(reference, index, Draw()), Draw())
    with serving(verifier) as url:
        scores = CompareService(f"{url}/compare", image_format=image_format).compare(probe, reference)
    assert scores.dtype == torch.float32
    assert (scores - expected).abs().max() < 1e-5


def test_that_images_between_two_levels_arrive_as_the_nearest(linear: Callable) -> None:
    images = eight_bits(2)
    moved = images + torch.empty_like(images).uniform_(-0.49, 0.49, generator=torch.Generator().manual_seed(1)) / 255
    with serving(CosineVerifier(linear(size=112))) as url:
        service = CompareService(f"{url}/compare")
        assert torch.equal(service.compare(images, images.flip(0)), service.compare(moved, images.flip(0)))


@pytest.mark.realdata
@pytest.mark.parametrize("defense", ["none", "jpeg"])
def test_that_a_real_recognizer_and_its_defense_score_alike_on_both_sides(
    defense: str, real_data: Path, tmp_path: Path, made: Callable[..., Any]
) -> None:
    first_pairs_of_lfw(real_data / "lfw", tmp_path / "lfw", folds=2, each=2)
    pairs = made("dataset", "lfw", f"paths.data={tmp_path}").open(tmp_path / "cache")
    recognizer = made("recognizer", "foamliu_mobilefacenet", f"paths.data={real_data}")
    batch = pairs.batch(np.arange(4))
    verifier = made("defense", defense).protect(lifted(recognizer))
    expected = verifier.score(batch.probe, verifier.enroll(batch.reference, batch.index, Draw()), Draw())
    with serving(verifier) as url:
        scores = CompareService(f"{url}/compare").compare(batch.probe, batch.reference)
    assert (scores - expected).abs().max() < 1e-5
    assert scores[:2].min() > scores[2:].max(), "genuine pairs above impostors"


@pytest.fixture
def made() -> Callable[..., Any]:
    """``made("defense", "jpeg", ...)``: the object of that option."""
    import hydra

    from frbench.harness import build

    def make(group: str, option: str, *words: str) -> Any:
        with hydra.initialize_config_module("frbench.conf", version_base="1.3"):
            config = build.plain(hydra.compose("run", [f"{group}={option}", "device=cpu", *words]))
        return build.instantiate(config[group], group)

    return make


def test_that_multipart_requests_have_the_fields_that_the_service_wants() -> None:
    answer = {"result": [{"confidence": 75}]}
    with pretending(always(answer)) as (url, heard):
        service = CompareService(
            url, probe_field="image_1", reference_field="image_2", fields={"model": "v3", "top": 1},
            score_path="result.0.confidence", scale=0.02, offset=-1, image_format="bmp",
        )  # fmt: skip
        assert service.compare(eight_bits(1), eight_bits(1, 1)).tolist() == pytest.approx([0.5])
    (body,) = heard.bodies
    assert heard.headers[0]["content-type"].startswith("multipart/form-data")
    assert b'name="image_1"; filename="image_1.bmp"\r\nContent-Type: image/bmp' in body
    assert b'name="image_2"; filename="image_2.bmp"' in body
    assert b'name="model"\r\n\r\nv3' in body and b'name="top"\r\n\r\n1' in body


def test_that_json_requests_hold_both_pictures_as_base64() -> None:
    probe, reference = eight_bits(1), eight_bits(1, 1)
    with pretending(always({"similarity": SCORE})) as (url, heard):
        CompareService(url, encoding="json_base64", fields={"kind": {"a": 1}}).compare(probe, reference)
    sent = json.loads(heard.bodies[0])
    assert sent["kind"] == {"a": 1}
    for name, images in (("probe", probe), ("reference", reference)):
        picture = np.asarray(Image.open(BytesIO(base64.b64decode(sent[name]))))
        assert np.array_equal(picture, (images[0].permute(1, 2, 0) * 255).round().numpy())


def test_that_every_pair_gets_its_own_answer_however_many_are_asked_at_once(linear: Callable) -> None:
    probe, reference = eight_bits(20), eight_bits(20, 1)
    with serving(CosineVerifier(linear(size=112))) as url:
        together = CompareService(f"{url}/compare", concurrency=8).compare(probe, reference)
        alone = [float(CompareService(f"{url}/compare").compare(probe[i, None], reference[i, None])) for i in range(20)]
    assert together.tolist() == pytest.approx(alone, abs=1e-5)
    assert len(set(alone)) == 20


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
        courier.Pace(None).wait()
    assert time.monotonic() - started < 0.5


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"url": "localhost:8008"}, "is not an address such as http://"),
        ({"url": "ftp://host/x"}, "is not an address"),
        ({"url": "http://host:port/x"}, "cannot be read"),
        ({"url": "https://me:secret@host/x"}, "recognizer.url of host holds a user or password"),
        ({"concurrency": 0}, "recognizer.concurrency=0, expected at least 1"),
        ({"retries": -1}, "recognizer.retries=-1"),
        ({"requests_per_second": 0}, "recognizer.requests_per_second=0"),
        ({"headers_from_env": {"X-Key": "NO_SUCH_VARIABLE"}}, "NO_SUCH_VARIABLE names an environment variable"),
        ({"headers_from_env": {"X-Key": "TWO_LINES"}}, "TWO_LINES holds a line break"),
    ],
)
def test_that_a_wrong_setting_is_told_before_anything_is_sent(
    fields: dict[str, Any], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWO_LINES", "secret\nsecret")
    with pytest.raises(FrbenchError, match=expected) as error:
        replace(CompareService("http://127.0.0.1:9/compare"), **fields).compare(eight_bits(1), eight_bits(1))
    assert "secret" not in told(error)


def test_that_secrets_of_the_environment_are_sent_and_kept_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "Bearer 42xyz")
    monkeypatch.setenv("MY_KEY", "k99")
    with pretending(always({"similarity": SCORE, "version": "1"})) as (url, heard):
        service = CompareService(url, headers_from_env={"X-Token": "MY_TOKEN"}, fields_from_env={"key": "MY_KEY"})
        service.compare(eight_bits(1), eight_bits(1))
        kept = repr(service) + json.dumps(service.fingerprint())
    assert heard.headers[0]["x-token"] == "Bearer 42xyz"
    assert b"k99" in heard.bodies[0]
    assert "42xyz" not in kept and "k99" not in kept


def test_that_kept_scores_belong_to_the_version_and_to_how_the_answer_is_read() -> None:
    known = CompareService("http://one/compare", version="7")
    same = replace(known, url="http://other/compare", concurrency=2, retries=0, headers_from_env={"A": "B"})
    assert fingerprint(known) == fingerprint(same)
    assert known.digest == same.digest
    for other in ({"version": "8"}, {"scale": 2.0}, {"offset": 1.0}, {"score_path": "x"}, {"image_format": "jpeg"}):
        assert fingerprint(replace(known, **other)) != fingerprint(known)
    unknown = replace(known, version=None, version_path=None)
    assert fingerprint(unknown) != fingerprint(replace(unknown, url="http://other/compare"))


def test_that_a_service_that_names_its_version_is_asked_once() -> None:
    with pretending(always({"similarity": SCORE, "about": {"version": 3}})) as (url, heard):
        service = CompareService(url, version_path="about.version")
        assert fingerprint(service) == fingerprint(replace(service, version="3"))
        assert service.digest
    assert len(heard.bodies) == 1


def test_that_another_defense_behind_the_same_address_is_another_service(linear: Callable, made: Callable) -> None:
    bare = CosineVerifier(linear(size=112))
    found = []
    for verifier in (bare, made("defense", "jpeg").protect(bare), bare):
        with serving(verifier) as url:
            found.append(CompareService(f"{url}/compare").fingerprint())
    assert found[0] == found[2] != found[1]


def test_that_a_service_without_a_version_says_how_to_name_one(quick: list[float]) -> None:
    with (
        pretending(always({"similarity": SCORE})) as (url, _),
        pytest.raises(FrbenchError, match=r"recognizer\.version=NAME") as error,
    ):
        CompareService(url).fingerprint()
    told(error)


class Comparing:
    """A comparer without any network: the mean difference."""

    name, differentiable, random, digest = "comparing", False, False, "comparing"

    def compare(self, probe: Images, reference: Images) -> torch.Tensor:
        return 1 - (probe - reference).abs().mean(dim=(1, 2, 3))


def test_that_a_comparer_is_a_verifier_by_its_own_similarity() -> None:
    verifier, images, index = lifted(Comparing()), eight_bits(4), torch.arange(4)
    assert verifier == verifier and isinstance(verifier, ComparerVerifier)
    assert not isinstance(verifier, Embedder)
    assert not verifier.differentiable and not verifier.random
    template = verifier.enroll(images, index, Draw())
    assert isinstance(template, Template)
    assert verifier.score(images, template, Draw()).tolist() == [1] * 4
    kept = template[torch.tensor([2])]
    assert verifier.score(images[2, None], kept, Draw()).tolist() == [1]
    assert float(verifier.score(images[1, None], kept, Draw())) < 0.9


def test_that_an_embedder_is_lifted_by_the_cosine(linear: Callable) -> None:
    assert lifted(linear()) == CosineVerifier(linear())


def test_that_a_purifier_stands_before_a_comparer_too(made: Callable) -> None:
    purifier, images, index = made("defense", "blur").purifier(), eight_bits(2), torch.arange(2)
    verifier = purified(lifted(Comparing()), purifier, "probe")
    score = verifier.score(images, verifier.enroll(images, index, Draw()), Draw())
    assert torch.allclose(score, Comparing().compare(purifier(images, index, Draw()), images))
    assert score.max() < 0.99


def test_that_comparisons_are_counted_as_forwards(linear: Callable) -> None:
    meter = Meter()
    counting = metered(Comparing(), meter)
    assert isinstance(counting, MeteredComparer)
    assert isinstance(metered(linear(), meter), Metered)
    verifier, images = lifted(counting), eight_bits(3)
    verifier.score(images, verifier.enroll(images, torch.arange(3), Draw()), Draw())
    assert (meter.forwards, meter.backwards) == (3, 0)


def test_that_a_run_with_nobody_there_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, quick: list[float]
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = [f"paths.{name}={tmp_path / name}" for name in ("data", "results", "cache")]
    small = ["dataset.people=12", "dataset.shots=2", "dataset.pairs=20"]
    words = ["run", "recognizer=service", "recognizer.url=http://127.0.0.1:9/compare", *small, *folders]
    assert main([*words, "device=cpu"]) == 2
    out, err = capfd.readouterr()
    assert not out
    assert err.startswith("frbench: http://127.0.0.1:9/compare: no connection") and err.count("\n") == 1
    assert not list((tmp_path / "results").rglob("*.json"))
