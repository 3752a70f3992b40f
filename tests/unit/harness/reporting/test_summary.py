"""The summary of a report: three sentences whose numbers are the records'."""

from __future__ import annotations

from typing import Any

from support.fake_records import FakeStore, decided, sweep

from frbench.harness.metrics.confidence import wilson
from frbench.harness.reporting.crosscheck import compare
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.summary import summarize
from frbench.harness.storage.records import select

PAIRS = 40


def summary_of(store: FakeStore) -> tuple[str, ...]:
    records, outcomes = select(store.records(), None), Outcomes(store.scores)
    return summarize(records, compare(records, outcomes), outcomes)


def won(store: FakeStore, count: int, defense: str, threat: str, **names: str) -> dict[str, Any]:
    chosen = {"goal": "dodging", "budget": "linf_2", "attack": "pgd", **names}
    return decided(store, chosen | {"defense": defense, "threat": threat}, [k < count for k in range(PAIRS)])


def rate(count: int) -> str:
    low, high = (100 * bound for bound in wilson(count, PAIRS))
    return f"{100 * count / PAIRS:.1f} % [{low:.1f}, {high:.1f}] ({count} of {PAIRS} pairs)"


def test_that_the_sentences_have_the_numbers_of_the_records() -> None:
    store = FakeStore()
    for threat, none, hollow, firm in (("oblivious", 30, 2, 9), ("adaptive", 30, 31, 10)):
        won(store, none, "none", threat)
        won(store, hollow, "hollow", threat)
        won(store, firm, "firm", threat)
    summary = summary_of(store)
    undefended, adaptive, effective = summary
    assert f"is pgd (dodging), ASR {rate(30)}." in undefended
    assert "in 1 of 2 paired comparisons" in adaptive and "pgd on hollow (dodging, L∞ ≤ 2/255)" in adaptive
    assert f"oblivious {rate(2)}, adaptive {rate(31)}, a difference of +72.5 percentage points [" in adaptive
    assert "hollow gives a false sense of security; " in effective and "in 1 of 2 paired comparisons" in effective
    assert f"pgd on firm (dodging, L∞ ≤ 2/255): {rate(10)} with the defense, {rate(30)} without" in effective
    assert "a difference of −50.0 percentage points [" in effective
    assert not any("firm gives a false" in each for each in summary)


def test_that_an_effective_defense_gives_no_false_security() -> None:
    """The adaptive attack gains much, and its ASR is still far below that without the defense."""
    store = FakeStore()
    for threat, firm in (("oblivious", 0), ("adaptive", 12)):
        won(store, 40, "none", threat)
        won(store, firm, "firm", threat)
    summary = summary_of(store)
    assert "false sense of security" not in " ".join(summary) and "most clearly for pgd on firm" in summary[2]
    for threat, hollow in (("oblivious", 20), ("adaptive", 39)):
        won(store, hollow, "hollow", threat)
    assert "hollow gives a false sense of security" in summary_of(store)[2]


def test_that_without_a_gain_no_defense_gives_false_security() -> None:
    store = FakeStore()
    for threat in ("oblivious", "adaptive"):
        won(store, 30, "none", threat)
        won(store, 29, "plain", threat)
    summary = summary_of(store)
    assert "no ASR is significantly above that of the oblivious attack (1 paired comparison)." in summary[1]
    assert summary[2].startswith("**Defenses against adaptive attacks**: no defense reduces the ASR")


def test_that_a_store_without_adaptive_attacks_says_so_and_one_without_attacks_nothing() -> None:
    store = FakeStore()
    won(store, 30, "none", "oblivious")
    won(store, 3, "jpeg", "oblivious")
    summary = summary_of(store)
    assert len(summary) == 2 and "threat=adaptive" in summary[1]
    empty = FakeStore()
    empty.add({"attack": "none", "defense": "none", "goal": "dodging", "threat": "oblivious", "budget": "linf_2"})
    assert summary_of(empty) == ()


def test_that_the_setting_with_the_most_comparisons_is_summarized() -> None:
    store = sweep(("pgd",), ("linf_2", "linf_8"))
    won(store, 40, "none", "oblivious", recognizer="another")
    assert summary_of(store)[0].startswith("**Without a defense**, tiny on")
