"""``embed`` of the Python interface: parts in use outside a cell, given as options or as objects."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from frbench.harness.config.option import Option, RunSettings
from frbench.harness.config.option_objects import composed_config, group_object
from frbench.harness.core.contracts import Embeddings, Recognizer
from frbench.harness.evaluation.embeddings import embeddings
from frbench.harness.recognizers.inference import resolve_device


def embed(recognizer: Option | str | Recognizer, images: Tensor | np.ndarray, run: RunSettings) -> Embeddings:
    """See ``frbench.harness.api.embed``."""
    named = isinstance(recognizer, Option | str)
    config = composed_config({"recognizer": recognizer} if named else {}, run)
    found: Any = group_object(config, "recognizer") if named else recognizer
    device = resolve_device(config["device"] if named or "device" in run else "cpu")
    return embeddings(found, images, config["batch_size"], device)
