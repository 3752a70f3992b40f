"""What protocol=cloaking refuses."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from support.cloaked_cells import cloaking_cell, natural
from support.fake_services import told

from frbench.attacks.cw import CarliniWagner
from frbench.harness.core.errors import FrbenchError
from frbench.harness.evaluation.cell import run_cell
from frbench.harness.protocols.cloaking.trackers.finetuned import FineTuned
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.goals import Dodging


@dataclass(frozen=True)
class Opaque:
    """A defense that is no purifier."""

    def protect(self, verifier: object) -> object:
        return verifier

    def relaxations(self, verifier: object) -> dict:
        return {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"goal": Dodging()}, "goal=toy is for pairs to verify"),
        (
            {"protocol": {"uncloaked_training_photos": 7}},
            "uncloaked_training_photos=7 leaves all 7 training photos of a user natural",
        ),
    ],
)
def test_that_what_is_not_for_this_protocol_is_told_in_one_line(changes: dict, said: str, store: ResultStore) -> None:
    with pytest.raises(FrbenchError) as error:
        run_cell(cloaking_cell(**changes), store)
    assert said in told(error)


def test_that_what_no_tracker_can_do_is_recorded_as_refused(store: ResultStore) -> None:
    cell = cloaking_cell(natural)
    for change, said in (
        ({"defense": Opaque()}, "Opaque is not a purifier"),
        ({"protocol": replace(cell.protocol, tracker=FineTuned())}, "linear shows no network"),
    ):
        record = run_cell(replace(cell, **change), store)
        assert record["status"] == "refused" and said in record["reason"] and "\n" not in record["reason"]


def test_that_an_attack_that_would_go_on_until_a_verifier_is_fooled_is_refused(store: ResultStore) -> None:
    record = run_cell(replace(cloaking_cell(natural), attack=CarliniWagner()), store)
    assert record["status"] == "refused"
    assert "CarliniWagner goes on until a verifier is fooled" in record["reason"]
