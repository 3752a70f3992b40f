"""``frbench reproduce``: a real cell has the same numbers again, and a hostile card runs nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from frbench.harness.cli.main import main
from frbench.harness.storage import sealed_json
from frbench.harness.storage.result_store import ResultStore

SMALL = ["dataset.people=30", "dataset.photos_per_person=2", "dataset.pairs=60", "dataset.limit=20"]
CELL = ["attack=square", "attack.queries=5", "threat=query", "~protocol.postprocessing", *SMALL]
Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> ResultStore:
    """The record of one small cell whose attack starts at random."""
    folder = tmp_path_factory.mktemp("original")
    assert main(["run", *CELL, "allow_low_accuracy=true", "device=cpu", f"paths.results={folder}"]) == 0
    return ResultStore(folder)


def test_that_the_card_has_the_command_of_the_run(card: Mapping[str, Any]) -> None:
    command = card["run_card"]["command"]
    assert command.startswith("frbench run attack=square attack.queries=5 threat=query")
    assert "paths.results" not in command


@pytest.fixture(scope="module")
def card(original: ResultStore, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """The run card of that cell."""
    folder = tmp_path_factory.mktemp("card")
    assert (
        main(["report", "format=card", "where.attack=square", f"paths.results={original.root}", f"out={folder}"]) == 0
    )
    (file,) = folder.rglob("*.json")
    return dict(json.loads(file.read_text()))


def edited(card: Mapping[str, Any], edit: Edit, folder: Path) -> Path:
    """A file with a changed card, whose checksum is right."""
    copy = json.loads(json.dumps(card))
    copy.pop("checksum")
    edit(copy)
    path = folder / "card.json"
    path.write_bytes(sealed_json.written(copy))
    return path


def test_that_a_record_in_the_store_is_run_again_and_equal(
    original: ResultStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = original.records()[0]["fingerprint"]
    results = tmp_path / "results"
    shutil.copytree(original.root / "runs", results / "runs")
    assert main(["reproduce", key[:8], f"paths.results={results}", "tolerance=0", "device=cpu"]) == 0
    out = capsys.readouterr().out
    assert "key: the same" in out
    assert "reproduced: of " in out
    assert "0 within tolerance, 0 apart" in out
    made = ResultStore(results / "reproduced" / key[:12]).record(key)
    assert made is not None
    assert made["card"]["attack_generated"] is True, "the images were made anew"
    assert made["measurements"] == original.records()[0]["measurements"]


def test_that_a_card_is_reproduced_and_another_seed_reads_apart(
    card: Mapping[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def with_another_seed(copy: dict[str, Any]) -> None:
        copy["card"]["config"]["seed"] = 1

    same = edited(card, lambda copy: None, tmp_path)
    assert main(["reproduce", str(same), f"out={tmp_path / 'same'}", "tolerance=0", "device=cpu"]) == 0
    assert "0 apart" in capsys.readouterr().out
    other = edited(card, with_another_seed, tmp_path)
    assert main(["reproduce", str(other), f"out={tmp_path / 'other'}", "tolerance=0", "device=cpu"]) == 1
    out = capsys.readouterr().out
    assert "key: another" in out
    assert "not reproduced" in out
    assert "| attack.objective_mean" in out
    assert main(["reproduce", str(other), f"out={tmp_path / 'other'}", "tolerance=0.9", "device=cpu"]) in (0, 1)
    assert "(found)" in capsys.readouterr().out, "a second look at the same folder runs nothing"


def test_that_a_record_cannot_write_to_the_terminal_and_a_crashed_one_is_refused(
    card: Mapping[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [f"out={tmp_path / 'out'}", "device=cpu"]
    path = edited(card, lambda copy: copy["names"].update(attack="\x1b[2J\ud800"), tmp_path)
    assert main(["reproduce", str(path), *given]) == 0
    assert "\x1b" not in capsys.readouterr().out
    path = edited(card, lambda copy: copy.update(status="crashed", reason="x" * 9999), tmp_path)
    assert main(["reproduce", str(path), *given]) == 2
    assert len(capsys.readouterr().err) < 400


def test_that_flags_count_but_for_that_of_tuned_preprocessing(
    card: Mapping[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [f"out={tmp_path / 'out'}", "tolerance=0", "device=cpu"]
    tuned = edited(card, lambda copy: copy["flags"].append("preprocessing_tuned"), tmp_path)
    assert main(["reproduce", str(tuned), *given]) == 0
    other = edited(card, lambda copy: copy["flags"].append("not_converged"), tmp_path)
    assert main(["reproduce", str(other), *given]) == 1
    assert "| flags" in capsys.readouterr().out


def test_that_other_weights_or_data_end_it_before_the_run(
    card: Mapping[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, said in (("recognizer", "weights differ"), ("data", "data differ")):
        path = edited(card, lambda copy, name=name: copy["card"]["digests"].update({name: "0" * 64}), tmp_path)
        assert main(["reproduce", str(path), f"out={tmp_path / 'out'}", "device=cpu"]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out" / "runs").exists()


def test_that_a_file_of_another_user_is_given_on_the_command_line(
    card: Mapping[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def with_own_file(copy: dict[str, Any]) -> None:
        copy["card"]["config"]["recognizer"]["weights"] = "/home/ann/mine.safetensors"

    path = edited(card, with_own_file, tmp_path)
    given = ["reproduce", str(path), f"out={tmp_path / 'out'}", "tolerance=0", "device=cpu"]
    assert main(given) == 2
    error = capsys.readouterr().err
    assert "add recognizer.weights=VALUE" in error
    assert "/home/ann" not in error
    assert main([*given, "recognizer.weights=pkg:tiny.safetensors"]) == 0
    assert main([*given, "recognizer.weights=pkg:tiny.safetensors", "attack.queries=9"]) == 2
    assert "attack.queries is a setting of the record" in capsys.readouterr().err


def _set(*place: str, value: Any) -> Edit:
    def edit(copy: dict[str, Any]) -> None:
        inside = copy
        for key in place[:-1]:
            inside = inside[key]
        inside[place[-1]] = value

    return edit


CONFIG = ("card", "config")
DEEP: Any = []
for _ in range(300):
    DEEP = [DEEP]
HOSTILE = {
    "a command": (
        _set(*CONFIG, "attack", value={"_target_": "os.system", "command": "touch owned"}),
        "outside frbench",
    ),
    "a command in a list": (
        _set(*CONFIG, "attack", "p_init", value=[{"_target_": "subprocess.run", "args": "touch owned"}]),
        "outside frbench",
    ),
    "a module behind one of frbench": (
        _set(*CONFIG, "attack", "_target_", value="frbench.harness.core.atomic.os.system"),
        "outside frbench: a module there imports it",
    ),
    "a verb of frbench": (
        _set(*CONFIG, "defense", value={"_target_": "frbench.harness.cli.main.main", "argv": ["gc", "delete=true"]}),
        "in no option of frbench",
    ),
    "trust of its own": (_set(*CONFIG, "trust", value=["os"]), None),
    "a path": (_set(*CONFIG, "recognizer", "weights", value="/etc/passwd"), "add recognizer.weights=VALUE"),
    "a relative path": (_set(*CONFIG, "recognizer", "weights", value="../x.pt"), "add recognizer.weights=VALUE"),
    "a path out of the data": (
        _set(*CONFIG, "recognizer", "weights", value="${paths.data}/../x.pt"),
        "add recognizer.weights=VALUE",
    ),
    "an environment variable": (_set(*CONFIG, "recognizer", "name", value="${oc.env:HOME}"), "add recognizer.name"),
    "a secret to send": (
        _set(*CONFIG, "recognizer", "headers_from_env", value={"Authorization": "TOKEN"}),
        "add recognizer.headers_from_env=VALUE",
    ),
    "an address": (_set(*CONFIG, "recognizer", "prefix", value="http://evil.example/"), "add recognizer.prefix=VALUE"),
    "a huge text": (_set(*CONFIG, "attack", "queries", value="9" * 1_000_000), "attack.queries"),
    "a huge key": (_set(*CONFIG, "attack", "x" * 1_000_000, value=1), "attack"),
    "a huge file": (_set("reason", value="x" * 6_000_000), "more than the 5 MB"),
    "a deep list": (_set(*CONFIG, "attack", "queries", value=DEEP), ""),
    "a text for a number": (_set(*CONFIG, "seed", value="one"), "seed"),
    "a text for a noun": (_set(*CONFIG, "attack", value="pgd"), "no mapping"),
    "a list for the config": (_set(*CONFIG, value=[1]), ""),
    "no config": (_set("card", value=None), "no card.config"),
    "no digests": (_set("card", "digests", value=[1]), None),
    "a noun without a name": (_set("names", value={}), "names"),
    "settings in a list": (_set("settings", value=[]), "settings"),
    "an unknown setting": (_set(*CONFIG, "attack", "colour", value="red"), "colour"),
    "paths as a list": (_set(*CONFIG, "paths", value=["/"]), ""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_that_a_hostile_card_is_refused_in_one_line(
    name: str,
    card: Mapping[str, Any],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    edit, said = HOSTILE[name]
    path = edited(card, edit, tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    code = main(["reproduce", str(path), f"out={tmp_path / 'out'}", "device=cpu"])
    error = capfd.readouterr().err
    if said is None:  # it changes nothing, because that part of the card is not used
        assert code == 0
        return
    assert code == 2
    assert said in error
    assert error.count("\n") == 1
    assert len(error) < 600
    assert not (tmp_path / "out" / "runs").exists()
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "takes a record first"),
        (["tolerance=0.1"], "takes a record first"),
        (["0123abcd"], "0123abcd"),
        (["absent.json"], "absent.json"),
        (["0123abcd", "tolerance=2"], "tolerance"),
    ],
)
def test_that_wrong_usage_is_refused_in_one_line(
    words: list[str], said: str, original: ResultStore, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", *words, *([f"paths.results={original.root}"] if words else [])]) == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_that_the_folder_of_the_record_is_not_the_folder_of_the_run(
    original: ResultStore, capfd: pytest.CaptureFixture[str]
) -> None:
    key = original.records()[0]["fingerprint"]
    assert main(["reproduce", key, f"paths.results={original.root}", f"out={original.root}"]) == 2
    assert "set out to another folder" in capfd.readouterr().err
