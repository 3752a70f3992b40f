"""Results in Python: fields that a protocol does not have are None."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.python_cells import FACES, folders

from frbench.harness import api
from frbench.harness.config.evaluations import swept
from frbench.harness.core.errors import ConfigError

TINY = api.recognizer("tiny", min_clean_accuracy=None)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {"recognizer": TINY, **folders(tmp_path_factory, "evaluations")}


def test_that_feature_distances_have_a_rate_for_each_distance(run: dict[str, Any]) -> None:
    protocol = api.protocol("feature_distance", distances=[1.0, 0.8])
    dataset = api.dataset("synthetic", **FACES)
    result = api.evaluate(protocol=protocol, dataset=dataset, attack=api.attack("lots", **{"inner.steps": 2}), **run)
    assert result.asr is None and result.interval is None and result.clean_accuracy is not None
    assert set(result.record["measurements"]["attack"]["distances"]) == {"1", "0.8"}
    assert result.pairs is not None and len(result.pairs) == 20


def test_that_cloaks_have_a_rate_and_images(run: dict[str, Any]) -> None:
    users = api.dataset("synthetic_users", people=4, photos_per_person=4)
    protocol = api.protocol("cloaking", splits=1, bootstrap=20, tracker="nearest", border_probe_threshold=1)
    result = api.evaluate(protocol=protocol, dataset=users, attack=api.attack("pgd", steps=2), **run)
    assert result.status == "done", result.reason
    assert result.asr is not None and result.interval is not None and result.pairs is not None
    assert result.denominator == len(result.pairs)
    natural, cloaked, targets = result.images([3, 0])
    assert natural.shape == cloaked.shape == targets.shape == (2, 3, 112, 112)
    assert not natural.equal(cloaked) and (cloaked * 255).round().div(255).allclose(cloaked)


def test_that_the_folder_of_results_is_kept_when_the_working_directory_changes(
    run: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dataset = api.dataset("synthetic", **FACES)
    quick = api.protocol("verification", bootstrap=20, **{"~postprocessing": None})
    result = api.evaluate(**{**run, "results": "here"}, dataset=dataset, attack="fgsm", protocol=quick)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert result.pairs is not None and len(result.images().clean) == len(result.pairs)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_that_an_unknown_argument_of_a_sweep_is_refused_before_any_cell_runs() -> None:
    with pytest.raises(ConfigError, match="unknown argument atack; did you mean attack"):
        swept({"atack": ["fgsm"]})
