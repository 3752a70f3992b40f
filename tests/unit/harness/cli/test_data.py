"""``frbench data`` as its users see it: what it prints, what it leaves behind, and its exit codes."""

from __future__ import annotations

import functools
import hashlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

import frbench.conf
from frbench.harness.cli.data import run
from frbench.harness.cli.main import main
from frbench.harness.core.errors import FrbenchError
from frbench.harness.data_preparation import catalog as sources
from frbench.harness.data_preparation import prepare as preparing
from frbench.harness.data_preparation.catalog import File, Source, Tree, group_digest, load_sources, scan
from frbench.harness.data_preparation.checksums import verify
from frbench.harness.data_preparation.prepare import ensure_dataset

CONF = Path(frbench.conf.__file__).parent


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FRBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FRBENCH_MIRROR", raising=False)


class Web(SimpleHTTPRequestHandler):
    """Keeps connections open between files, as the servers of data sets do."""

    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True

    def log_message(self, *parts: object) -> None:
        return


def serving(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Web, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A web folder with a small set of four people in LFW's manner, and weights."""
    folder = tmp_path / "origin"
    rng = np.random.default_rng(0)
    for name in ("Ann/Ann_0001", "Ann/Ann_0002", "Ann/Ann_0003", "Bob/Bob_0001", "Cy/Cy_0001"):
        path = folder / "small" / "aligned_112" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (112, 112, 3), dtype=np.uint8)).save(path)
    (folder / "small" / "pairs.txt").write_text("1\t2\nAnn\t1\t2\nAnn\t1\t3\nAnn\t2\tBob\t1\nBob\t1\tCy\t1\n")
    (folder / "models").mkdir()
    (folder / "models" / "w.pt").write_bytes(b"weights")
    return folder


@pytest.fixture
def mirror(origin: Path) -> Iterator[str]:
    yield from serving(origin)


