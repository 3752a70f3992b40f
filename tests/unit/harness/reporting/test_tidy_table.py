"""The table of all measurements."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from support.fake_records import (
    sweep,
)

from frbench.harness.reporting.report import report

pytestmark = pytest.mark.usefixtures("quick")


def test_the_tidy_table_has_every_measurement_and_no_fact_of_the_run(tmp_path: Path) -> None:
    store = sweep(("pgd",), ("linf_8",))
    report(store, tmp_path)
    frame = pd.read_csv(tmp_path / "tables" / "cells.csv", keep_default_na=False)
    assert len(frame) == len(store.cells)
    assert {"clean_tar_at_far_0.1_tar", "asr_low", "linf_median", "at_far_0.1_asr", "flags"} <= set(frame.columns)
    assert not {"seconds", "forwards", "backwards", "attack_generated", "card_seconds"} & set(frame.columns)
    assert set(frame.loc[frame["attack"] == "pgd", "linf_mean"]) == {"inf"}
