"""docs/record_schema.md lists every field of real records with its type, and no other field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from conftest import LinearRecognizer, random_pair_set
from support.cloaked_cells import cloaking_cell, negatives
from support.documents import ROOT
from support.toy_cells import NoiseDefense, toy_cell

from frbench.attacks.lots import Lots, LotsDescent
from frbench.harness.cli.main import main
from frbench.harness.evaluation.cell import Cell, run_cell
from frbench.harness.protocols.feature_distance import FeatureDistance
from frbench.harness.storage.result_store import Record, ResultStore
from frbench.harness.threat_model.budgets import Unbounded
from frbench.harness.threat_model.goals import Impersonation

PAGE = (ROOT / "docs" / "record_schema.md").read_text(encoding="utf-8")
SIZE = 16  # the window of SSIM is 11 pixels wide
SMALL = ["people=30", "photos_per_person=2", "pairs=60", "limit=20"]
COMMON = ("Every record", "Card")
SECTIONS = {
    "verification": (*COMMON, "Clean measurements of pairs", "Attack measurements of `verification`"),
    "feature_distance": (*COMMON, "Clean measurements of pairs", "Attack measurements of `feature_distance`"),
    "cloaking": (*COMMON, "Measurements of `cloaking`"),
}
JSON_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "object": (dict,),
    "list of strings": (list,),
}


def rows(section: str) -> Iterator[tuple[str, str]]:
    """Field and type of each row of a section; the type is empty where the page refers to another section."""
    text = PAGE.split(f"## {section}\n")[1].split("\n## ")[0]
    for line in re.findall(r"^\| `.*\|$", text, re.MULTILINE):
        names, kind, _ = line.strip("|").split("|")
        yield from ((name, kind.strip()) for name in re.findall(r"`([^`]+)`", names))


def pattern(name: str) -> re.Pattern[str]:
    """``name`` as a regular expression; a number such as 0.01 may stand for ``<far>`` and ``<q>``."""
    parts = re.split(r"(<\w+>)", name)
    free = {"<far>": r"[\d.e-]+", "<q>": r"[\d.e-]+"}
    return re.compile("".join(free.get(p, r"[^.]+") if p.startswith("<") else re.escape(p) for p in parts))


def schema(kind: str) -> list[tuple[str, re.Pattern[str], str]]:
    return [(name, pattern(name), what) for section in SECTIONS[kind] for name, what in rows(section)]


def nodes(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted place and value of everything in a record."""
    if place:
        yield place, value
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from nodes(each, f"{place}.{key}" if place else key)


def undocumented(record: Record) -> list[str]:
    """Values that no field of the page covers; a field of type object covers everything inside it."""
    known, found, open_objects = schema(record["kind"]), [], []
    for place, value in nodes(record):
        kinds = [what for _, expression, what in known if expression.fullmatch(place)]
        inside = any(place.startswith(f"{each}.") for each in open_objects)
        if isinstance(value, dict) and any("object" in kind for kind in kinds) and place != "measurements.attack":
            open_objects.append(place)
        if not kinds and not inside and not isinstance(value, dict):
            found.append(place)
    return found


def mistyped(record: Record) -> list[str]:
    """Values of another type than the page says."""
    wrong = []
    for place, value in nodes(record):
        for _, expression, what in schema(record["kind"]):
            if what and expression.fullmatch(place):
                kinds = [kind for name, kind in JSON_TYPES.items() if name in what]
                allowed = tuple(each for kind in kinds for each in kind)
                is_count = isinstance(value, bool) and "boolean" not in what
                if not isinstance(value, allowed) or is_count:
                    wrong.append(f"{place}: {value!r} is not {what}")
    return wrong


def distance_cell() -> Cell:
    walk = Lots(LotsDescent(step_size=3 / 255, steps=25, direction="sign"))
    protocol = FeatureDistance((1.2, 0.6), far_levels=(0.1,))
    nouns = {"attack": walk, "goal": Impersonation(), "budget": Unbounded(), "protocol": protocol}
    return toy_cell(random_pair_set(size=SIZE), LinearRecognizer(weights()), **nouns)


def weights() -> torch.Tensor:
    return torch.randn(3 * SIZE * SIZE, 12, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of a run of the command line."""
    results = tmp_path_factory.mktemp("results")
    words = [f"dataset.{each}" for each in SMALL]
    words += ["attack=fgsm", "recognizer.min_clean_accuracy=null", "device=cpu", f"paths.results={results}"]
    assert main(["run", *words]) == 0
    return results


@pytest.fixture(scope="module")
def records(measured: Path) -> list[Record]:
    """Records of every kind, and one of a random victim."""
    store = ResultStore(measured)
    random = toy_cell(random_pair_set(size=SIZE), LinearRecognizer(weights()), defense=NoiseDefense())
    cells = [random, distance_cell(), cloaking_cell(negatives)]
    (path,) = (measured / "runs").glob("*.json")
    return [json.loads(path.read_text(encoding="utf-8")), *(run_cell(each, store) for each in cells)]


def test_that_every_field_of_a_record_is_on_the_page_with_its_type(records: list[Record]) -> None:
    assert {record["kind"] for record in records} == set(SECTIONS)
    for record in records:
        assert record["status"] == "done", record["reason"]
        assert undocumented(record) == []
        assert mistyped(record) == []


def test_that_every_field_on_the_page_is_in_a_record(records: list[Record]) -> None:
    for kind in SECTIONS:
        places = [place for record in records if record["kind"] == kind for place, _ in nodes(record)]
        places += [place for place, _ in nodes(records[0]) if place.startswith("card.")]
        missing = [name for name, expression, _ in schema(kind) if not any(map(expression.fullmatch, places))]
        assert missing in ([], ["card.preprocessing"]), kind


def test_that_the_page_lists_every_column_of_the_scores(measured: Path, records: list[Record]) -> None:
    columns = set(pd.read_parquet(measured / "scores" / f"{records[0]['fingerprint']}.parquet").columns)
    known = {name: pattern(name) for name, _ in rows("Scores")}
    assert {
        each for each in columns if not any(map(re.Pattern.fullmatch, known.values(), [each] * len(known)))
    } == set()
    assert {name for name, expression in known.items() if not any(map(expression.fullmatch, columns))} == set()
