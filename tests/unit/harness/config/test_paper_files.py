from __future__ import annotations

from pathlib import Path

import pytest

from frbench.harness.config.paper_files import paper_names, paper_values, reason_values, split_paper
from frbench.harness.core.errors import ConfigError


def own(folder: Path, **files: str) -> str:
    """The word of a user's own folder with these tables."""
    (folder / "paper").mkdir()
    for name, text in files.items():
        (folder / "paper" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return f"--config-dir={folder}"


def test_that_the_tables_are_split_from_the_other_words() -> None:
    assert split_paper(["out=x", "paper=ensembles_accuracy"]) == (["ensembles_accuracy"], ["out=x"])
    assert split_paper(["figures=false"]) == ([], ["figures=false"])


def test_that_all_are_every_table_and_no_reasons() -> None:
    names, _ = split_paper(["paper=all"])
    assert names == paper_names()
    assert "ensembles_accuracy" in names
    assert "reasons" not in names


def test_that_an_unknown_table_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(
        ConfigError, match="unknown option paper=ensembles_acuracy; did you mean paper=ensembles_accuracy"
    ):
        split_paper(["paper=ensembles_acuracy"])


def test_that_a_user_adds_tables_and_reasons(tmp_path: Path) -> None:
    words = [own(tmp_path, mine="title: Mine", reasons="weather: {short: weather, text: It rained.}")]
    assert split_paper([*words, "paper=mine"])[0] == ["mine"]
    assert paper_values("mine", words) == {"title": "Mine"}
    assert {"weather", "small_size"} <= set(reason_values(words))


def test_that_a_file_without_a_mapping_is_refused(tmp_path: Path) -> None:
    words = [own(tmp_path, mine="[1, 2]")]
    with pytest.raises(ConfigError, match="expected a mapping"):
        paper_values("mine", words)
