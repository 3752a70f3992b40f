"""The grids of an experiment: which overrides they stand for, and what is wrong with others."""

from __future__ import annotations

from typing import Any

import pytest

from frbench.harness.config.grids import grid_words
from frbench.harness.core.errors import ConfigError


def test_that_values_of_a_zip_vary_together() -> None:
    grid = {"attack": "fgsm,pgd", "zip": {"defense": ["blur", "jpeg"], "seed": [0, 1]}}
    assert list(grid_words([grid], ())) == [
        ["defense=blur", "seed=0", "attack=fgsm,pgd"],
        ["defense=jpeg", "seed=1", "attack=fgsm,pgd"],
    ]


def test_that_several_zips_of_a_grid_form_a_product() -> None:
    zips = [{"goal": ["dodging", "impersonation"]}, {"seed": [0, 1], "fit_seed": [2, 3]}]
    assert list(grid_words([{"zip": zips}], ())) == [
        [f"goal={goal}", f"seed={seed}", f"fit_seed={seed + 2}"]
        for goal in ("dodging", "impersonation")
        for seed in (0, 1)
    ]


def test_that_a_key_of_the_command_line_is_left_out_of_every_grid() -> None:
    grids = [{"attack": "fgsm,pgd", "seed": 3}, {"zip": {"attack": ["lots", "cw"], "+attack.extra": [1, 2]}}]
    assert list(grid_words(grids, {"attack"})) == [["seed=3"], ["+attack.extra=1"], ["+attack.extra=2"]]


def test_that_a_value_of_a_zip_is_text_and_not_a_sweep() -> None:
    (words,) = grid_words([{"zip": {"recognizer.path": ["a,b c.onnx"], "defense.sigma": [None]}}], ())
    assert words == ['recognizer.path="a,b c.onnx"', "defense.sigma=null"]


@pytest.mark.parametrize(
    ("grids", "message"),
    [
        ([], "is not a list of mappings"),
        ({"attack": "fgsm"}, "is not a list of mappings"),
        ([["attack"]], r"grids\[0\]=\['attack'\] is not a mapping"),
        ([{"attack": "fgsm"}, {"attack": ["fgsm", "pgd"]}], r"grids\[1\].attack=.* is not a text of values"),
        ([{"zip": {"defense": ["blur"], "seed": [0, 1]}}], "defense has 1, seed has 2"),
        ([{"zip": {"defense": "blur,jpeg"}}], "is not a mapping from key to a list of values"),
        ([{"zip": {"defense": []}}], "defense has 0"),
        ([{"defense": "blur", "zip": {"defense": ["jpeg"]}}], "has defense twice"),
        ([{"zip": [{"seed": [0]}, {"seed": [1]}]}], "has seed twice"),
    ],
)
def test_that_other_grids_are_refused_in_one_line(grids: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        list(grid_words(grids, ()))
    assert "\n" not in str(error.value)
