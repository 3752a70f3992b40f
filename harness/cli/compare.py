"""``frbench compare A B``: two runs compared pair by pair, on a page in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from frbench.harness.cli.diff import compared, explained, two_records
from frbench.harness.cli.plain_words import Accepted, Setting, parse_words
from frbench.harness.core.errors import ConfigError
from frbench.harness.reporting.html.comparison_page import comparison_page
from frbench.harness.storage.output_folders import check_writable
from frbench.harness.storage.record_lookup import FoundRecord

ACCEPTED = Accepted({"out": Setting(r".*[^/]\.html?", "the name of an HTML file")})


def compare(words: Sequence[str]) -> int:
    """Exit code: 0 if the pairs are compared, 2 if the page explains why they are not."""
    given = parse_words(words, ACCEPTED)
    records = two_records(given, "compare")
    names = "_".join(each.record["fingerprint"][:8] for each in records)
    out = Path(given.settings.get("out", f"compare_{names}.html")).expanduser()
    check_writable(out.parent, "out")
    if out.is_dir():
        raise ConfigError(f"out={out} is a folder; give the name of an HTML file")
    found = compared(records)
    out.parent.mkdir(parents=True, exist_ok=True)
    first, second = map(_samples, records)
    comparison_page(found, (first, second)).write(out)
    print(f"{out} ({out.stat().st_size / 1e6:.1f} MB)")
    return explained(found)


def _samples(found: FoundRecord) -> Mapping[str, np.ndarray] | None:
    return found.store.sample_images(found.record["fingerprint"]) if found.store else None
