"""Help answers at once, is written for people, and what it tells to type is understood."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from frbench.harness.cli import help_texts
from frbench.harness.cli.main import main
from frbench.harness.config.compose import compose

VERBS = ["run", "fit", "craft", "report", "reproduce", "export", "serve", "cloak", "gc", "options"]


@pytest.mark.parametrize("verb", [*VERBS, "data"])
def test_that_each_verb_has_help_of_its_own(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: frbench {verb}") and "Hydra" not in out
    assert max(map(len, out.splitlines())) <= 120


def test_that_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from frbench.harness.cli.main import main; main(['--help']); main(['run', '--help']); "
        "sys.exit(bool({'torch', 'hydra', 'numpy', 'omegaconf'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr


def shown(text: str) -> list[str]:
    """The overrides in the left column of a help text, but placeholders in capitals and flags."""
    left = [re.split(r"   |  (?=[a-z]+ )", line[2:])[0] for line in text.splitlines() if re.match(r"  [a-z+]", line)]
    words = [word for line in left for word in line.split() if re.match(r"[+a-z_.@]+=", word)]
    return [word for word in words if not re.search(r"=[A-Z_]+\b|experiment=|,", word)]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ("run", help_texts.RUN),
        ("run", help_texts.FIT),
        ("report", help_texts.REPORT),
        ("export", help_texts.EXPORT),
        ("serve", help_texts.SERVE),
        ("gc", help_texts.GC),
    ],
    ids=["run", "fit", "report", "export", "serve", "gc"],
)
def test_that_what_a_help_text_shows_can_be_typed(config: str, text: str, tmp_path: Path) -> None:
    words = shown(text)
    assert len(words) >= 3
    assert compose(config, [*dict.fromkeys(words), f"paths.results={tmp_path}"]).cfg
