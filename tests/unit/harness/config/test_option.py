"""An option of Python: checked by name at once, built when it is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from frbench.harness.config.option import Option
from frbench.harness.core.errors import ConfigError


def test_that_options_are_equal_by_value_and_readable() -> None:
    assert Option("attack", "pgd", {"steps": 40}) == Option("attack", "pgd", {"steps": 40})
    assert repr(Option("attack", "pgd", {"steps": 40, "loss": "x"})) == "attack('pgd', steps=40, loss='x')"


@pytest.mark.parametrize(
    ("group", "name", "message"),
    [
        ("atack", "pgd", "unknown option 'atack'; did you mean 'attack'"),
        ("attack", "pdg", "unknown option attack=pdg; did you mean attack=pgd"),
        ("budget", "8/255", "did you mean budget=linf_8 or budget.radius=8/255"),
    ],
)
def test_that_an_unknown_name_is_refused_with_the_nearest(group: str, name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Option(group, name)
    assert message in str(caught.value)


def test_that_options_of_ones_own_come_from_their_folder(tmp_path: Path) -> None:
    (tmp_path / "attack").mkdir()
    (tmp_path / "attack" / "mine.yaml").write_text("_target_: my.Attack\n")
    assert Option("attack", "mine", {}, tmp_path).name == "mine"
    with pytest.raises(ConfigError, match="unknown option attack=mine"):
        Option("attack", "mine")
    with pytest.raises(ConfigError, match="is not a folder"):
        Option("attack", "mine", {}, tmp_path / "nowhere")
