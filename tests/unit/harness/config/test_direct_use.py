"""Recognizers in use outside a cell, as options and as objects of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from frbench.harness.config.direct_use import embed
from frbench.harness.core.errors import FrbenchError


def test_that_a_recognizer_of_ones_own_embeds(linear: Callable[..., Any]) -> None:
    recognizer, images = linear(), torch.rand(5, 3, 8, 8)
    torch.testing.assert_close(embed(recognizer, images, {"batch_size": 2}), recognizer.embed(images))


def test_that_an_object_that_is_no_recognizer_is_refused() -> None:
    with pytest.raises(FrbenchError, match="does not keep the contract of a Recognizer"):
        embed(torch.nn.Flatten(), torch.rand(5, 3, 8, 8), {})  # type: ignore[arg-type]
