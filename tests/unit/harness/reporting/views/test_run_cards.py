"""The facts of a run, and the command that repeats it."""

from __future__ import annotations

import re

from support.fake_records import sweep

from frbench.harness.reporting.views.run_cards import facts, repeat_command


def test_a_card_has_results_options_flags_and_facts_of_the_run() -> None:
    record = next(r for r in sweep().records() if r["names"]["attack"] == "pgd")
    record["hyperparameters"]["attack"] = {"steps": 20, "restarts": None}
    record["settings"] = {"attack.steps": 20, "seed": 3}
    record["card"] |= {"versions": {"torch": "2.13"}, "digests": {"data": "ab", "surrogate": None}, "git": "c0ffee"}
    found = facts(record, ["not_converged"])
    assert found["attack"] == "pgd(steps=20)\nrestarts = null\nsteps = 20"
    assert (found["flags"], found["commit"], found["versions"]) == ("not converged", "c0ffee", "torch 2.13")
    assert (found["digests"], found["other settings"], found["status"]) == ("data ab", "seed=3", "done")
    assert found["ASR"].endswith("/120)") and re.fullmatch(
        r"[\d.]+ % \[[\d.]+, [\d.]+\] \(\d+\)", found["clean accuracy"]
    )


def test_a_refused_cell_has_its_reason() -> None:
    record = next(iter(sweep().records())) | {"status": "refused", "reason": "no gradient", "measurements": None}
    found = facts(record, [])
    assert found["status"] == "refused: no gradient"
    assert "ASR" not in found and found["flags"] == "none"


def test_the_command_is_quoted_for_a_shell() -> None:
    record = next(iter(sweep().records()))
    assert repeat_command(record) == f"frbench reproduce {record['fingerprint'][:16]}"
    record["card"]["overrides"] = ["attack=pgd", "recognizer.path=a b;rm -r *"]
    assert repeat_command(record) == "frbench run attack=pgd 'recognizer.path=a b;rm -r *'"
