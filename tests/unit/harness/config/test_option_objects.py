"""The objects behind options are those of the command line."""

from __future__ import annotations

from typing import Any

import pytest
from support.python_cells import FACES, folders

from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.harness.config.option import Option
from frbench.harness.core.errors import ConfigError, FrbenchError
from frbench.harness.core.face_data import FaceSet, PairSet
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.threat_model.threats import Transfer


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return folders(tmp_path_factory, "objects")


def test_that_an_option_loads_the_object_with_its_settings(run: dict[str, Any]) -> None:
    attack = Option("attack", "pgd", {"steps": 7}).load(**run)
    assert isinstance(attack, ProjectedDescent) and attack.steps == 7
    assert Option("budget", "linf_8", {"radius": "4/255"}).load() == Linf(4 / 255)
    assert Option("attack", "none").load() is None


def test_that_a_recognizer_is_loaded_once(run: dict[str, Any]) -> None:
    assert Option("recognizer", "tiny").load(**run) is Option("recognizer", "tiny").load(**run)
    surrogate = Option("recognizer", "tiny", {"bgr": True})
    threat = Option("threat", "transfer", {"surrogate": surrogate}).load(**run)
    assert isinstance(threat, Transfer)
    assert fingerprint(threat.surrogate) == fingerprint(surrogate.load(**run))


def test_that_data_sets_and_identities_are_opened(run: dict[str, Any]) -> None:
    pairs = Option("dataset", "synthetic", FACES).load(**run)
    faces = Option("identities", "synthetic", {"people": 4, "photos_per_person": 2}).load(**run)
    assert isinstance(pairs, PairSet) and len(pairs) == 60 and len(pairs.attacked) == 20
    assert isinstance(faces, FaceSet) and len(faces.people) == 4


def test_that_a_wrong_setting_is_found_when_the_option_is_loaded() -> None:
    with pytest.raises(ConfigError, match="did you mean 'attack.steps'"):
        Option("attack", "pgd", {"stepz": 7}).load()
    with pytest.raises(ConfigError, match="attack.steps=-7"):
        Option("attack", "pgd", {"steps": -7}).load()
    with pytest.raises(FrbenchError, match="recognizer.path"):
        Option("recognizer", "onnx").load()


def test_that_a_part_of_another_option_has_no_object_by_itself() -> None:
    with pytest.raises(ConfigError, match="tracker.*use it as a setting of another option"):
        Option("tracker", "linear").load()
