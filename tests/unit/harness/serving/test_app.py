"""``frbench serve``: the scores of a run over HTTP, and one line for each wrong request."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from frbench.defenses.input_transforms.jpeg import JpegDefense
from frbench.harness.cli.main import main
from frbench.harness.core.contracts import Draw, Images
from frbench.harness.core.counter_rng import normal
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import load_images
from frbench.harness.core.verifiers import CosineVerifier, Purified, lifted
from frbench.harness.serving.app import CompareServer
from frbench.harness.serving.batching import Batcher, Comparator, Comparison

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
httpx = pytest.importorskip("httpx")

from support.fake_services import Failing, serving  # noqa: E402  (it needs what is asked for above)

MOST = 60_000


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """uint8 (count, 112, 112, 3), smooth enough that JPEG keeps most of them."""
    coarse = torch.rand(count, 3, 14, 14, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, size=112, mode="bilinear")
    return (fine * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def file(picture: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    out = BytesIO()
    Image.fromarray(picture).save(out, kind, **options)
    return out.getvalue()


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=20) as each:
        yield each


@pytest.fixture
def verifier(linear: Callable) -> CosineVerifier:
    return CosineVerifier(linear(size=112))


@pytest.fixture
def ask(verifier: CosineVerifier, client: httpx.Client) -> Iterator[Callable[..., httpx.Response]]:
    """POST to a service whose pictures may have ``MOST`` bytes."""
    with serving(verifier, max_bytes=MOST, threshold=0.5) as url:
        yield lambda **request: client.post(f"{url}/compare", **request)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
def test_that_lossless_files_give_the_score_of_the_same_pixels_in_a_run(
    kind: str, ask: Callable[..., httpx.Response], verifier: CosineVerifier
) -> None:
    probe, reference = pictures(2)
    options = {"lossless": True} if kind == "WEBP" else {}
    answer = ask(files={"probe": file(probe, kind, **options), "reference": file(reference, kind, **options)})
    images = load_images(np.stack([probe, reference]), np.arange(2))
    template = verifier.enroll(images[1:], torch.zeros(1), Draw())
    assert answer.status_code == 200
    assert answer.json()["similarity"] == pytest.approx(float(verifier.score(images[:1], template, Draw())), abs=1e-6)
    assert answer.json()["model"] == "made for a test"


def test_that_an_image_with_exif_orientation_scores_as_the_upright_one(ask: Callable[..., httpx.Response]) -> None:
    probe, reference = pictures(2)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = file(np.rot90(probe), exif=exif)
    scores = [
        ask(files={"probe": each, "reference": file(reference)}).json()["similarity"] for each in (file(probe), turned)
    ]
    assert scores[0] == scores[1]


def test_that_a_pair_matches_above_the_threshold_only(ask: Callable[..., httpx.Response]) -> None:
    probe, other = (file(each) for each in pictures(2))
    answers = [ask(files={"probe": probe, "reference": each}).json() for each in (probe, other)]
    assert [each["match"] for each in answers] == [each["similarity"] > 0.5 for each in answers] == [True, False]


def test_that_without_a_threshold_there_is_no_decision(verifier: CosineVerifier, client: httpx.Client) -> None:
    probe, reference = (file(each) for each in pictures(2))
    with serving(verifier) as url:
        assert client.post(f"{url}/compare", files={"probe": probe, "reference": reference}).json()["match"] is None
        health = client.get(f"{url}/health").json()
    assert health["status"] == "ok"
    assert re.fullmatch(r"[0-9a-f]{16}", health["version"])


def test_that_the_defense_is_applied_before_the_recognizer(verifier: CosineVerifier, client: httpx.Client) -> None:
    stack = pictures(2)
    defended = JpegDefense(quality=10).protect(verifier)
    images = load_images(stack, np.arange(2))
    index = torch.zeros(1, dtype=torch.int64)
    expected = float(defended.score(images[:1], defended.enroll(images[1:], index, Draw()), Draw()))
    plain = float(verifier.score(images[:1], verifier.enroll(images[1:], index, Draw()), Draw()))
    with serving(defended) as url:
        answer = client.post(f"{url}/compare", files={"probe": file(stack[0]), "reference": file(stack[1])})
    assert answer.json()["similarity"] == pytest.approx(expected, abs=1e-6)
    assert abs(expected - plain) > 1e-4


def refused(answer: httpx.Response, status: int) -> str:
    """The error message of a response, which is one line."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["error"]
    line: str = answer.json()["error"]
    assert line and "\n" not in line and "Traceback" not in line
    return line


