"""The head of a report: three sentences whose numbers are the records', and two figures."""

from __future__ import annotations

from typing import Any

from support.fake_records import FakeStore, decided, sweep

from frbench.harness.metrics.confidence import wilson
from frbench.harness.reporting.crosscheck import compare
from frbench.harness.reporting.figures.collect_summary import story_figures
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.summary import Story, story
from frbench.harness.storage.records import select

PAIRS = 40


def told_of(store: FakeStore) -> Story | None:
    records, outcomes = select(store.records(), None), Outcomes(store.scores)
    return story(records, compare(records, outcomes), outcomes)


def won(store: FakeStore, count: int, defense: str, threat: str, **names: str) -> dict[str, Any]:
    chosen = {"goal": "dodging", "budget": "linf_2", "attack": "pgd", **names}
    return decided(store, chosen | {"defense": defense, "threat": threat}, [k < count for k in range(PAIRS)])


def rate(count: int) -> str:
    low, high = (100 * bound for bound in wilson(count, PAIRS))
    return f"{100 * count / PAIRS:.1f} % [{low:.1f}, {high:.1f}] ({count} of {PAIRS} pairs)"


def test_that_the_sentences_hold_the_numbers_of_the_records() -> None:
    store = FakeStore()
    for threat, none, hollow, firm in (("oblivious", 30, 2, 9), ("adaptive", 30, 31, 10)):
        won(store, none, "none", threat)
        won(store, hollow, "hollow", threat)
        won(store, firm, "firm", threat)
    told = told_of(store)
    assert told is not None and told.lead is not None
    undefended, knowing, holding = told.sentences
    assert f"pgd (dodging), in {rate(30)}." in undefended
    assert "1 of 2 attacks gain significantly" in knowing and "pgd on hollow (dodging, linf_2)" in knowing
    assert f"{rate(2)} ignoring it, {rate(31)} knowing it, +72.5 points [" in knowing
    assert "hollow only seems to hold; " in holding and "in 1 of 2 paired comparisons" in holding
    assert f"pgd on firm (dodging, linf_2): {rate(10)} against {rate(30)} undefended, −50.0 points [" in holding
    assert not any("firm only seems" in each for each in told.sentences)
    names = [name for name, _ in story_figures(told)]
    assert names == ["story-1-oblivious-adaptive", "story-2-seems-to-hold"]


def test_that_a_defense_that_helps_is_not_said_to_seem() -> None:
    """Knowing it gains much, and still comes to much less than without the defense."""
    store = FakeStore()
    for threat, firm in (("oblivious", 0), ("adaptive", 12)):
        won(store, 40, "none", threat)
        won(store, firm, "firm", threat)
    told = told_of(store)
    assert told is not None and told.lead is not None and not told.hollow
    assert "seems to hold" not in " ".join(told.sentences) and "most clearly pgd on firm" in told.sentences[2]
    assert [name for name, _ in story_figures(told)] == ["story-1-oblivious-adaptive"]
    for threat, hollow in (("oblivious", 20), ("adaptive", 39)):
        won(store, hollow, "hollow", threat)
    told = told_of(store)
    assert told is not None and told.hollow and "hollow only seems to hold" in told.sentences[2]


def test_that_without_a_gain_no_defense_is_said_to_seem() -> None:
    store = FakeStore()
    for threat in ("oblivious", "adaptive"):
        won(store, 30, "none", threat)
        won(store, 29, "plain", threat)
    told = told_of(store)
    assert told is not None and told.lead is None
    assert "knowing the defense helps none of 1 attacks significantly" in told.sentences[1]
    assert told.sentences[2].startswith("**What holds**: against an attacker who knows it no defense lowers success")
    assert [name for name, _ in story_figures(told)] == ["story-1-oblivious-adaptive"]


def test_that_a_store_without_adaptive_attacks_says_so_and_one_without_attacks_nothing() -> None:
    store = FakeStore()
    won(store, 30, "none", "oblivious")
    won(store, 3, "jpeg", "oblivious")
    told = told_of(store)
    assert told is not None and len(told.sentences) == 2 and "threat=adaptive" in told.sentences[1]
    assert not list(story_figures(told))
    empty = FakeStore()
    empty.add({"attack": "none", "defense": "none", "goal": "dodging", "threat": "oblivious", "budget": "linf_2"})
    assert told_of(empty) is None and not list(story_figures(None))


def test_that_the_setting_with_the_most_comparisons_is_told() -> None:
    store = sweep(("pgd",), ("linf_2", "linf_8"))
    won(store, 40, "none", "oblivious", recognizer="another")
    told = told_of(store)
    assert told is not None
    assert {record["names"]["recognizer"] for record in told.cells} == {"tiny"}
