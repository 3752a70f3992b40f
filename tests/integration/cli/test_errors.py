"""Every user error is one line on stderr, with exit code 2 and without a traceback."""

from __future__ import annotations

import io
import os
import pickle
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image

from frbench.harness.cli.main import main
from frbench.harness.config.compose import compose
from frbench.harness.config.overrides import quoted


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


@pytest.fixture
def frbench(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """``frbench run`` in this process, with all its paths below ``tmp_path``."""

    def run(*words: str) -> Answer:
        folders = [f"paths.{name}={tmp_path / name}" for name in ("data", "results")]
        code = main(["run", *words, *folders, "device=cpu"])
        return Answer(code, *capfd.readouterr())

    return run


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A readable pack of 20 plain images, as dataset=lfw_bin expects it."""
    images = []
    for i in range(40):
        file = io.BytesIO()
        Image.new("RGB", (112, 112), (6 * i, 255 - 6 * i, 80)).save(file, "JPEG")
        images.append(file.getvalue())
    path = tmp_path / "data" / "lfw" / "lfw.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps((images, [True, False] * 10)))
    return path


def one_line(answer: Answer) -> str:
    """The message; asserts that it is the only output."""
    assert answer.code == 2, answer
    assert "Traceback" not in answer.out + answer.err
    assert answer.err.startswith("frbench: "), answer.err
    assert answer.err.count("\n") == 1, answer.err
    assert answer.err.endswith("\n")
    assert not answer.out
    return answer.err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("atack=pgd", "attack"),
        ("attack=pgdd", "pgd"),
        ("defense=jpg", "jpeg"),
        ("budget=linf_7", "linf_8"),
        ("recognizer=tinny", "tiny"),
        ("attack.stepz=3", "attack.steps"),
        ("experiment=dmo", "demo"),
    ],
)
def test_that_a_mistyped_option_gets_the_nearest_one_as_a_hint(
    typed: str, meant: str, frbench: Callable[..., Answer]
) -> None:
    message = one_line(
        frbench(typed, "dataset=lfw_bin")
    )  # the data are missing, so that an overlooked mistake does not start a run
    assert typed.split("=")[0] in message
    assert meant in message


def test_that_a_mistyped_option_stops_a_sweep_before_it_starts(frbench: Callable[..., Answer], tmp_path: Path) -> None:
    assert "pgdd" in one_line(frbench("-m", "attack=fgsm,pgdd"))
    assert not (tmp_path / "results" / "runs").exists()


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("attack.steps=abc", "int"),
        ("attack.steps=1.5", "an integer above 0"),
        ("attack.early_stop=sometimes", "true or false"),
        ("budget.radius=wide", "a number above 0"),
    ],
)
def test_that_a_wrong_value_is_shown_with_the_expected_type(
    typed: str, wanted: str, frbench: Callable[..., Answer]
) -> None:
    message = one_line(frbench(typed))
    assert typed in message
    assert wanted in message


@pytest.mark.parametrize("typed", ["attack=[pgd", "attack.steps", "=", "attack=pgd attack"])
def test_that_a_syntax_error_is_one_line(typed: str, frbench: Callable[..., Answer]) -> None:
    one_line(frbench(typed))


@pytest.mark.parametrize("path", ["/data/run=3", "/data/run (3", "/data/one,other", "/data/a:b{c"])
def test_that_the_message_quotes_a_path_with_special_characters(path: str, frbench: Callable[..., Answer]) -> None:
    """The suggested override is parsed as the intended path."""
    message = one_line(frbench(f"recognizer.path={path}", "recognizer=onnx"))
    suggested = next(word for word in shlex.split(message) if word.startswith('recognizer.path="'))
    assert compose("run", ["recognizer=onnx", suggested]).cfg.recognizer.path == path


@settings(max_examples=100)
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\n\r", exclude_categories=["Cc", "Cs"])))
def test_that_quoted_text_is_parsed_as_the_same_text(text: str) -> None:
    assume("$" not in text)  # of interpolations, which no quotes prevent
    parsed = OverridesParser.create().parse_override(quoted("key", text)).value()
    assert (parsed.text if isinstance(parsed, QuotedString) else parsed) == text


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("+tracking=wandb", "training"),
        ("+paths.reslts=elsewhere", "paths.results"),
        ("+tracker=linear", ""),
        ("+network=tiny", ""),
    ],
)
def test_that_an_unknown_key_is_an_error(typed: str, meant: str, frbench: Callable[..., Answer]) -> None:
    message = one_line(frbench(typed, "dataset=lfw_bin"))
    assert typed.partition("=")[0].lstrip("+") in message and "unknown option" in message
    assert f"did you mean '{meant}'?" in message if meant else True


def test_that_a_key_that_a_value_refers_to_is_allowed(frbench: Callable[..., Answer]) -> None:
    message = one_line(frbench("+mine=3", "attack.steps=${mine}", "dataset=lfw_bin"))
    assert "unknown option" not in message and "lfw" in message  # the next thing that is missing


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("--attack=pgd", "attack=pgd"), ("--multi", "-m")],
)
def test_that_an_unknown_flag_is_one_line(typed: str, meant: str, frbench: Callable[..., Answer]) -> None:
    assert meant in one_line(frbench(typed))


@pytest.mark.parametrize(
    ("typed", "valid"),
    [
        ("recognizer@threat.surrogate=tiny", "threat=transfer"),
        ("tracker=linear", "tracker@protocol.tracker=NAME with protocol=cloaking"),
    ],
)
def test_that_a_nested_group_names_the_option_that_it_needs(
    typed: str, valid: str, frbench: Callable[..., Answer]
) -> None:
    assert valid in one_line(frbench(typed))


def test_that_the_nearest_setting_comes_from_the_chosen_options(frbench: Callable[..., Answer]) -> None:
    assert "did you mean 'attack.binary_search_steps'?" in one_line(frbench("attack=cw", "attack.binary_search_step=3"))


@pytest.mark.parametrize("words", [["run"], ["run", "-m", "attack=fgsm,pgd"], ["fit", "defense=pca"], ["report"]])
def test_that_an_unwritable_results_folder_is_one_line_before_any_work(
    words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("a file where a folder should be")
    code = main([*words, f"paths.results={tmp_path / 'file' / 'results'}", *_cache(words, tmp_path)])
    assert str(tmp_path / "file") in one_line(Answer(code, *capfd.readouterr()))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def _cache(words: list[str], folder: Path) -> list[str]:
    return [] if words == ["report"] else [f"paths.cache={folder / 'file' / 'cache'}"]


def test_the_configuration_of_each_cell_of_a_sweep_is_printed_and_nothing_runs(
    frbench: Callable[..., Answer], tmp_path: Path
) -> None:
    answer = frbench("-m", "attack=fgsm,pgd", "--cfg", "job")
    assert answer.code == 0 and not answer.err
    documents = answer.out.split("---\n")[1:]
    assert [document.splitlines()[0].split()[1] for document in documents] == ["attack=fgsm", "attack=pgd"]
    assert [OmegaConf.create(document).attack.steps for document in documents] == [1, 20]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["options"], ["run", "--help"], ["data", "list"], ["run", "--cfg=job"]])
def test_that_a_closed_pipe_is_no_error(words: list[str], tmp_path: Path) -> None:
    """As with ``frbench options | head -1``."""
    command = [sys.executable, "-m", "frbench.harness.cli.main", *words]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=200) != 2


def test_that_a_required_value_is_named(frbench: Callable[..., Answer]) -> None:
    assert "add recognizer.path=" in one_line(frbench("recognizer=onnx"))


def test_that_a_mistyped_verb_gets_the_nearest_one_as_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["rnu"])
    assert "did you mean 'run'?" in one_line(Answer(code, *capsys.readouterr()))


def test_a_mistyped_group_of_options_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["options", "atack"])
    assert "attack" in one_line(Answer(code, *capsys.readouterr()))


@pytest.mark.parametrize("option", ["lfw", "cfp_fp", "cfp_ff", "agedb_30", "lfw_bin", "cfp_fp_bin", "agedb_30_bin"])
def test_a_missing_dataset_is_named_with_where_it_should_be_and_how_to_get_it(
    option: str, frbench: Callable[..., Answer], tmp_path: Path
) -> None:
    message = one_line(frbench(f"dataset={option}"))
    assert str(tmp_path / "data") in message
    assert f"frbench data prepare {option}" in message


def test_a_missing_weight_file_is_named_with_where_it_should_be(
    pack: Path, frbench: Callable[..., Answer], tmp_path: Path
) -> None:
    message = one_line(frbench("dataset=lfw_bin", "recognizer=iresnet18"))
    assert str(tmp_path / "data" / "models" / "iresnet18.pth") in message
    assert "recognizer.weights" in message


def test_a_weight_file_of_something_else_is_named(pack: Path, frbench: Callable[..., Answer], tmp_path: Path) -> None:
    wrong = tmp_path / "backbone.pth"
    wrong.write_text("these are not weights\n")
    message = one_line(frbench("dataset=lfw_bin", "recognizer=iresnet18", f"recognizer.weights={wrong}"))
    assert str(wrong) in message


class Hostile:
    """A pickle that runs code on loading: it creates a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.mark}",)


