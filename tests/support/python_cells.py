"""Cells of a few rendered faces for the Python interface."""

from __future__ import annotations

from typing import Any

import pytest

FACES: dict[str, Any] = {"people": 30, "photos_per_person": 2, "pairs": 60, "limit": 20}


def folders(factory: pytest.TempPathFactory, name: str) -> dict[str, Any]:
    """The settings of a run on the CPU, with a results folder of its own."""
    return {"results": factory.mktemp(name), "device": "cpu"}
