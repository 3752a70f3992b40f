"""A results folder from somebody who means harm: markup and scripts in every text, paths outside, files without end."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.fake_records import sweep, with_pictures

from frbench.harness.storage import sealed_json
from frbench.harness.storage.result_store import SCHEMA, ResultStore

# Each would set window.ran, load something, leave the folder or break a parser, where it is more than a text.
TEXTS = (
    '<img src=x onerror="window.ran=1">',
    "<script>window.ran=2</script>",
    '"><svg onload=window.ran=3>',
    "javascript:window.ran=4",
    "<a href='javascript:window.ran=5'>link</a>",
    "</script></style></title><script>window.ran=6</script>",
    "![picture](https://example.invalid/a.png)[link](javascript:window.ran=7)",
    "<iframe src='https://example.invalid'></iframe>",
    "{{ 7 * 7 }}{% include '/etc/passwd' %}",
    "../../../../etc/passwd",
    "\\input{/etc/passwd}$\\frac{$ _^~",
    "=HYPERLINK(0)|%{x}<extra></extra>",
    "\x1b[31mred\x00\r\n\u2028end",
    "y" * 300_000,
)
_KEPT = ("schema", "kind", "status", "fingerprint")  # what makes a record a record
_INFINITE = ("inf", "-inf")


def hostile_store(root: Path) -> ResultStore:
    """A store of fabricated cells whose every text is one of ``TEXTS``, beside files that are no records."""
    store, fake = ResultStore(root), with_pictures(sweep(attacks=("fgsm",), budgets=("linf_2", "linf_8")))
    (root / "runs").mkdir(parents=True)
    (root / "runs" / "<img src=x onerror='window.ran=8'>.json").write_text(
        '{"schema": "<script>window.ran=9</script>"}'
    )
    (root / "runs" / "newer.json").write_text(
        json.dumps({"schema": SCHEMA + 1, "names": dict.fromkeys("abc", TEXTS[0])})
    )
    (root / "runs" / "nested.json").write_text("[" * 200_000)
    with (root / "runs" / "huge.json").open("wb") as file:
        file.truncate(2**30)
    os.mkfifo(root / "runs" / "pipe.json")
    for number, record in enumerate(fake.records()):
        evil = _evil(record, number)
        store.write_record(evil)
        frame = fake.frames.get(record["fingerprint"])
        if frame is not None:
            store.write_scores(record["fingerprint"], frame.assign(probe_photo=TEXTS[number % len(TEXTS)]))
            store.write_sample_images(record["fingerprint"], fake.images[record["fingerprint"]])
    outside = {**evil, "fingerprint": "../../../../etc/passwd"}
    (root / "runs" / f"{'0' * 64}.json").write_bytes(sealed_json.written(outside))
    return store


def _evil(record: dict[str, Any], number: int) -> dict[str, Any]:
    """``record`` with its texts replaced: a third of the records keep the threat model and the goal, so that they are
    compared, a third has no result."""
    texts = itertools.cycle(TEXTS[number % len(TEXTS) :] + TEXTS[: number % len(TEXTS)])
    found = {key: value if key in _KEPT else _replaced(value, texts) for key, value in _strict(record).items()}
    if number % 3:
        found["names"] |= {
            noun: record["names"][noun] for noun in ("threat", "goal", "budget", "dataset", "recognizer")
        }
    else:
        found |= {"status": "crashed", "measurements": None, "reason": f"Traceback\n{next(texts)}"}
    settings = {f"attack.{next(texts)}": next(texts), next(texts): [next(texts)], "seed": next(texts)}
    described = {noun: {next(texts): next(texts)} for noun in ("attack", "defense", "threat", "protocol", "audit")}
    card = {"git": next(texts), "device": next(texts), "versions": {next(texts): next(texts)}, "started": next(texts)}
    return found | {
        "settings": settings,
        "flags": [next(texts), "boundary_attack"][: 1 + number % 2],
        "hyperparameters": found["hyperparameters"] | described,
        "card": found["card"] | card,
    }


def _strict(value: Any) -> Any:
    return json.loads(json.dumps(value).replace("NaN", "null").replace("Infinity", '"inf"'))


def _replaced(value: Any, texts: Iterator[str]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(each, texts) for key, each in value.items()}
    if isinstance(value, list):
        return [_replaced(each, texts) for each in value]
    return next(texts) if isinstance(value, str) and value not in _INFINITE else value
