"""Every flag comes from one enumeration, is documented, and stands where people look."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from frbench.harness.cli.summary_line import summary
from frbench.harness.core.face_data import REMARK_FLAGS, remark_flags
from frbench.harness.core.flags import Flag, doubtful, flag_named
from frbench.harness.evaluation.audit import Audit

PAGE = (Path(__file__).parents[4] / "docs" / "audit.md").read_text(encoding="utf-8")


def test_that_the_documentation_describes_every_flag_and_no_other() -> None:
    table = PAGE.split("| flag | what it says |")[1].split("\n\n")[0]
    named = {name for row in table.splitlines()[2:] for name in row.split("|")[1].split("`")[1::2]}
    assert {name for name in named if "=" not in name} == set(Flag)


def test_that_every_check_of_the_audit_has_a_limit_and_is_a_flag() -> None:
    checks = set(Audit(full=True)._checks())
    assert len(checks) == 10 and checks <= set(Flag)
    assert checks <= {each.name for each in dataclasses.fields(Audit)}


def test_that_what_is_odd_about_a_data_set_raises_flags_of_the_enumeration() -> None:
    assert {flag_named(name) for name in remark_flags(dict.fromkeys(REMARK_FLAGS, 1), 10)} == set(REMARK_FLAGS.values())


def test_that_a_flag_that_only_names_a_kind_casts_no_doubt_and_an_unknown_one_does() -> None:
    assert doubtful(["boundary_attack", "not_converged", "from_a_later_version"]) == [
        "not_converged",
        "from_a_later_version",
    ]
    assert {flag for flag in Flag if not flag.doubt} == {
        Flag.BOUNDARY_ATTACK,
        Flag.IMAGES_LEFT_OUT,
        Flag.PREPROCESSING_TUNED,
    }


def record(status: str = "done", flags: tuple[str, ...] = (), fingerprint: str = "f") -> dict[str, Any]:
    nouns = ("dataset", "recognizer", "protocol", "goal", "threat", "budget", "defense", "attack")
    asr = {"asr": 0.25, "asr_low": 0.1, "asr_high": 0.5, "asr_denominator": 20, "normal_accuracy": None}
    return {
        "fingerprint": fingerprint,
        "status": status,
        "reason": "it cannot be",
        "kind": "verification",
        "names": {noun: f"the_{noun}" for noun in nouns},
        "settings": {},
        "measurements": {"clean": {"accuracy": 1.0}, "attack": asr},
        "flags": list(flags),
        "card": {"seconds": 1.0, "forwards": 2, "backwards": 3},
    }


def test_that_the_last_line_of_a_sweep_counts_cells_and_flags_and_says_what_is_next() -> None:
    records = [record(flags=("not_converged",)), record(flags=("not_converged", "broken_images")), record("crashed")]
    line = summary(records, 1, {Path("results")})
    assert line.startswith("4 cells: 2 done, 1 crashed, 1 failed; ")
    assert "flags: not_converged in 2, broken_images in 1" in line
    assert line.endswith("records: results/runs; next: frbench report")


def test_that_the_last_line_of_one_cell_names_its_record_and_a_report_of_that_folder() -> None:
    line = summary([record(fingerprint="abc")], 0, {Path("/some/where=1")})
    assert line == "record: /some/where=1/runs/abc.json; next: frbench report 'paths.results=\"/some/where=1\"'"