def test_a_hostile_pack_is_refused_and_runs_nothing(frbench: Callable[..., Answer], tmp_path: Path) -> None:
    mark, path = tmp_path / "the pickle ran", tmp_path / "data" / "lfw" / "lfw.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(([Hostile(mark)], [True])))
    message = one_line(frbench("dataset=lfw_bin"))
    assert str(path) in message
    assert "system" in message
    assert not mark.exists()


def test_a_hostile_weight_file_is_refused_and_runs_nothing(
    pack: Path, frbench: Callable[..., Answer], tmp_path: Path
) -> None:
    mark, path = tmp_path / "the pickle ran", tmp_path / "backbone.pth"
    path.write_bytes(pickle.dumps({"weight": Hostile(mark)}))
    message = one_line(frbench("dataset=lfw_bin", "recognizer=iresnet18", f"recognizer.weights={path}"))
    assert str(path) in message
    assert not mark.exists()


def test_a_text_file_named_onnx_is_refused(pack: Path, frbench: Callable[..., Answer], tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    path = tmp_path / "model.onnx"
    path.write_text("this is a letter to a friend\n")
    assert str(path) in one_line(frbench("dataset=lfw_bin", "recognizer=onnx", f"recognizer.path={path}"))


def test_a_target_of_somebody_else_is_refused(frbench: Callable[..., Answer]) -> None:
    """``_target_`` turns a config into code, so only frbench's and trusted packages' may be named."""
    message = one_line(frbench("defense._target_=os.system"))
    assert "os.system" in message
    assert "trust=[os]" in message


def test_the_command_itself_ends_with_code_2_and_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "frbench.harness.cli.main", "run", "atack=pgd"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "did you mean 'attack'?" in one_line(Answer(done.returncode, done.stdout, done.stderr))
    assert not list(tmp_path.iterdir()), "a run that never started left something behind"
