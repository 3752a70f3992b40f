"""A small table of a paper, and records for its cells."""

from __future__ import annotations

from typing import Any

CELL = {"row": "one", "column": "lfw", "published": 99.3, "source": "table 1 of the paper", "checked": "2026-11-30"}


def values(**changes: Any) -> dict[str, Any]:
    """The values of a small table."""
    return {
        "title": "Accuracy",
        "paper": {"cite": "Somebody, 2020", "url": "https://example.org", "table": "table 1"},
        "units": {"percent": {"name": "percent", "factor": 100, "digits": 2}, "db": {"name": "dB"}},
        "measure": {"path": "clean.accuracy", "count": "clean.pairs"},
        "rows": {
            "one": {"label": "One", "where": {"defense": "none"}},
            "two": {"label": "Two", "where": {"defense": "pin"}},
        },
        "columns": {"lfw": {"label": "LFW", "where": {"dataset": "lfw"}}, "psnr": {"label": "PSNR", "unit": "db"}},
        "cells": [CELL],
        "small": {"settings": {"dataset.limit": 8}},
        "experiment": "paper/some",
        **changes,
    }


def record(fingerprint: str, names: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """A finished record of the first cell, with an accuracy of 98 % on 600 pairs."""
    clean = {"accuracy": 0.98, "accuracy_low": 0.965, "accuracy_high": 0.99, "pairs": 600}
    return {
        "fingerprint": fingerprint,
        "status": "done",
        "reason": None,
        "names": {"dataset": "lfw", "defense": "none", **(names or {})},
        "settings": {},
        "seed": 0,
        "measurements": {"clean": clean, "attack": {}},
        **changes,
    }
