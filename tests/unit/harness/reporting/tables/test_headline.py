"""The headline table in Markdown, LaTeX and CSV."""

from __future__ import annotations

from typing import Any

from support.fake_records import FakeStore, decided, sweep

from frbench.harness.metrics.confidence import wilson
from frbench.harness.reporting.crosscheck import compare
from frbench.harness.reporting.headline import headlines
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.tables.headline import headline_tables
from frbench.harness.reporting.tables.rendering import CLEAN, DOUBTED, Table, latex, markdown, table_csv
from frbench.harness.storage.records import select

AUDITED = {"audit": {"level": "basic", "flags": [], "figures": {}}}


def made(store: FakeStore, timing: bool = True) -> list[Table]:
    records, outcomes = select(store.records(), None), Outcomes(store.scores)
    findings = compare(records, outcomes)
    return headline_tables(headlines(records, findings, outcomes), findings, timing)


def won(store: FakeStore, count: int, defense: str, threat: str, **more: Any) -> dict[str, Any]:
    names = {"defense": defense, "threat": threat, "budget": "linf_2"} | more.pop("names", {})
    return decided(store, names, [k < count for k in range(40)], **more)


def compared() -> FakeStore:
    store = FakeStore()
    for defense, oblivious, adaptive in (("none", 30, 30), ("hollow", 2, 29), ("firm", 1, 3)):
        won(store, oblivious, defense, "oblivious", attack=AUDITED)
        won(store, adaptive, defense, "adaptive", attack=AUDITED)
    return store


def rate(count: int) -> str:
    low, high = (100 * bound for bound in wilson(count, 40))
    return f"{100 * count / 40:.1f} [{low:.1f}, {high:.1f}] ({count}/40)"


def column(table: Table, name: str) -> dict[str, str]:
    return {row[1].value: row[table.header.index(name)].text for row in table.rows}


def test_that_rows_are_defenses_and_columns_what_the_attacker_knows() -> None:
    (table,) = made(compared())
    assert table.slug == "headline-lfw-tiny-linf_2"
    assert table.title.endswith("tiny on LFW, 240 pairs, L∞ ≤ 2/255")
    levels = ("noise %", "transfer %", "oblivious %", "query %", "adaptive %")
    assert table.header == (
        "goal",
        "defense",
        "clean accuracy %",
        *levels,
        "overclaim gap",
        "survival %",
        "ms per image",
    )
    assert column(table, "adaptive %") == {
        "none": f"{rate(30)} pgd {CLEAN}",
        "firm": f"{rate(3)} pgd {CLEAN}",
        "hollow": f"{rate(29)} pgd {CLEAN}",
    }
    gaps = column(table, "overclaim gap")
    assert gaps["hollow"].startswith("+67.5 [+4") and gaps["hollow"].endswith("(40)")
    assert set(column(table, "query %").values()) == {"–"}


def test_that_the_leader_alone_is_bold_in_every_format() -> None:
    (table,) = made(compared())
    assert [[cell.value for cell in row if cell.bold] for row in table.rows] == [[], ["7.5"], []]
    assert "**7.5** [" in markdown(table) and markdown(table).count("**") == 2
    assert r"\textbf{7.5}" in latex(table) and latex(table).count("textbf") == 1
    assert [line.rsplit(",", 1)[1] for line in table_csv(table).splitlines()] == ["bold", "", "adaptive %", ""]


def test_that_a_table_without_a_leader_has_no_column_for_it() -> None:
    store = FakeStore()
    won(store, 20, "none", "adaptive")
    won(store, 19, "jpeg", "adaptive")
    assert table_csv(made(store)[0]).splitlines()[0].endswith(",notes")


def test_that_transfer_names_its_surrogate_and_a_flag_its_meaning() -> None:
    store = FakeStore()
    surrogate = {"surrogate": "onnx"}
    won(store, 9, "jpeg", "transfer", names=surrogate, settings={"surrogate.path": "/home/me/r18.onnx"})
    won(store, 9, "jpeg", "adaptive", flags=["zero_gradients"])
    (table,) = made(store)
    assert column(table, "transfer %")["jpeg"] == f"{rate(9)} pgd from onnx (r18)"
    cell = table.rows[0][table.header.index("adaptive %")]
    assert (cell.badge, cell.notes) == (DOUBTED, ("zero gradients",))


def test_that_a_refused_attacker_shows_the_reason_and_an_undefended_row_that_the_attacker_knows_all() -> None:
    store = FakeStore()
    won(store, 9, "none", "oblivious")
    won(store, 9, "jpeg", "oblivious")
    names = {"defense": "jpeg", "threat": "adaptive", "budget": "linf_2", "attack": "pgd", "goal": "dodging"}
    store.add(names, status="refused", reason="no gradient")
    (table,) = made(store)
    undefended, refused = (row[table.header.index("adaptive %")] for row in table.rows)
    assert undefended.notes == ("without a defense, the oblivious attacker knows everything",)
    assert (refused.value, refused.notes) == ("refused", ("refused: no gradient",))


def test_that_each_budget_has_a_table_of_its_own() -> None:
    assert [table.slug for table in made(sweep(("fgsm", "pgd")))] == [
        "headline-lfw-tiny-linf_2",
        "headline-lfw-tiny-linf_8",
    ]


def test_that_the_cost_is_left_out_on_request_and_names_its_device() -> None:
    store = FakeStore()
    won(store, 9, "jpeg", "adaptive")["card"] |= {"ms_per_image": 1.23456, "device": "cpu (x86)", "threads": 1}
    (table,), (without,) = made(store), made(store, timing=False)
    assert column(table, "ms per image") == {"jpeg": "1.23"}
    assert "for one image on cpu (x86), 1 thread in its fastest cell, a fact of the run" in table.caption
    assert without.header == table.header[:-1] and "ms per image" not in without.caption


def test_that_two_results_with_the_same_labels_are_noted() -> None:
    store = FakeStore()
    won(store, 9, "jpeg", "adaptive", salt="old")
    won(store, 12, "jpeg", "adaptive", salt="new")
    (table,) = made(store)
    assert "several results have these labels" in table.rows[0][1].notes[0]
    assert column(table, "adaptive %")["jpeg"].startswith(rate(12))
