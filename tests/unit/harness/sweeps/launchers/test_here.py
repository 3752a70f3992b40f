"""The launcher of this process."""

from __future__ import annotations

from pathlib import Path

from frbench.harness.sweeps.launchers.base import Launcher, Submission
from frbench.harness.sweeps.launchers.here import Here
from tests.support.small_plans import small_folder


def test_that_it_works_in_this_process_and_returns_its_exit_code(tmp_path: Path) -> None:
    folder = small_folder(tmp_path)
    submission = Submission(folder, {}, (), work=lambda: 1, show_progress=lambda: None)
    assert Here().launch(submission) == 1 and isinstance(Here(), Launcher)
    (noted,) = folder.jobs()
    assert noted["launcher"] == "here"
