"""Cells composed from shared parts are those that Hydra composes one by one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.config_loader import ConfigLoader

from frbench.harness.config import compose
from frbench.harness.config.changed_settings import changed_settings
from frbench.harness.config.conf_files import known_options
from frbench.harness.config.hydra_state import initialized
from frbench.harness.config.identity_memo import IdentityMemo
from frbench.harness.config.shared_composition import Links, SharedComposition, Tree, links_of

NOT_SWEPT = ("experiment", "size", "paths", "training", "source", "maker", "network", "tracker", "launcher")
VALUES = [
    "seed=1",
    "seed=2",
    "batch_size=8",
    "threat=transfer recognizer@threat.surrogate=iresnet18",
    "seed=3 fit_seed=2",
]


@pytest.fixture(scope="module")
def loader() -> Iterator[ConfigLoader]:
    with initialized(None) as found:
        yield found


class Counted:
    """Hydra, with the number of configs that it composed."""

    def __init__(self, loader: ConfigLoader) -> None:
        self.loader, self.count = loader, 0

    def __call__(self, words: tuple[str, ...]) -> Tree:
        self.count += 1
        return compose._tree("run", words, self.loader)


def random_cells(seed: int, count: int) -> list[tuple[str, ...]]:
    """Cells with options and values from a few of each group, in a random order."""
    draw = random.Random(seed)
    options = {group: [*files] for group, files in known_options().items() if group not in NOT_SWEPT}
    few = {group: draw.sample(names, min(2, len(names))) for group, names in options.items() if draw.random() < 0.6}
    cells = []
    for _ in range(count):
        words = [f"{group}={draw.choice(names)}" for group, names in few.items() if draw.random() < 0.8]
        words += draw.choice(VALUES).split() if "threat" not in few else []
        draw.shuffle(words)
        cells.append(tuple(sorted(words, key=lambda word: "@" in word)))
    return cells


@pytest.mark.parametrize("seed", range(2))
def test_that_configs_choices_and_settings_are_those_of_hydra(seed: int, loader: ConfigLoader) -> None:
    hydra, links, memo = Counted(loader), links_of(known_options()), IdentityMemo()
    cells = SharedComposition(hydra, compose._place_of, links)
    defaults = SharedComposition(hydra, compose._place_of, links, cells.parts)
    for words in random_cells(seed, 5):
        expected = hydra(words)
        found = cells(words)
        assert found == expected, words
        alone = changed_settings(expected, hydra, IdentityMemo())
        assert changed_settings(found, defaults, memo) == alone, words


def test_that_hydra_composes_each_value_once(loader: ConfigLoader) -> None:
    hydra = Counted(loader)
    cells = [
        (f"attack={attack}", f"defense={defense}", f"seed={seed}", "dataset.limit=4")
        for attack in ("fgsm", "pgd", "lots")
        for defense in ("none", "blur", "pca", "pin")
        for seed in (0, 1)
    ]
    trees = SharedComposition(hydra, compose._place_of, links_of(known_options())).all(cells)
    assert hydra.count == 1 + 2 + 3 + 1 + 1, "the first, the other values of each place, and the last"
    assert trees[-1].config["attack"]["_target_"].endswith("Lots") and trees[-1].choices["defense"] == "pin"


def tree(words: tuple[str, ...]) -> Tree:
    """A toy: the place b copies a where it has no value of its own."""
    values: dict[str, Any] = dict(word.split("=") for word in words)
    return Tree({"a": values.get("a", "0"), "b": values.get("b") or values.get("a", "0")}, {})


def test_that_places_that_depend_on_each_other_are_composed_together() -> None:
    cells = [("a=1",), ("a=2",), ("a=3", "b=4")]
    shared = SharedComposition(tree, lambda word: word[0], Links({}, frozenset()))
    assert [shared(cell) for cell in cells] == [tree(cell) for cell in cells]
    assert shared.all(cells) == [tree(cell) for cell in cells]


def test_that_options_that_reach_beyond_their_place_are_found(tmp_path: Path) -> None:
    files = {
        "dataset": "defaults:\n  - override /identities@_global_.identities: synthetic\n",
        "attack": "# @package _global_\nseed: 3\n",
        "goal": "defaults:\n  - ${attack}\n",
        "threat": "defaults:\n  - /recognizer@surrogate: tiny\n",
        "budget": "radius: 1\n",
    }
    options = {}
    for group, text in files.items():
        (tmp_path / f"{group}.yaml").write_text(text, encoding="utf-8")
        options[group] = {"one": tmp_path / f"{group}.yaml"}
    links = links_of(options)
    assert links.place("dataset") == {"dataset", "identities"}
    assert links.place("attack") is links.place("goal") is links.place("experiment") is None
    assert links.place("threat") == {"threat"} and links.place("budget") == {"budget"}


def test_that_the_shipped_options_reach_where_they_say() -> None:
    links = links_of(known_options())
    assert links.place("protocol") == {"protocol", "goal", "dataset", "budget", "attack", "identities"}
    assert links.anywhere == {"experiment", "size"}
    assert links.place("attack") == {"attack"} and links.place("defense") == {"defense"}
