"""The headline: the strongest attack of each attacker, the overclaim gap, and who leads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_records import FakeStore, decided

from frbench.harness.metrics.significance import LEVEL, exact_mcnemar, holm
from frbench.harness.reporting.crosscheck import compare
from frbench.harness.reporting.headline import Headline, asr, harshest, headlines
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.rates import Rate
from frbench.harness.storage.records import label, select

PAIRS = 40


def found(store: FakeStore) -> list[Headline]:
    records, outcomes = select(store.records(), None), Outcomes(store.scores)
    return headlines(records, compare(records, outcomes), outcomes)


def won(store: FakeStore, count: int, defense: str, threat: str, attack: str = "pgd", **more: Any) -> dict[str, Any]:
    names = {"defense": defense, "threat": threat, "attack": attack, "goal": "dodging", "budget": "linf_2"}
    return decided(store, names | more.pop("names", {}), [k < count for k in range(PAIRS)], **more)


def test_that_each_level_has_the_attack_with_the_highest_asr() -> None:
    store = FakeStore()
    for attack, oblivious, adaptive in (("fgsm", 9, 20), ("pgd", 4, 30), ("nes", 2, 1)):
        won(store, oblivious, "jpeg", "oblivious", attack)
        won(store, adaptive, "jpeg", "adaptive", attack)
    won(store, 12, "jpeg", "query", "square")
    (headline,) = found(store)
    (row,) = headline.rows
    assert {level: (label(r, "attack"), asr(r)) for level, r in row.strongest.items()} == {
        "oblivious": ("fgsm", 9 / PAIRS),
        "query": ("square", 12 / PAIRS),
        "adaptive": ("pgd", 30 / PAIRS),
    }
    assert row.worst is row.strongest["adaptive"]
    assert row.gap is not None
    assert (row.gap.difference, row.gap.only_a, row.gap.only_b, row.gap.total) == (21 / PAIRS, 21, 0, PAIRS)


def test_that_without_a_defense_an_oblivious_attacker_is_adaptive() -> None:
    store = FakeStore()
    won(store, 30, "none", "oblivious")
    won(store, 30, "jpeg", "oblivious")
    (headline,) = found(store)
    undefended, jpeg = headline.rows
    assert undefended.strongest["adaptive"] is undefended.strongest["oblivious"] and undefended.gap is None
    assert "adaptive" not in jpeg.strongest


def test_that_attacks_that_stop_at_success_without_a_budget_are_left_out() -> None:
    store = FakeStore()
    won(store, 40, "jpeg", "adaptive", "deepfool", flags=["boundary_attack"])
    assert not found(store)
    noise = {"columns": {"noise_score": 0.1}}  # of the size of the perturbation, not of the budget
    won(
        store,
        3,
        "jpeg",
        "query",
        "square",
        flags=["boundary_attack"],
        hyperparameters={"budget": {"radius": 0.01}},
        **noise,
    )
    (row,) = found(store)[0].rows
    assert [label(r, "attack") for r in row.strongest.values()] == ["square"] and row.noise is None
    won(store, 3, "jpeg", "adaptive", **noise)
    assert found(store)[0].rows[0].noise == Rate(PAIRS, PAIRS)


def test_that_noise_counts_the_pairs_that_it_moves_across_the_threshold() -> None:
    store, names = FakeStore(), {"defense": "jpeg", "threat": "adaptive", "budget": "linf_2"}
    columns = {"noise_score": [0.2, 0.3, 0.4, 0.1], "correct": [True, True, True, False]}
    decided(store, names | {"goal": "dodging"}, [True] * 4, columns)
    decided(store, names | {"goal": "impersonation"}, [True] * 4, columns | {"same": False})
    (headline,) = found(store)
    assert [row.noise for row in headline.rows] == [Rate(2, 3), Rate(1, 3)]


def test_that_the_setting_with_the_most_gaps_comes_first() -> None:
    store = FakeStore()
    for defense in ("blur", "jpeg", "tv"):
        won(store, 9, defense, "oblivious", names={"dataset": "cfp_fp"})
        won(store, 9, defense, "query", names={"dataset": "cfp_fp"})
    for threat in ("oblivious", "adaptive"):
        won(store, 9, "jpeg", threat)
    assert [label(each.record, "dataset", without=("dataset.limit",)) for each in found(store)] == ["lfw", "cfp_fp"]


def test_that_the_harshest_postprocessing_is_the_one_with_the_lowest_asr() -> None:
    store = FakeStore()
    after = {"png": {"asr": 0.5}, "jpeg_75": {"asr": 0.25}, "redetected": {"asr": None, "reason": "no detector"}}
    record = won(store, 20, "jpeg", "adaptive")
    record["measurements"]["attack"]["postprocessing"] = after
    assert harshest(found(store)[0].rows[0]) == ("jpeg_75", {"asr": 0.25})
    record["measurements"]["attack"]["postprocessing"] = {"redetected": after["redetected"]}
    assert harshest(found(store)[0].rows[0]) is None


def test_that_the_cost_is_that_of_the_fastest_cell_for_each_device() -> None:
    store = FakeStore()
    for attack, device, cost_ms in (("a", "cpu", 4.0), ("b", "cpu", 2.0), ("c", "cpu", 3.0), ("d", "cuda", 0.5)):
        won(store, 9, "jpeg", "adaptive", attack)["card"] |= {"ms_per_image": cost_ms, "device": device, "threads": 2}
    won(store, 9, "jpeg", "adaptive", "e", names={"goal": "impersonation"})
    assert [row.cost for row in found(store)[0].rows] == [{"cpu, 2 threads": 2.0, "cuda, 2 threads": 0.5}] * 2


def outcomes_of(success: Mapping[str, Sequence[bool]]) -> FakeStore:
    store = FakeStore()
    for defense, own in success.items():
        decided(store, {"defense": defense, "threat": "adaptive"}, own)
    return store


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=24, max_size=24), min_size=1, max_size=4))
def test_that_a_leader_is_significantly_below_every_other_defense(drawn: list[list[int]]) -> None:
    """The first defense rarely fails, so that some examples have a leader."""
    own = {f"d{k}": [value > (2 if k == 0 else 0) for value in values] for k, values in enumerate(drawn)}
    store = outcomes_of(own)
    records, outcomes = select(store.records(), None), Outcomes(store.scores)
    (headline,) = headlines(records, compare(records, outcomes), outcomes)
    leaders = [row for row in headline.rows if row.leads]
    assert len(leaders) <= 1 and all(row.leads == {"adaptive"} for row in leaders)
    gaps = {
        (a["fingerprint"], b["fingerprint"]): outcomes.difference(a, b)
        for i, a in enumerate(records)
        for b in records[i + 1 :]
    }
    corrected = dict(zip(gaps, holm([exact_mcnemar(g.only_a, g.only_b) for g in gaps.values() if g]), strict=True))
    better = {
        record["fingerprint"]: [
            corrected[pair] <= LEVEL and (gap.difference < 0) == (pair[0] == record["fingerprint"])
            for pair, gap in gaps.items()
            if gap and record["fingerprint"] in pair
        ]
        for record in records
    }
    expected = {name for name, wins in better.items() if wins and all(wins)}
    assert {row.strongest["adaptive"]["fingerprint"] for row in leaders} == expected


def test_that_one_defense_alone_and_a_doubted_one_do_not_lead() -> None:
    assert not found(outcomes_of({"jpeg": [False] * 30}))[0].rows[0].leads
    store = outcomes_of({"jpeg": [False] * 30, "none": [True] * 30})
    (headline,) = found(store)
    assert [set(row.leads) for row in headline.rows] == [set(), {"adaptive"}]
    headline.rows[1].records[0]["flags"].append("zero_gradients")
    assert not any(row.leads for row in found(store)[0].rows)