GOOD = file(pictures(1)[0])


def beginning(side: int) -> bytes:
    """A PNG that declares side x side pixels, as far as its first row: a bomb, if anybody decoded it."""
    header, row = struct.pack(">2I5B", side, side, 8, 2, 0, 0, 0), zlib.compress(bytes(3 * side + 1))
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", row))
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("probe", "status", "message"),
    [
        (b"", 400, "probe is not an image; send one of JPEG, PNG"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "probe is not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 112 112\n", 400, "probe is not an image"),
        (GOOD[: len(GOOD) // 2], 400, "probe is damaged or cut off"),
        (GOOD[:40], 400, "probe is"),
        (file(pictures(1)[0], "JPEG")[:700], 400, "probe is damaged or cut off"),
        (file(np.zeros((160, 112, 3), np.uint8)), 422, "probe is 112x160, expected a face aligned to .* 112x112"),
        (beginning(13_000), 422, "probe is 13000x13000"),
        (beginning(60_000), 422, "probe has far more pixels"),
        (b"x" * (MOST + 1), 413, f"probe exceeds {MOST} bytes"),
        (b"x" * (3 * MOST + (64 << 10)), 413, "the request exceeds"),
    ],
    ids=["empty", "text", "postscript", "half", "header", "half jpeg", "size", "bomb", "larger bomb", "long", "longer"],
)
def test_that_a_wrong_image_is_one_line(
    probe: bytes, status: int, message: str, ask: Callable[..., httpx.Response]
) -> None:
    assert re.search(message, refused(ask(files={"probe": probe, "reference": GOOD}), status))
    assert ask(files={"probe": GOOD, "reference": GOOD}).status_code == 200, "and the service goes on"


def test_that_a_body_of_undeclared_length_is_limited_too(ask: Callable[..., httpx.Response]) -> None:
    def endless() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="probe"; filename="p"\r\n\r\n'
        for _ in range(40):
            yield b"x" * 10_000

    answer = ask(content=endless(), headers={"content-type": "multipart/form-data; boundary=b"})
    assert "the request exceeds" in refused(answer, 413)


def test_that_a_missing_image_is_named(ask: Callable[..., httpx.Response]) -> None:
    assert refused(ask(files={"probe": GOOD}), 422).startswith("reference missing")
    assert refused(ask(files={"reference": GOOD}, data={"probe": "text"}), 422).startswith("probe missing")


def test_that_another_content_type_is_named(ask: Callable[..., httpx.Response]) -> None:
    assert "content type: application/json; send multipart" in refused(ask(json={"probe": "x"}), 415)
    assert "content type: missing" in refused(ask(), 415)


def test_that_a_malformed_body_an_unknown_path_and_another_method_are_one_line(
    ask: Callable[..., httpx.Response], client: httpx.Client
) -> None:
    refused(ask(content=b"no form at all", headers={"content-type": "multipart/form-data; boundary=b"}), 400)
    refused(ask(content=b"no form at all", headers={"content-type": "multipart/form-data"}), 400)
    url = str(ask(files={"probe": GOOD, "reference": GOOD}).url)
    refused(client.get(url), 405)
    refused(client.get(url + "s"), 404)


def test_that_an_internal_error_shows_no_details(client: httpx.Client) -> None:
    with serving(Failing()) as url:  # type: ignore[arg-type]
        answers = [client.post(f"{url}/compare", files={"probe": GOOD, "reference": GOOD}) for _ in range(2)]
    for answer in answers:
        assert "secret" not in refused(answer, 500)


@dataclass(frozen=True)
class Noise:
    """Adds noise that hangs on the pair and the draw."""

    differentiable = True
    random = True

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        return (images + 0.05 * normal(index, draw, tuple(images.shape[1:]))).clamp(0, 1)


def test_that_a_randomized_defense_has_a_new_draw_for_each_comparison(verifier: CosineVerifier) -> None:
    probe, reference = pictures(2)
    question = Comparison(probe, reference)

    def scores(*sizes: int) -> list[float]:
        answers = Comparator(Purified(verifier, Noise(), "both"), seed=3)
        return [score for size in sizes for score in answers([question] * size)]

    together = scores(6)
    assert len(set(together)) == 6
    assert scores(1, 2, 3) == pytest.approx(together, abs=1e-5), "whoever asks beside makes no difference"


class Counting:
    """Counts images that pass the recognizer."""

    name, differentiable, digest = "counting", True, "counting"

    def __init__(self, inner: object) -> None:
        self.inner, self.seen = inner, 0

    def embed(self, images: Images) -> Tensor:
        self.seen += len(images)
        return self.inner.embed(images)  # type: ignore[attr-defined, no-any-return]


def test_that_a_cached_reference_costs_no_forward_pass(linear: Callable) -> None:
    recognizer, stack = Counting(linear(size=112)), pictures(8)
    answers = Comparator(lifted(recognizer), cache_size=2)
    expected = Comparator(lifted(linear(size=112)))
    first = [Comparison(stack[i], stack[i % 2]) for i in range(6)]
    assert answers(first) == pytest.approx(expected(first), abs=1e-6)
    assert recognizer.seen == 6 + 2
    assert answers(first[:3]) == pytest.approx(expected(first[:3]), abs=1e-6)
    assert recognizer.seen == 8 + 3
    answers([Comparison(stack[0], each) for each in stack[2:6]])  # four others: the first two are forgotten
    assert recognizer.seen == 11 + 4 + 4
    answers(first[:1])
    assert recognizer.seen == 19 + 1 + 1


def test_that_simultaneous_comparisons_share_a_forward_pass() -> None:
    sizes: list[int] = []

    def answer(questions: Sequence[Comparison]) -> list[float]:
        sizes.append(len(questions))
        return [float(each.probe[0, 0, 0]) for each in questions]

    async def all_at_once() -> list[float]:
        batcher = Batcher(answer, wait=0.02, max_batch=8)
        worker = asyncio.create_task(batcher.run())
        blank = np.zeros((1, 1, 1))
        found = await asyncio.gather(*(batcher.submit(Comparison(np.full((1, 1, 1), i), blank)) for i in range(20)))
        worker.cancel()
        return found

    assert asyncio.run(all_at_once()) == list(range(20))
    assert sizes == [8, 8, 4]


def test_that_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(FrbenchError, match="server.port=") as error:
        CompareServer(port=taken.getsockname()[1]).listen()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("wrong", [{"host": "no.such.host.invalid"}, {"port": 70_000}, {"host": "203.0.113.1"}])
def test_that_an_unusable_address_is_one_line(wrong: dict) -> None:
    with pytest.raises(FrbenchError, match="cannot listen at"):
        CompareServer(**wrong).listen()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("server.prt=1", "server.port"),
        ("server.port=abc", "int"),
        ("recognizer=tinny", "tiny"),
        ("attack=pgd", "unknown option 'attack'"),
    ],
)
def test_that_a_mistyped_option_is_one_line(typed: str, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", typed]) == 2
    out, err = capfd.readouterr()
    assert not out
    assert err.startswith("frbench: ") and err.count("\n") == 1 and message in err


def test_that_missing_weights_are_an_error_before_the_first_request(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["serve", "recognizer=iresnet18", "server.port=0", "device=cpu", f"paths.data={tmp_path}"]
    assert main(words) == 2
    out, err = capfd.readouterr()
    assert not out
    assert err.count("\n") == 1 and str(tmp_path / "models" / "iresnet18.pth") in err


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_that_the_command_prints_its_address_and_stops_quietly(
    host: str, warned: bool, tmp_path: Path, client: httpx.Client
) -> None:
    words = ["serve", "defense=jpeg", f"server.host={host}", "server.port=0", "device=cpu"]
    command = [sys.executable, "-m", "frbench.harness.cli.main", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    started = subprocess.Popen(
        command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert started.stdout is not None
        line = started.stdout.readline()
        found = re.search(r"serving tiny, defense jpeg at http://(\S+):(\d+)/compare", line)
        assert found and found[1] == host, line
        answer = client.post(f"http://127.0.0.1:{found[2]}/compare", files={"probe": GOOD, "reference": GOOD})
        assert answer.json()["similarity"] == pytest.approx(1, abs=1e-5)
        started.send_signal(signal.SIGINT)
        out, err = started.communicate(timeout=30)
    finally:
        started.kill()
        started.wait()
    assert started.returncode == 0
    assert out == "stopped\n"
    assert ("accepts connections from other machines" in err) == warned
    assert err.count("\n") == warned
    assert not list(tmp_path.iterdir())
