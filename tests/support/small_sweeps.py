"""Small sweeps of rendered faces that are planned as ``frbench run`` plans them."""

from __future__ import annotations

from pathlib import Path

from frbench.harness.config.running import cell_configs
from frbench.harness.sweeps.planning import PlannedSweep, plan_sweep

SMALL = (
    "dataset.people=30",
    "dataset.photos_per_person=2",
    "dataset.pairs=60",
    "dataset.limit=8",
    "recognizer.min_clean_accuracy=null",
    "protocol.bootstrap=20",
    "protocol.num_samples=0",
    "~protocol.postprocessing",
    "attack=fgsm",
    "device=cpu",
)
FITTED = ("defense=pca", "identities=synthetic", "identities.people=30", "identities.photos_per_person=2")


def small_sweep(results: Path, *words: str) -> PlannedSweep:
    """The sweep of ``frbench run -m`` with these words on small data."""
    command = ("-m", *SMALL, *words, f"paths.results={results}")
    return plan_sweep(command, cell_configs(command))
