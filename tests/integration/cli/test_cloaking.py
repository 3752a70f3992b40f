"""``frbench run protocol=cloaking`` and its report, as a user meets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from frbench.harness.cli.main import main

PAIRS = ["dataset.people=30", "dataset.photos_per_person=2", "dataset.pairs=60"]


@pytest.fixture
def frbench(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Any:
    """``frbench VERB`` in this process on few rendered users, with all its paths below ``tmp_path``."""

    def run(verb: str, *words: str) -> tuple[int, str, str]:
        folders = [f"paths.{name}={tmp_path / name}" for name in ("data", "results")]
        small = [] if "dataset.people=30" in words else ["dataset.people=5", "dataset.photos_per_person=4"]
        code = main([verb, *words, *folders, *([*small, "device=cpu"] if verb == "run" else [])])
        return (code, *capfd.readouterr())

    return run


@pytest.mark.usefixtures("coarse_figures")
def test_that_the_command_line_runs_and_reports_cloaks(frbench: Any, tmp_path: Path) -> None:
    words = ("protocol=cloaking", "attack.steps=4", "protocol.bootstrap=100", "budget=linf_16")
    trackers = "tracker@protocol.tracker=nearest,linear"
    code, out, err = frbench("run", "-m", *words, trackers, "defense=none,blur")
    assert code == 0, err
    assert out.count("cloak ") == 4 and "linear" in out and "others 100.0 %" in out
    code, out, err = frbench("report", f"out={tmp_path / 'out'}")
    assert code == 0, err
    text = (tmp_path / "out" / "tables" / "report.md").read_text("utf-8")
    assert "## Cloaking" in text and "tiny, nearest" in text and "published: PuFace" in text
    assert "Attack success" not in text
    figures = {path.stem.split("-")[0] for path in (tmp_path / "out" / "figures").iterdir()}
    assert figures == {"cloak_embeddings", "cloaked_photos"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["protocol=cloaking", "goal=dodging"],
            "goal=dodging is for pairs to verify and protocol=cloaking needs users with their photos; take another "
            "goal, such as goal=cloak",
        ),
        (
            ["protocol=verification", "dataset=synthetic_users"],
            "dataset=synthetic_users has users with their photos and protocol=verification needs pairs to verify",
        ),
        (
            ["protocol=cloaking", "dataset=synthetic", *PAIRS],
            "dataset=synthetic has pairs to verify and protocol=cloaking needs users with their photos",
        ),
        (["protocol=verification", "goal=cloak", *PAIRS], "goal=cloak is for users with their photos"),
        (["tracker=linear"], "tracker@protocol.tracker"),
        (["tracker@protocol.tracker=linear"], "protocol=cloaking"),
    ],
)
def test_that_a_wrong_sentence_is_one_line_that_names_the_override(words: list[str], said: str, frbench: Any) -> None:
    code, out, err = frbench("run", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
