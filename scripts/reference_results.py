"""Reference results: collect records into the cells of a study, and render its page.

python scripts/reference_results.py collect STUDY --results FOLDER   # records replace the cells they measure again
python scripts/reference_results.py collect paper/NAME --results FOLDER   # our cells of a table of conf/paper
python scripts/reference_results.py render [STUDY]                  # write README.md of a study, or of all
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from _common import run_script

from frbench.harness.cli.paper_report import packaged_reasons, packaged_table
from frbench.harness.config.paper_files import paper_names
from frbench.harness.core.errors import ConfigError
from frbench.harness.reporting.crosscheck import compare
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.paper.comparison_table import verdicts
from frbench.harness.reporting.paper.paper_table import PaperTable
from frbench.harness.reporting.paper.readings import Reading, readings
from frbench.harness.reporting.paper.reference import cells_text, paper_page, readings_of
from frbench.harness.reporting.reference_cells import facts, measured_cells, merge, read_cells, write_cells
from frbench.harness.reporting.reference_manifest import Manifest, PaperRun, manifest_of, paper_run_of
from frbench.harness.reporting.reference_page import index, page
from frbench.harness.storage.records import Record, select
from frbench.harness.storage.result_store import ResultStore

ROOT = Path(__file__).resolve().parents[1] / "results" / "reference"
STUDIES = (
    "clean_accuracy",
    "lfw_baseline",
    "lfw_attacks",
    "lfw_minimal",
    "lfw_black_box",
    "audit_controls",
    "pin_ais_oblivious",
    "pin_ais_adaptive",
    "cloaking",
    "ensembles_synthetic",
    "ensembles_finetuned",
    "performance",
)
PAPERS = tuple(f"paper/{name}" for name in paper_names())


def read_study(folder: Path) -> tuple[Manifest, pd.DataFrame]:
    """The manifest and the cells of a study."""
    return manifest_of(_values(folder), f"{folder.name}/manifest.yaml"), _cells(folder)


def read_paper(folder: Path) -> tuple[PaperTable, list[Reading], PaperRun]:
    """The table of a paper that ``folder`` is of, our cells, and the manifest."""
    table, run = packaged_table(folder.name), paper_run_of(_values(folder), f"{folder.name}/manifest.yaml")
    return table, readings_of(table, (folder / "cells.csv").read_text(encoding="utf-8"), packaged_reasons()), run


def pages(root: Path = ROOT) -> dict[Path, str]:
    """The text of every generated page below ``root``."""
    studies = {name: read_study(root / name) for name in STUDIES}
    papers = {name: read_paper(root / name) for name in PAPERS}
    found = {root / name / "README.md": page(*study) for name, study in studies.items()}
    found |= {root / name / "README.md": paper_page(Path(name).name, *paper) for name, paper in papers.items()}
    listed = {name: (table.title, verdicts(readings)) for name, (table, readings, _) in papers.items()}
    return found | {root / "README.md": index(studies, listed)}


def collect(options: argparse.Namespace) -> None:
    """Take the finished records of a results folder into the cells of a study, or of a paper's table."""
    folder, store = options.root / _known(options.study), ResultStore(options.results)
    records = select(store.records(), None)
    if options.study in PAPERS:
        _collect_paper(folder, store, records)
        return
    measured = measured_cells(records, compare(records, Outcomes(store.scores)))
    cells = _cells(folder)
    (folder / "cells.csv").write_text(write_cells(merge(cells, measured)), encoding="utf-8")
    manifest = folder / "manifest.yaml"
    manifest.write_text(with_facts(manifest.read_text(encoding="utf-8"), facts(records)), encoding="utf-8")
    print(f"{len(measured)} measured cells in {folder / 'cells.csv'}; now edit the text and render")


def _collect_paper(folder: Path, store: ResultStore, records: Sequence[Record]) -> None:
    """Write the cells of a paper's table, and the facts of their records into its manifest."""
    found = readings(packaged_table(folder.name), records, store.scores, packaged_reasons())
    (folder / "cells.csv").write_text(cells_text(found), encoding="utf-8")
    used = {fingerprint for each in found if each.ours for fingerprint in each.ours.fingerprints}
    ours = [record for record in records if record["fingerprint"] in used]
    if ours:
        manifest = folder / "manifest.yaml"
        manifest.write_text(
            with_facts(manifest.read_text(encoding="utf-8"), _without_hours(facts(ours))), encoding="utf-8"
        )
    print(f"{verdicts(found)} in {folder / 'cells.csv'}; now edit the text and render")


def _without_hours(found: Mapping[str, Any]) -> dict[str, Any]:
    """Facts without the hours of the cells, which leave out fits: the text says the whole time."""
    return {name: value for name, value in found.items() if name != "hours"}


def with_facts(text: str, found: Mapping[str, Any]) -> str:
    """The text of a manifest with these entries at its end in place of older ones; the rest stays as it was written."""
    blocks = re.split(r"^(?=[a-z_]+:)", text, flags=re.MULTILINE)
    kept = [block for block in blocks if block.split(":")[0] not in found]
    return "".join(kept) + yaml.safe_dump(dict(found), sort_keys=False, allow_unicode=True, width=120)


def render(options: argparse.Namespace) -> None:
    """Write the generated pages."""
    chosen = options.root / _known(options.study) / "README.md" if options.study else None
    for path, text in pages(options.root).items():
        if chosen is None or path in (chosen, options.root / "README.md"):
            path.write_text(text, encoding="utf-8")
            print(path)


def _known(study: str | None) -> str:
    known = (*STUDIES, *PAPERS)
    if study not in known:
        raise ConfigError(
            f"{'no study given' if study is None else f'unknown study {study}'}; choose from {', '.join(known)}"
        )
    return study


def _values(folder: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((folder / "manifest.yaml").read_text(encoding="utf-8")))


def _cells(folder: Path) -> pd.DataFrame:
    return read_cells((folder / "cells.csv").read_text(encoding="utf-8"))


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = {"collect": collect, "render": render}
    parser.add_argument("verb", choices=verbs)
    parser.add_argument("study", nargs="?", help=", ".join((*STUDIES, *PAPERS)))
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder of frbench run")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of the studies")
    return run_script(parser, lambda options: verbs[options.verb](options), words, overrides=False)


if __name__ == "__main__":
    sys.exit(main())
