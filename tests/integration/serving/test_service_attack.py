"""PIN's case of a commercial API, end to end: a service that gives only similarities, attacked by decisions alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from frbench.harness.cli.main import main
from frbench.harness.core.contracts import Images, Scores, Template

pytest.importorskip("fastapi")

from support.fake_services import first_pairs_of_lfw, serving

FOLDS, EACH, QUERIES = 3, 2, 60


@pytest.fixture
def few_faces(real_data: Path, tmp_path: Path) -> Path:
    """A data folder with nothing but a few pairs of LFW."""
    first_pairs_of_lfw(real_data / "lfw", tmp_path / "data" / "lfw", FOLDS, EACH)
    return tmp_path / "data"


@pytest.fixture
def victim(real_data: Path) -> Callable[[str], Any]:
    """A real recognizer behind a defense, as ``frbench serve`` puts it."""
    import hydra

    from frbench.harness.config import build, resolution

    def protected(defense: str) -> Any:
        words = ["recognizer=foamliu_mobilefacenet", f"defense={defense}", f"paths.data={real_data}", "device=cpu"]
        with hydra.initialize_config_module("frbench.conf", version_base="1.3"):
            return build.protected(resolution.plain(hydra.compose("serve", words)))[1]

    return protected


class Counted:
    """A verifier that counts on the service's side what it is asked."""

    random = False

    def __init__(self, verifier: Any) -> None:
        self.verifier, self.asked = verifier, 0

    def fingerprint(self) -> Any:
        return self.verifier

    def enroll(self, *where: Any) -> Template:
        return self.verifier.enroll(*where)

    def score(self, probe: Images, *where: Any) -> Scores:
        self.asked += len(probe)
        return self.verifier.score(probe, *where)


@pytest.mark.realdata
def test_that_a_service_is_attacked_within_the_stated_queries(
    victim: Callable[[str], Any],
    few_faces: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COMPARE_TOKEN", "not for any record")
    monkeypatch.chdir(tmp_path)
    paths = [f"paths.data={few_faces}", f"paths.results={tmp_path / 'results'}"]
    counted = Counted(victim("jpeg"))
    with serving(counted) as url:  # type: ignore[arg-type]
        service = ["recognizer=service", f"recognizer.url={url}/compare"]
        service.append("recognizer.headers_from_env={Authorization: COMPARE_TOKEN}")
        attack = ["attack=evolutionary", "threat=query", f"threat.queries={QUERIES}", "goal=dodging"]
        small = [
            "dataset=lfw",
            "budget=unbounded",
            "device=cpu",
            "~protocol.postprocessing",
            "recognizer.min_clean_accuracy=80",
        ]
        code = main(["run", *service, *attack, *small, *paths])
    out, err = capfd.readouterr()
    assert code == 0, err
    assert "ASR" in out, out

    (path,) = (tmp_path / "results" / "runs").rglob("*.json")
    record = json.loads(path.read_text())
    assert record["status"] == "done", record["reason"]
    assert "not for any record" not in path.read_text()
    assert "COMPARE_TOKEN" in path.read_text()
    assert record["measurements"]["clean"]["accuracy"] > 0.8
    assert record["measurements"]["attack"]["asr"] == 1, "without limit of size each pair has a start"
    assert record["card"]["forwards"] == counted.asked - 1, "all is counted but the question for the version"

    (scores,) = (tmp_path / "results").rglob("*.parquet")
    table = pd.read_parquet(scores)
    assert len(table) == FOLDS * EACH
    assert table["queries"].between(1, QUERIES).all()
    assert counted.asked > table["queries"].sum() > 0.9 * QUERIES * len(table)
    assert (table["adversarial_score"] <= table["threshold"]).all()
    assert np.isfinite(table["l2"]).all() and (table["l2"] > 0).all()
