"""The audit's controls, by the command line: every broken defense is flagged, and no honest one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import frbench.conf
from frbench.harness.cli.main import main

ZOO = [f"broken/{path.stem}" for path in sorted((Path(frbench.conf.__file__).parent / "defense/broken").glob("*.yaml"))]
HONEST = ["none", "jpeg", "blur"]  # and pca, which is fitted


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """A record of each defense on rendered faces, attacked by one that looks through the defense alone."""
    folder = tmp_path_factory.mktemp("zoo")
    words = f"-m goal=impersonation attack=bim attack.steps=6 protocol.bootstrap=20 budget=linf_8 threat=adaptive \
        threat.include_oblivious=false audit=full audit.sample=4 dataset.limit=10 \
        dataset.people=30 dataset.photos_per_person=2 dataset.pairs=60 \
        ~protocol.postprocessing paths.results={folder}"
    assert main(["run", *words.split(), f"defense={','.join((*ZOO, *HONEST))}"]) == 0
    assert main(["run", *words.split()[1:], "defense=pca", "defense.components=100", "identities.people=30"]) == 0
    found = [json.loads(path.read_text()) for path in (folder / "runs").glob("*.json")]
    return {record["names"]["defense"]: record for record in found}


def test_that_the_zoo_is_whole() -> None:
    assert {name.partition("/")[2] for name in ZOO} == {
        "shattered", "saturated", "detached", "noisy", "random_resize",
    }  # fmt: skip


@pytest.mark.parametrize("name", ZOO)
def test_that_a_broken_defense_is_flagged(name: str, records: dict[str, dict[str, Any]]) -> None:
    flags = set(records[name]["flags"])
    masking = {"zero_gradients", "fails_unbounded", "gradient_mismatch", "not_reproducible"}
    assert flags & masking, (name, records[name]["measurements"]["attack"]["audit"])


@pytest.mark.parametrize("name", [*HONEST, "pca"])
def test_that_an_honest_defense_is_not(name: str, records: dict[str, dict[str, Any]]) -> None:
    assert records[name]["flags"] == [], records[name]["measurements"]["attack"]["audit"]
    assert records[name]["measurements"]["attack"]["audit"]["level"] == "full"
