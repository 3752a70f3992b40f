"""The headline table: each defense against attackers who know more and more, its survival and its cost. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from frbench.harness.metrics.significance import LEVEL
from frbench.harness.reporting.budget_axis import budget_words
from frbench.harness.reporting.crosscheck import Findings
from frbench.harness.reporting.file_names import FileName, file_names
from frbench.harness.reporting.headline import LEVELS, Headline, Row, clean, harshest
from frbench.harness.reporting.tables.layout import (
    SEVERAL,
    clean_accuracy,
    flag_names,
    percent,
    phrase,
    signed,
    success_rate,
    unfinished,
)
from frbench.harness.reporting.tables.mixed_versions import with_mixed_versions
from frbench.harness.reporting.tables.rendering import CLEAN, DOUBTED, MISSING, Cell, Table, joined
from frbench.harness.reporting.words import short_labels, words
from frbench.harness.storage.records import label, measured, order, rest

_CAPTION = (
    "ASR in % [95 % Wilson interval] (successes/attacked pairs) of the strongest attack of each attacker. noise: "
    "random noise of the size of the budget. transfer: knows a surrogate. oblivious: knows the recognizer. query: sees "
    "answers of the defended model. adaptive: knows the recognizer and the defense. Overclaim gap: adaptive minus "
    "oblivious ASR in percentage points [95 % Newcombe interval] (pairs attacked in both). Survival: ASR of the "
    "strongest attack of the row after the post-processing that reduces it most. Bold: significantly lower than for "
    "every other defense (exact McNemar test of each two defenses, Holm's correction within goal and attacker, "
    f"p ≤ {LEVEL}). {MISSING}: not run. {CLEAN}: audited without a doubt. {DOUBTED}: a flag must be explained before "
    "the value is believed."
)
_COST = "ms per image: time of the defended recognizer for one image{on} in its fastest cell, a fact of the run."
_KNOWS_ALL = "without a defense, the oblivious attacker knows everything"


def headline_tables(headlines: Sequence[Headline], findings: Findings, timing: bool = True) -> list[Table]:
    """A table per dataset, recognizer, protocol and budget, in the order of ``headlines``.

    Args:
        headlines: from ``headline.headlines``.
        findings: flags of the records.
        timing: whether the tables show the cost, which differs between two runs of the same cells.
    """
    slugs = file_names([file_name(each, "headline") for each in headlines])
    return [_table(headline, slug, findings, timing) for headline, slug in zip(headlines, slugs, strict=True)]


def file_name(headline: Headline, kind: str) -> FileName:
    """What the file names of tables and figures of a headline are made of."""
    first = headline.record
    names = tuple(label(first, noun) for noun in ("dataset", "recognizer", "budget"))
    return FileName(kind, names, (label(first, "protocol"), rest(first)))


def setting_of(headline: Headline) -> str:
    """Recognizer, dataset, budget and other settings of a headline, for a title."""
    first = headline.record
    parts = (budget_words(label(first, "budget")), words(rest(first)))
    return ", ".join(filter(None, (f"{phrase(first, 'recognizer')} on {phrase(first, 'dataset')}", *parts)))


def _table(headline: Headline, slug: str, findings: Findings, timing: bool) -> Table:
    attacks = _attack_names(headline)
    columns: dict[str, Callable[[Row], Cell]] = {
        "clean accuracy %": _accuracy,
        "noise %": _noise,
        **{f"{level} %": _success(level, attacks, findings) for level in LEVELS},
        "overclaim gap": _gap,
        "survival %": _survival,
        **({"ms per image": _cost} if timing else {}),
    }
    rows = [(Cell(row.goal), _defense(row), *(cell(row) for cell in columns.values())) for row in headline.rows]
    first = headline.record
    parts = (_CAPTION, _devices(headline) if timing else "", f"Protocol: {label(first, 'protocol')}.")
    caption = " ".join(filter(None, (*parts, f"Seed: {first['seed']}.")))
    title = f"Success of attacks by what the attacker knows: {setting_of(headline)}"
    return Table(
        slug,
        title,
        with_mixed_versions(caption, headline.records),
        ("goal", "defense", *columns),
        tuple(rows),
        2,
    )


def _attack_names(headline: Headline) -> dict[str, str]:
    """Names of attacks by their labels, short where all attacks share settings."""
    attacks = list(dict.fromkeys(label(r, "attack") for row in headline.rows for r in row.strongest.values()))
    return dict(zip(attacks, short_labels(attacks)[0], strict=True))


def _defense(row: Row) -> Cell:
    results = Counter(order(r)[:-1] for r in row.records if measured(r, "attack"))
    return Cell(row.defense, notes=(SEVERAL,) if max(results.values(), default=0) > 1 else ())


def _accuracy(row: Row) -> Cell:
    return clean_accuracy(clean(row)) or Cell(MISSING)


def _noise(row: Row) -> Cell:
    return Cell(MISSING) if row.noise is None else Cell(percent(row.noise.share), row.noise.detail)


def _success(level: str, attacks: dict[str, str], findings: Findings) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        record = row.strongest.get(level)
        if record is None:
            others = [r for r in row.records if r["names"]["threat"] == level and r["status"] != "done"]
            return unfinished(others[0]) if others else Cell(MISSING)
        notes = flag_names(findings.all_flags(record))
        if record["names"]["threat"] != level:
            notes = (*notes, _KNOWS_ALL)
        rate = success_rate(measured(record, "attack"))
        surrogate = label(record, "surrogate")
        named = attacks[label(record, "attack")] + (f" from {words(surrogate)}" if surrogate else "")
        return replace(
            rate,
            detail=f"{rate.detail} {named}",
            notes=notes,
            badge=findings.badge(record),
            bold=level in row.leads,
        )

    return cell


def _gap(row: Row) -> Cell:
    gap = row.gap
    return (
        Cell(MISSING)
        if gap is None
        else Cell(signed(gap.difference), f"[{signed(gap.low)}, {signed(gap.high)}] ({gap.total})")
    )


def _survival(row: Row) -> Cell:
    found = harshest(row)
    if found is None:
        return Cell(MISSING)
    rate = success_rate(found[1])
    return replace(rate, detail=f"{rate.detail} {found[0].replace('_', ' ')}")


def _cost(row: Row) -> Cell:
    """A value per device; of several devices with a note that names them."""
    cells = [Cell(f"{value:.3g}") for value in row.cost.values()]
    return joined(cells, f"on {' / '.join(row.cost)}") if cells else Cell(MISSING)


def _devices(headline: Headline) -> str:
    found = list(dict.fromkeys(device for row in headline.rows for device in row.cost))
    return _COST.format(on=f" on {found[0]}" if len(found) == 1 else "") if found else ""
