"""A face-compare service as a recognizer: what is sent, what is read, what is repeated, and what is never kept."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from frbench.harness.cli.main import main
from frbench.harness.core.contracts import Draw
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.core.verifiers import CosineVerifier, lifted
from frbench.harness.recognizers.service import CompareService

pytest.importorskip("uvicorn")

from support.fake_services import always, eight_bits, first_pairs_of_lfw, pretending, serving, told

SCORE = 0.25


@pytest.mark.parametrize("image_format", ["png", "bmp", "webp"])
def test_that_scores_of_8_bit_images_are_those_of_the_recognizer_itself(image_format: Any, linear: Callable) -> None:
    verifier, probe, reference = CosineVerifier(linear(size=112)), eight_bits(9), eight_bits(9, 1)
    index = torch.arange(9)
    expected = verifier.score(probe, verifier.enroll(reference, index, Draw()), Draw())
    with serving(verifier) as url:
        scores = CompareService(f"{url}/compare", image_format=image_format).compare(probe, reference)
    assert scores.dtype == torch.float32
    assert (scores - expected).abs().max() < 1e-5


def sent(service: CompareService, probe: torch.Tensor, reference: torch.Tensor, heard: Any) -> list[bytes]:
    """The pictures that ``service`` sends to compare the two, in an order of their own."""
    heard.bodies.clear()
    service.compare(probe, reference)
    return sorted(re.findall(rb"\x89PNG.*?IEND\xaeB`\x82", b"".join(heard.bodies), re.DOTALL))


def test_that_images_between_two_levels_arrive_as_the_nearest() -> None:
    images = eight_bits(2)
    moved = images + torch.empty_like(images).uniform_(-0.49, 0.49, generator=torch.Generator().manual_seed(1)) / 255
    with pretending(always({"similarity": 0.5, "model": "m", "version": "1"})) as (url, heard):
        service = CompareService(url)
        pictures = sent(service, images, images.flip(0), heard)
        assert len(pictures) == 4 and pictures == sent(service, moved, images.flip(0), heard)
    levels = {Image.open(BytesIO(picture)).tobytes() for picture in pictures}
    assert levels == {(255 * image).round().byte().permute(1, 2, 0).contiguous().numpy().tobytes() for image in images}


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

    from frbench.harness.config import build, resolution

    def make(group: str, option: str, *words: str) -> Any:
        with hydra.initialize_config_module("frbench.conf", version_base="1.3"):
            config = resolution.plain(hydra.compose("run", [f"{group}={option}", "device=cpu", *words]))
        return build.instantiate(config[group], group)

    return make


def test_that_multipart_requests_have_the_fields_that_the_service_wants() -> None:
    answer = {"result": [{"confidence": 75}]}
    with pretending(always(answer)) as (url, heard):
        service = CompareService(
            url, probe_field="image_1", reference_field="image_2", fields={"model": "v3", "top": 1},
            score_path="result.0.confidence", score_scale=0.02, score_offset=-1, image_format="bmp",
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


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"url": "localhost:8008"}, "is not an address such as http://"),
        ({"url": "ftp://host/x"}, "is not an address"),
        ({"url": "http://host:port/x"}, "cannot be read"),
        ({"url": "https://me:secret@host/x"}, "recognizer.url of host holds a user or password"),
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
    known = CompareService("http://one/compare", service_version="7")
    same = replace(known, url="http://other/compare", concurrency=2, retries=0, headers_from_env={"A": "B"})
    assert fingerprint(known) == fingerprint(same)
    assert known.digest == same.digest
    for other in (
        {"service_version": "8"},
        {"score_scale": 2.0},
        {"score_offset": 1.0},
        {"score_path": "x"},
        {"image_format": "jpeg"},
    ):
        assert fingerprint(replace(known, **other)) != fingerprint(known)
    unknown = replace(known, service_version=None, version_path=None)
    assert fingerprint(unknown) != fingerprint(replace(unknown, url="http://other/compare"))


def test_that_a_service_that_names_its_version_is_asked_once() -> None:
    with pretending(always({"similarity": SCORE, "about": {"version": 3}})) as (url, heard):
        service = CompareService(url, version_path="about.version")
        assert fingerprint(service) == fingerprint(replace(service, service_version="3"))
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
        pytest.raises(FrbenchError, match=r"recognizer\.service_version=NAME") as error,
    ):
        CompareService(url).fingerprint()
    told(error)


def test_that_a_run_with_nobody_there_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, quick: list[float]
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = [f"paths.{name}={tmp_path / name}" for name in ("data", "results")]
    small = ["dataset.people=30", "dataset.photos_per_person=2", "dataset.pairs=20"]
    words = ["run", "recognizer=service", "recognizer.url=http://127.0.0.1:9/compare", *small, *folders]
    assert main([*words, "device=cpu"]) == 2
    out, err = capfd.readouterr()
    assert not out
    assert err.startswith("frbench: http://127.0.0.1:9/compare: no connection") and err.count("\n") == 1
    assert not list((tmp_path / "results").rglob("*.json"))