@pytest.fixture
def small(origin: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """The only sources there are: the small set, by name ``small``, and ``w``, weights without an address."""
    tree = Tree("small/aligned_112", files=5, url="http://127.0.0.1:9/small", listing=("small/pairs.txt",))
    sums: dict[str, list[tuple[str, str]]] = {}
    for name in scan(tree, origin):
        sums.setdefault(name[0], []).append((name, sha256(origin / tree.folder / name)))
    tree = Tree(**{**vars(tree), "groups": {group: group_digest(lines) for group, lines in sums.items()}})
    pairs = File("small/pairs.txt", sha256(origin / "small" / "pairs.txt"), 10, ("http://127.0.0.1:9/pairs.txt",))
    weights = File("models/w.pt", sha256(origin / "models" / "w.pt"), 7)
    source = Source("small", "a small set", "none", "fetched", ("small",), (pairs,), tree)
    every = {"small": source, "w": Source("w", "weights", "MIT", "put it at models/w.pt", ("w",), (weights,))}
    monkeypatch.setattr(sources, "load_sources", lambda: every)
    monkeypatch.setattr(preparing, "load_sources", lambda: every)
    return source


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_that_prepare_brings_all_and_the_second_time_asks_for_nothing(
    small: Source, origin: Path, mirror: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    assert run(["prepare", "small", "w", "--data", str(data), "--mirror", mirror]) == 0
    assert contents(data) == contents(origin)
    assert "small: present (5 of 5 images)" in capsys.readouterr().out
    assert run(["prepare", "small", "--data", str(data), "--mirror", "http://127.0.0.1:9"]) == 0
    assert run(["verify", "--data", str(data)]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["small: right", "w: right"]


def test_that_verify_names_what_is_missing_or_wrong_and_prepare_mends_it(
    small: Source, origin: Path, mirror: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    assert run(["prepare", "small", "--data", str(data), "--mirror", mirror]) == 0
    images = data / "small" / "aligned_112"
    (images / "Ann" / "Ann_0002.jpg").unlink()
    (images / "Bob" / "Bob_0001.jpg").write_bytes((images / "Bob" / "Bob_0001.jpg").read_bytes()[:900])
    (images / "Cy" / "Cy_0001.jpg").write_bytes((images / "Ann" / "Ann_0001.jpg").read_bytes())
    capsys.readouterr()
    assert run(["verify", "small", "--data", str(data)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "small: wrong",
        "  missing: small/aligned_112/Ann/Ann_0002.jpg",
        "  wrong: small/aligned_112/Bob/Bob_0001.jpg",
        "  wrong: small/aligned_112/C*",
        "  to repair: frbench data prepare small",
    ]
    (data / "small" / "pairs.txt").write_text("changed")
    assert run(["verify", "small", "--data", str(data)]) == 1
    assert "wrong: small/pairs.txt" in capsys.readouterr().out
    assert run(["prepare", "small", "--data", str(data), "--mirror", mirror]) == 0
    assert contents(data / "small") == contents(origin / "small")


def test_that_images_that_arrive_wrong_twice_are_named_and_removed(
    small: Source, origin: Path, mirror: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (112, 112)).save(origin / "small" / "aligned_112" / "Bob" / "Bob_0001.jpg")
    data = tmp_path / "data"
    assert main(["data", "prepare", "small", "--data", str(data), "--mirror", mirror]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("frbench: 1 files from")
    assert "small/aligned_112/B*" in error
    assert len(scan(small.tree or Tree(""), data)) == 4
    assert not (data / "small" / "aligned_112" / "Bob" / "Bob_0001.jpg").exists()


def test_that_ensure_fetches_what_is_missing_and_touches_nothing_that_is_there(
    small: Source, mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRBENCH_MIRROR", mirror)
    ensure_dataset("small", tmp_path / "data")
    monkeypatch.setenv("FRBENCH_MIRROR", "http://127.0.0.1:9")
    ensure_dataset("small", tmp_path / "data")
    assert verify(small, tmp_path / "data", tmp_path).sound
    monkeypatch.delenv("FRBENCH_MIRROR")
    with pytest.raises(FrbenchError, match=r"dataset w is not in .*: put it at models/w\.pt"):
        ensure_dataset("w", tmp_path / "data")
    ensure_dataset("a_set_of_ones_own", tmp_path / "data")


def test_that_what_cannot_be_fetched_is_told_in_one_line(
    small: Source, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["prepare", "w", "--data", str(tmp_path / "data")]) == 1
    assert capsys.readouterr().out == "w: missing: put it at models/w.pt\n"
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["prepare", "lwf"], "frbench: unknown data 'lwf'; did you mean lfw"),
        (["verify", "zzzz"], "frbench: unknown data 'zzzz'; did you mean agedb"),
        (["prepare"], "required: name"),
        (["fetch"], "invalid choice"),
        ([], "required"),
        (["prepare", "lfw", "--mirror", "file:///tmp"], "only http and https"),
    ],
)
def test_that_misuse_is_exit_code_2_and_a_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRBENCH_DATA", str(tmp_path / "data"))
    assert main(["data", *arguments]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_that_a_data_folder_that_is_a_file_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").write_text("")
    assert main(["data", "prepare", "lfw", "--data", str(tmp_path / "data"), "--mirror", "http://127.0.0.1:9"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("frbench: ")


def test_that_list_shows_every_option_and_says_how_to_get_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert run(["list", "--data", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    for group in ("dataset", "identities"):
        for path in (CONF / group).glob("*.yaml"):
            assert re.search(rf"\b{path.stem}\b", shown), path.stem
    for site in ("cfpw.io", "ibug.doc.ic.ac.uk/resources/agedb", "mmlab.ie.cuhk.edu.hk/projects/CelebA"):
        assert site in shown
    assert shown.count("missing") >= 10
    (tmp_path / "lfw" / "aligned_112" / "A").mkdir(parents=True)
    (tmp_path / "lfw" / "aligned_112" / "A" / "A_0001.jpg").write_bytes(b"")
    assert run(["list", "--data", str(tmp_path)]) == 0
    assert re.search(r"incomplete .*41\.7 MB", capsys.readouterr().out)


def test_that_sources_of_weights_and_the_recognizers_agree() -> None:
    digests = {file.path: file for source in load_sources().values() for file in source.files}
    for path in (CONF / "recognizer").glob("*.yaml"):
        option = OmegaConf.to_container(OmegaConf.load(path))
        assert isinstance(option, dict)
        for value in list(option.values()):
            published = digests.get(str(value).removeprefix("${paths.data}/"))
            if published and option.get("sha256"):
                assert option["sha256"] == published.sha256, path.name
                assert tuple(option.get("urls") or ()) == published.urls, path.name


def test_that_addresses_are_pinned_and_digests_are_digests() -> None:
    for source in load_sources().values():
        for file in source.files:
            assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
            assert all(re.search(r"^https://.*/[0-9a-f]{40}/", url) for url in file.urls)
        if source.tree:
            assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in source.tree.groups.values())
            marks = sources.read_marks(source.tree)
            assert not marks or sum(map(len, marks.values())) == source.tree.files


def test_that_crops_of_ones_own_are_checked_against_the_list_written_then(tmp_path: Path) -> None:
    tree = Tree("cfp/aligned_112", files=2, originals="cfp/Data/Images", groups={"0": "0" * 64})
    source = Source("cfp", "", "", "ask for it", tree=tree)
    for name in ("001/frontal/01.jpg", "002/profile/01.jpg"):
        path = tmp_path / tree.folder / name
        path.parent.mkdir(parents=True)
        Image.new("RGB", (112, 112), (9, 9, 9)).save(path)
    found = verify(source, tmp_path, tmp_path)
    assert found.sound
    assert "every image decodes" in found.notes[0]
    sums = sources.digests(tmp_path / tree.folder, scan(tree, tmp_path))
    tree.own_list(tmp_path).write_text("".join(sources.sum_line(*line) for line in sums.items()))
    assert verify(source, tmp_path, tmp_path).sound
    Image.new("RGB", (112, 112), (200, 9, 9)).save(path)
    assert verify(source, tmp_path, tmp_path).wrong == ["cfp/aligned_112/002/profile/01.jpg"]
    tree.own_list(tmp_path).unlink()
    Image.new("RGB", (96, 112)).save(path)
    assert verify(source, tmp_path, tmp_path).wrong == ["cfp/aligned_112/002/profile/01.jpg"]


@pytest.mark.realdata
def test_that_the_real_sets_are_right_and_one_changed_byte_is_found(real_data: Path, tmp_path: Path) -> None:
    every = load_sources()
    for name in ("lfw", "cfp", "celeba", "yunet", "foamliu_mobilefacenet", "bubbliiiing_mobilefacenet"):
        assert verify(every[name], real_data, tmp_path).sound, name
    for name in ("lfw", "cfp"):
        (tmp_path / name).mkdir()
        for path in (real_data / name).iterdir():
            (tmp_path / name / path.name).symlink_to(path)
    person = tmp_path / "lfw" / "aligned_112"
    person.unlink()
    person.mkdir()
    for path in (real_data / "lfw" / "aligned_112").iterdir():
        (person / path.name).symlink_to(path)
    (person / "Zico").unlink()
    (person / "Zico").mkdir()
    for path in (real_data / "lfw" / "aligned_112" / "Zico").iterdir():
        (person / "Zico" / path.name).write_bytes(path.read_bytes() + b"x" * (path.name == "Zico_0002.jpg"))
    assert verify(every["lfw"], tmp_path, tmp_path).wrong == ["lfw/aligned_112/Zico/Zico_0002.jpg"]


@pytest.mark.realdata
def test_that_unaligned_originals_are_aligned_and_those_without_a_face_are_listed(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cv2")
    data = tmp_path / "data"
    (data / "models").mkdir(parents=True)
    (data / "models" / "yunet_n_640_640.onnx").symlink_to(real_data / "models" / "yunet_n_640_640.onnx")
    originals = data / "agedb" / "original"
    originals.mkdir(parents=True)
    for i, person in enumerate(sorted((real_data / "lfw" / "aligned_112").iterdir())[:4]):
        photo = Image.new("RGB", (250, 250), (90, 90, 90))
        photo.paste(Image.open(sorted(person.iterdir())[0]), (60, 70))
        photo.save(originals / f"{i}_{person.name}_30_m.jpg")
    Image.new("RGB", (250, 250)).save(originals / "9_NoFace_30_m.jpg")
    assert run(["prepare", "agedb_30", "--data", str(data)]) == 1
    told = capsys.readouterr().out
    assert "1 without a face of 5 images" in told
    assert (data / "agedb" / "aligned_112.not_found.txt").read_text() == "9_NoFace_30_m.jpg\n"
    crops = sorted((data / "agedb" / "aligned_112").iterdir())
    assert len(crops) == 4
    assert all(Image.open(path).size == (112, 112) for path in crops)
    crops[0].write_bytes(crops[1].read_bytes())
    assert run(["verify", "agedb_30", "--data", str(data)]) == 1
    assert f"wrong: agedb/aligned_112/{crops[0].name}" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.realdata
def test_that_lfw_is_fetched_whole_though_the_first_run_is_killed(real_data: Path, tmp_path: Path) -> None:
    tree = load_sources()["lfw"].tree
    assert tree
    for url in serving(real_data):
        verb = "import sys; from frbench.harness.cli.data import run; run(sys.argv[1:])"
        arguments = ["prepare", "lfw", "--data", "data", "--mirror", url]
        process = subprocess.Popen([sys.executable, "-c", verb, *arguments], cwd=tmp_path, stderr=subprocess.DEVNULL)
        while len(scan(tree, tmp_path / "data")) < 500:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
        process.wait()
        arrived = len(scan(tree, tmp_path / "data"))
        assert arrived < 7701
        assert run(["prepare", "lfw", "--data", str(tmp_path / "data"), "--mirror", url]) == 0
    assert {name for name in contents(tmp_path / "data" / "lfw") if name.endswith(".part")} == set()
    assert run(["verify", "lfw", "--data", str(tmp_path / "data")]) == 0
