"""The command of a job."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from frbench.harness.cli.sweep_words import parse
from frbench.harness.sweeps.launchers.base import Submission
from tests.support.small_plans import small_folder


def submission(results: Path) -> Submission:
    return Submission(small_folder(results), {}, ("fail_fast=true",), work=lambda: 0, show_progress=lambda: None)


def test_that_frbench_work_understands_the_command_of_a_job(tmp_path: Path) -> None:
    found = parse("work", submission(tmp_path / "a b").command(3)[4:])
    assert found.sweep == "sweep-0123abcd" and found.results == tmp_path / "a b"
    assert found.flags == {"--group": "3"} and found.settings == {"fail_fast": "true"}


def test_that_a_shell_fills_in_the_group(tmp_path: Path) -> None:
    line = submission(tmp_path / "a b").line("GROUP")
    printed = subprocess.run(
        ["sh", "-c", f"GROUP=7; printf '%s\\n' {line}"], capture_output=True, text=True, check=True
    )
    assert printed.stdout.splitlines() == submission(tmp_path / "a b").command(7)
    assert shlex.split(line)[-1] == "$GROUP"
