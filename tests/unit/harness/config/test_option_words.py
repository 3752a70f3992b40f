"""Options of Python as overrides: every value arrives as Hydra would read it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st

from frbench.harness.config.option import Option
from frbench.harness.config.option_words import literal, run_words, word
from frbench.harness.core.errors import ConfigError

KEYS = st.from_regex(r"[a-z_][a-z0-9_]{0,6}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0", exclude_categories=["Cs"]), max_size=12)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(PLAIN, lambda each: st.lists(each, max_size=3) | st.dictionaries(KEYS, each, max_size=3))


@settings(max_examples=40)
@given(VALUES)
def test_that_hydra_reads_the_value_that_was_written(value: Any) -> None:
    assert OverridesParser.create().parse_override(word("x", value)).value() == value


def test_that_numbers_of_numpy_and_paths_are_plain_values() -> None:
    assert literal([np.float64(0.5), np.int64(3), np.bool_(True)]) == "[0.5,3,true]"
    assert literal(Path("models") / "a b.onnx") == "models/a b.onnx"


def test_that_an_object_has_no_literal() -> None:
    with pytest.raises(ConfigError, match="attack.steps: got a set, expected None, a bool, number, text"):
        word("attack.steps", {1})


def test_that_the_words_of_a_run_are_those_of_the_command_line(tmp_path: Path) -> None:
    choices = {"dataset": Option("dataset", "lfw", {"limit": 40}), "attack": "fgsm", "goal": None}
    words = run_words(choices, {"seed": 3, "results": tmp_path, "trust": ["mine"]})
    expected = ["dataset=lfw", "attack=fgsm", "dataset.limit=40", "seed=3", f"paths.results={tmp_path}", "trust=[mine]"]
    assert words == expected


def test_that_an_option_inside_an_option_is_a_choice_at_its_place() -> None:
    surrogate = Option("recognizer", "onnx", {"path": "a.onnx"})
    words = run_words({"threat": Option("threat", "transfer", {"surrogate": surrogate})}, {})
    assert words == ["threat=transfer", "recognizer@threat.surrogate=onnx", "threat.surrogate.path=a.onnx"]
    named = run_words({"threat": Option("threat", "transfer", {"surrogate": "onnx"})}, {})
    assert named == ["threat=transfer", "recognizer@threat.surrogate=onnx"]


def test_that_a_name_inside_an_option_may_be_of_the_own_folder(tmp_path: Path) -> None:
    (tmp_path / "recognizer").mkdir()
    (tmp_path / "recognizer" / "mine.yaml").write_text("_target_: my.Net\n")
    words = run_words({"threat": Option("threat", "transfer", {"surrogate": "mine"})}, {"config_dir": tmp_path})
    assert words == [f"--config-dir={tmp_path}", "threat=transfer", "recognizer@threat.surrogate=mine"]


def test_that_a_text_that_names_an_option_elsewhere_stays_a_text() -> None:
    assert run_words({"attack": Option("attack", "apgd", {"loss": "cosine"})}, {}) == [
        "attack=apgd",
        "attack.loss=cosine",
    ]
    assert run_words({"defense": Option("defense", "pin", {"x": "pca"})}, {}) == ["defense=pin", "defense.x=pca"]


def test_that_members_are_added_where_the_option_has_none() -> None:
    members = {"a": Option("recognizer", "tiny"), "b": Option("recognizer", "onnx", {"path": "b.onnx"})}
    words = run_words({"recognizer": Option("recognizer", "ensemble", {"members": members})}, {})
    added = ["+recognizer@recognizer.members.a=tiny", "+recognizer@recognizer.members.b=onnx"]
    assert words == ["recognizer=ensemble", *added, "recognizer.members.b.path=b.onnx"]


def test_that_options_nest_to_any_depth() -> None:
    inner = Option(
        "attack", "lowkey_proxy_lpips", {"perceptual_distance.recognizer": Option("recognizer", "iresnet18")}
    )
    words = run_words({"attack": Option("attack", "minimal", {"inner": inner, "~inner.early_stop": None})}, {})
    place = "recognizer@attack.inner.perceptual_distance.recognizer"
    expected = ["attack=minimal", "attack@attack.inner=lowkey_proxy_lpips", f"{place}=iresnet18"]
    assert words == [*expected, "~attack.inner.early_stop"]


def test_that_an_added_entry_keeps_its_sign() -> None:
    net = Option("recognizer", "pytorch", {"architecture._target_": "my.Net", "+architecture.width": 2})
    words = run_words({"recognizer": net}, {})
    assert words[1:] == ["recognizer.architecture._target_=my.Net", "+recognizer.architecture.width=2"]


def test_that_a_mapping_may_add_entries() -> None:
    net = {"_target_": "my.Net", "width": 2}
    words = run_words({"recognizer": Option("recognizer", "pytorch", {"architecture": net})}, {})
    assert words == ["recognizer=pytorch", "++recognizer.architecture={_target_:my.Net,width:2}"]


def test_that_options_of_two_folders_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "attack").mkdir(parents=True)
        (tmp_path / name / "attack" / "mine.yaml").write_text("_target_: my.Attack\n")
    mine = Option("attack", "mine", {}, tmp_path / "one")
    assert run_words({"attack": mine}, {})[0] == f"--config-dir={tmp_path / 'one'}"
    assert run_words({"attack": "mine"}, {"config_dir": tmp_path / "one"})[1] == "attack=mine"
    with pytest.raises(ConfigError, match="config_dir must be one folder"):
        run_words({"attack": mine}, {"config_dir": tmp_path / "two"})


def test_that_an_object_is_refused_with_the_yaml_to_write() -> None:
    with pytest.raises(ConfigError, match=r"_target_: decimal.Decimal.*my_conf/attack/decimal.yaml.*\['decimal'\]"):
        run_words({"attack": Decimal(1)}, {})
