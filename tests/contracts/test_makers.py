"""What every maker of cloaks in conf/maker promises to a recipe that learns from cloaks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import frbench.conf
from frbench.defenses.cloak_removal.cloaked_faces import CloakedFaces, CloakMaker
from frbench.harness.config import build
from frbench.harness.threat_model.goals import Cloak

MAKERS = sorted(path.stem for path in (Path(frbench.conf.__file__).parent / "maker").glob("*.yaml"))


@pytest.mark.parametrize("defense", ["puface", "robust_extractor"])
@pytest.mark.parametrize("option", MAKERS)
def test_that_it_can_join_a_mixture_under_any_name(
    option: str, defense: str, composed: Callable[..., dict[str, Any]]
) -> None:
    words = (f"defense={defense}", f"+maker@defense.recipe.cloaks.makers.mine={option}")
    cloaks = build.instantiate(composed(*words)["defense"], "defense").recipe.cloaks
    assert isinstance(cloaks, CloakedFaces)
    maker = cloaks.makers["mine"]
    assert isinstance(maker, CloakMaker)
    assert maker.share == 1
    assert maker.surrogate.differentiable
    Cloak().check(maker.attack)
    assert len(cloaks.makers) > 1
