"""Deletes adversarial images that no unfinished cell of a sweep needs: ``images=until_judged``."""

from __future__ import annotations

from dataclasses import dataclass

from frbench.harness.storage.garbage import drop_images
from frbench.harness.storage.records import Record
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.sweeps.plan import PlannedCell
from frbench.harness.sweeps.sweep_folder import SweepFolder


@dataclass(frozen=True)
class UnneededImages:
    """The images of a sweep. The plan says which cells share them."""

    folder: SweepFolder
    store: ResultStore

    def drop(self, cell: PlannedCell, record: Record) -> None:
        """Delete the images of ``cell``, which has this record, if all cells that share them have records."""
        keys = (record["card"] or {}).get("adversarial_images") or []
        alike = [each for each in self.folder.plan.sharing[cell.images] if each.number != cell.number]
        if keys and all(each.key is not None and self.store.finished(each.key) for each in alike):
            drop_images(self.store, keys)
