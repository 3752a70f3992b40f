"""``frbench diff A B``: two runs compared pair by pair, in the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from frbench.harness.cli.plain_words import Accepted, Setting, Words, parse_words
from frbench.harness.cli.terminal_tables import printable, terminal_text
from frbench.harness.core.errors import ConfigError, shortened
from frbench.harness.reporting.tables.rendering import Table
from frbench.harness.reporting.views import comparison_tables as tables
from frbench.harness.reporting.views.comparison import NAMES, Comparison, Side, compare
from frbench.harness.reporting.views.comparison_data import comparison_data
from frbench.harness.storage.record_lookup import FoundRecord, find_record
from frbench.harness.storage.result_store import ResultStore

ACCEPTED = Accepted(
    {"top": Setting("0*[1-9][0-9]*|all", "a number above 0, or all")},
    plain_flags=("--json",),
)
_TOP = "20"
_REASON = 400  # characters of a reason on stderr


def diff(words: Sequence[str]) -> int:
    """Exit code: 0 if the pairs are compared, 2 if they cannot be."""
    given = parse_words(words, ACCEPTED)
    found = compared(two_records(given, "diff"))
    if "--json" in given.flags:
        print(json.dumps(comparison_data(found), ensure_ascii=False, allow_nan=False))
    else:
        top = given.settings.get("top", _TOP)
        print(terminal_text(_parts(found, None if top == "all" else int(top))))
    return explained(found)


def two_records(given: Words, verb: str) -> tuple[FoundRecord, FoundRecord]:
    """The records that ``frbench VERB A B`` names. Raises FrbenchError: not two, or one is not found."""
    if len(given.names) != 2:
        raise ConfigError(
            f"expected two runs, got {len(given.names)}: frbench {verb} A B, each the beginning of a fingerprint (see "
            "frbench report format=json) or a record file"
        )
    store = ResultStore(given.results)
    first, second = (find_record(store, name) for name in given.names)
    return first, second


def compared(records: tuple[FoundRecord, FoundRecord]) -> Comparison:
    """The comparison of two records, with the scores in their results folders."""
    first, second = (
        Side(each.record, each.store.scores(each.record["fingerprint"]) if each.store else None) for each in records
    )
    return compare(first, second)


def explained(found: Comparison) -> int:
    """The exit code; where pairs are not compared, one line on stderr says why."""
    if not found.obstacle:
        return 0
    sys.stdout.flush()
    reason = printable(shortened(found.obstacle, _REASON))
    print(f"frbench: not compared pair by pair: {reason}", file=sys.stderr)
    return 2


def _parts(found: Comparison, top: int | None) -> list[str | Table]:
    """What is printed: the runs, what differs, rates, and for paired runs the tests and the flipped pairs."""
    runs = "\n".join(
        f"{name}  {record['fingerprint'][:8]}  {tables.run_words(record)}"
        for name, record in zip(NAMES, (found.a, found.b), strict=True)
    )
    parts: list[str | Table] = [runs, "", tables.differences_table(found), "", tables.rates_table(found), ""]
    if found.obstacle:
        return parts[:-1]
    counts = tables.counts_table(found)
    parts += [tables.overlap_sentence(found), "", counts, "", counts.caption]
    parts += ["", sizes] if (sizes := tables.sizes_sentence(found)) else []
    flipped = tables.flipped_table(found, top, tables.SHORT)
    parts += ["", tables.flipped_sentence(found, len(flipped.rows))]
    return [*parts, "", flipped] if flipped.rows else parts
