"""Equal fingerprints mean equal results: values and code count, paths and comments do not."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from frbench.attacks.descent import ProjectedDescent
from frbench.harness import fingerprints
from frbench.harness.budgets import Linf
from frbench.harness.fingerprints import fingerprint
from frbench.harness.metering import Meter, metered
from frbench.harness.verifiers import lifted


@dataclass(frozen=True)
class Thing:
    number: float
    name: str = "a"
    where: str = field(default="", compare=False)


def test_that_images_made_on_a_recognizer_are_found_where_the_same_one_is_a_surrogate(linear: Callable) -> None:
    """A victim's forwards are counted and a surrogate's are not; what the attacker saw is the same."""
    counted = metered(linear(), Meter())
    assert fingerprint(lifted(counted)) == fingerprint(lifted(linear())) != fingerprint(lifted(linear(seed=1)))


def test_equal_objects_agree_and_every_compared_field_counts() -> None:
    assert fingerprint(Thing(1.0)) == fingerprint(Thing(1.0, where="elsewhere"))
    assert len({fingerprint(each) for each in (Thing(1.0), Thing(2.0), Thing(1.0, "b"))}) == 3
    assert fingerprint(ProjectedDescent(steps=3)) != fingerprint(ProjectedDescent(steps=4))
    assert fingerprint(Linf(0.1)) != fingerprint(Linf(0.2))


def test_arrays_count_by_content_shape_and_kind() -> None:
    ones = np.ones((2, 3), np.float32)
    assert fingerprint(ones) == fingerprint(torch.ones(2, 3)) == fingerprint(np.asfortranarray(ones))
    others = [ones * 2, ones.reshape(3, 2), ones.astype(np.float64)]
    assert len({fingerprint(each) for each in [ones, *others]}) == 4


@pytest.mark.parametrize("bad", [Path("x"), object()])
def test_what_has_no_meaning_of_its_own_is_refused(bad: object) -> None:
    with pytest.raises(TypeError):
        fingerprint(bad)


def test_a_mended_class_never_finds_its_old_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest covers the code of the module, not its comments and docstrings."""
    monkeypatch.syspath_prepend(str(tmp_path))
    text = '"""Doc."""\nSTEP = {step}\n\ndef move(x):\n    """{doc}"""\n    return x + STEP  # {doc}\n'

    def digest(step: int, doc: str) -> str:
        (tmp_path / "own_attack.py").write_text(text.format(step=step, doc=doc))
        sys.modules.pop("own_attack", None)
        importlib.invalidate_caches()
        importlib.import_module("own_attack")
        fingerprints.source_digest.cache_clear()
        return fingerprints.source_digest("own_attack")

    assert digest(1, "one") == digest(1, "two")
    assert digest(1, "one") != digest(2, "one")


def test_the_digest_reaches_the_modules_of_ours_that_a_module_imports() -> None:
    names = fingerprints._imports(fingerprints._tree("frbench.attacks.descent"))
    assert "frbench.harness.noise" in names
