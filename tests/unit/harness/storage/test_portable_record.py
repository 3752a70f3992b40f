"""A record for other people names no folder, user or machine, and loses no number."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.fake_records import NAMES, FakeStore, decided

from frbench.harness.config.running import RUN_CONTROLS
from frbench.harness.storage.portable_record import overrides_of, portable

CONFIG = {
    "paths": {"data": "/home/ann/faces", "cache": "~/.cache/frbench", "results": "/scratch/ann/results"},
    "out": "/home/ann/out.safetensors",
    "seed": 3,
    "dataset": {"root": "/home/ann/faces/lfw", "source": {"url": "https://example.org/lfw.zip"}},
    "recognizer": {
        "_target_": "a.Service",
        "path": "/home/ann/nets/mine.onnx",
        "cache": "~/.cache/frbench",
        "url": "http://gpu7.lab:80/compare",
    },
    "defense": {"members": ["C:\\Users\\ann\\a.onnx", "pkg:tiny.safetensors"]},
}
WORDS = [
    "recognizer=onnx",
    'recognizer.path="/home/ann/nets/mine.onnx"',
    "paths.results=/scratch/ann/results",
    "device=cuda:1",
    "--config-dir=/home/ann/conf",
    "budget.radius=8/255",
]


def record(**changes: Any) -> dict[str, Any]:
    cells = FakeStore()
    found = decided(cells, {"recognizer": "onnx"}, [True], settings={"recognizer.path": "nets/mine.onnx"}, **changes)
    card = {"config": CONFIG, "overrides": WORDS, "device": "cpu (x86_64)", "digests": {"data": "d" * 64}}
    return found | {"card": card, "checksum": "0" * 64}


def test_that_a_config_says_where_files_lie_on_any_machine() -> None:
    found = portable(record())["card"]["config"]
    assert found == {
        "seed": 3,
        "dataset": {"root": "${paths.data}/lfw", "source": {"url": "https://example.org/lfw.zip"}},
        "recognizer": {"_target_": "a.Service", "path": "<file>/mine.onnx", "cache": "${paths.cache}", "url": "<url>"},
        "defense": {"members": ["<file>/a.onnx", "pkg:tiny.safetensors"]},
    }


def test_that_no_folder_user_or_address_is_left() -> None:
    reason = (
        'Traceback\n  File "/home/ann/frbench/x.py"\nOSError: /home/ann/a b/model.onnx at http://gpu7.lab/x is gone'
    )
    found = portable(record(status="crashed", reason=reason))
    text = json.dumps(found)
    assert not [word for word in ("ann", "/home", "/scratch", "gpu7", "~") if word in text.replace("angle", "")]
    assert found["reason"].startswith("OSError: ")
    assert found["settings"]["recognizer.path"] == "mine.onnx"
    assert overrides_of(found) == ["recognizer=onnx", 'recognizer.path="mine.onnx"', "budget.radius=8/255"]


def test_that_measurements_and_names_stay() -> None:
    before = record()
    found = portable(before)
    for key in ("measurements", "names", "fingerprint", "flags", "hyperparameters", "seed"):
        assert found[key] == before[key], key
    assert portable(found | {"checksum": ""})["card"] == found["card"], "a card of a card is the same"


@pytest.mark.parametrize("card", [None, {}, {"config": {}}])
def test_that_a_record_without_a_config_has_a_card(card: Any) -> None:
    found = portable(record() | {"card": card})
    assert found["card"]["config"] == {}
    assert overrides_of(found) is None


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(alphabet="ab_ .", min_size=1).filter(lambda text: text.strip(" .")))
def test_that_the_folder_of_any_path_is_left_out(folder: str) -> None:
    path = f"/home/secret{folder}/x.onnx"
    config = {**CONFIG, "recognizer": {"path": path, "others": [{"path": path}]}}
    found = portable(record() | {"card": {"config": config}})
    assert "secret" not in json.dumps(found)


def test_that_a_noun_with_an_odd_name_stays_as_it_is() -> None:
    names = NAMES | {"recognizer": "ensemble(one+other)", "attack": "a/b"}
    assert portable(record() | {"names": names})["names"] == names


@pytest.mark.parametrize("control", RUN_CONTROLS)
def test_that_the_command_has_no_control_of_the_sweep(control: str) -> None:
    cell = decided(FakeStore(), {}, [True])
    cell["card"]["overrides"] = ["attack=pgd", f"{control}=anything"]
    assert overrides_of(portable(cell)) == ["attack=pgd"]
