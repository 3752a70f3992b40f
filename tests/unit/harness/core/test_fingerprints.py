"""Equal fingerprints mean equal results: identity, version and values count; the place and the text of code do not."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

import frbench.attacks
import frbench.datasets
import frbench.defenses
import frbench.harness
from frbench.attacks.lots import LotsDescent
from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.harness.core import fingerprints
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.core.verifiers import lifted
from frbench.harness.recognizers.metering import Meter, metered
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.threat_model.goals import Dodging


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


@pytest.mark.parametrize(
    ("known", "thing"),
    [
        ("b3b6937272a4a4c3eedb421a37da1b00c449af6a98fed717e43098472a5749d9", Linf(8 / 255)),
        (
            "a37b1e2261d7b2f3e26b914757c90e1d68b27947c871bc9d51fd1f56182ac688",
            np.arange(6, dtype=np.float32).reshape(2, 3),
        ),
        (
            "95ef61be9084e5ed45121fcc8bcb7d23bc205203757cec6b78c72dc9d50d79d5",
            [Dodging(), {"b": (0.1, 1e-7, True, None), "a": "\u00e4"}],
        ),
        (
            "51ccc6d9b08b188d273e5d282a205f2839335cabe123740798427165a0ad2072",
            LotsDescent(step_size=0.25, steps=3, direction="sign"),
        ),
    ],
)
def test_that_every_python_and_every_machine_gives_the_same_keys(known: str, thing: object) -> None:
    """Whichever Python runs this compares with the same constants: those of Python 3.11, 3.12 and 3.13 agree."""
    assert fingerprint(thing) == known


@pytest.mark.parametrize("bad", [Path("x"), object()])
def test_what_has_no_meaning_of_its_own_is_refused(bad: object) -> None:
    with pytest.raises(TypeError):
        fingerprint(bad)


FIELDS = "from dataclasses import dataclass\n\n@dataclass(frozen=True)\nclass OwnAttack:\n    steps: int = 3\n"


@dataclass
class OwnPart:
    """A part in a package of the user's own, edited between runs."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def key(self, module: str, files: dict[str, str]) -> str:
        """The fingerprint of its OwnAttack after ``files`` were written."""
        for name, text in files.items():
            (self.folder / name).parent.mkdir(exist_ok=True)
            (self.folder / name).write_text(text)
        for name in [each for each in sys.modules if each.partition(".")[0] in ("mine", "mine_helper")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        fingerprints.package_digest.cache_clear()
        return fingerprint(importlib.import_module(module).OwnAttack())


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OwnPart:
    monkeypatch.syspath_prepend(str(tmp_path))
    return OwnPart(tmp_path, monkeypatch)


def test_that_an_edited_helper_of_an_own_package_changes_the_key_of_its_parts(own: OwnPart) -> None:
    """Any file of the package counts, imported or not; what Python and editors leave beside it does not."""
    package = {"mine/__init__.py": "", "mine/attack.py": FIELDS, "mine/helper.py": "STEP = 1\n"}
    first = own.key("mine.attack", package)
    assert own.key("mine.attack", {"mine/.swap.py": "", "mine/notes.txt": ""}) == first
    changed = own.key("mine.attack", {"mine/helper.py": "STEP = 2\n"})
    assert changed != first
    assert own.key("mine.attack", {"mine/table.json": "[1]"}) != changed
    assert own.key("mine.attack", package | {"mine/table.json": "[2]"}) != first


def test_that_an_edited_module_beside_an_own_file_changes_its_key_where_it_is_imported(own: OwnPart) -> None:
    text = f"from mine_helper import STEP\n{FIELDS}"
    first = own.key("mine", {"mine.py": text, "mine_helper.py": "STEP = 1\n", "unrelated.py": "A = 1\n"})
    assert own.key("mine", {"unrelated.py": "A = 2\n"}) == first
    assert own.key("mine", {"mine_helper.py": "STEP = 2\n"}) != first


def test_that_an_own_file_may_import_from_a_folder_without_init(own: OwnPart) -> None:
    """All files of such a folder count, since Python does not say which of them are imported."""
    text = f"from mine_helper.steps import STEP\n{FIELDS}"
    first = own.key("mine", {"mine.py": text, "mine_helper/steps.py": "STEP = 1\n"})
    assert own.key("mine", {"mine_helper/__pycache__/steps.pyc": ""}) == first
    assert own.key("mine", {"mine_helper/steps.py": "STEP = 2\n"}) != first


def test_that_an_installed_package_counts_by_its_version() -> None:
    assert fingerprints.package_digest("torch.nn") == f"torch=={metadata.version('torch')}"


def test_that_moving_rewording_and_reformatting_a_class_of_frbench_keeps_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of the attack is copied elsewhere, its messages reworded and its lines joined."""
    source = Path(inspect.getfile(ProjectedDescent)).read_text()
    moved = ast.parse(source.replace("expected", "we want").replace('"""', '"""Now: ', 1))
    (tmp_path / "elsewhere.py").write_text(ast.unparse(moved))
    spec = importlib.util.spec_from_file_location("frbench.attacks.elsewhere", tmp_path / "elsewhere.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    other = module.ProjectedDescent
    assert other is not ProjectedDescent
    assert fingerprint(other(steps=3)) == fingerprint(ProjectedDescent(steps=3))


def test_that_a_new_version_changes_the_key_and_that_of_what_extends_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    class Longer(ProjectedDescent):
        """Of no frbench module: its source counts, and the version of what it extends."""

    before = fingerprint(ProjectedDescent()), fingerprint(Longer())
    monkeypatch.setattr(ProjectedDescent, "version", ProjectedDescent.version + 1)
    assert fingerprint(ProjectedDescent()) != before[0]
    assert fingerprint(Longer()) != before[1]


def test_that_a_class_of_frbench_without_an_identity_of_its_own_is_refused() -> None:
    """What it inherits names another class."""

    class Nameless(ProjectedDescent):
        pass

    Nameless.__module__ = "frbench.attacks.nameless"
    with pytest.raises(TypeError, match="declares no identity"):
        fingerprint(Nameless())


def test_that_every_identity_of_frbench_names_one_class() -> None:
    found: dict[str, list[str]] = {}
    for kind in own_classes():
        if isinstance(vars(kind).get("identity"), str):
            assert isinstance(vars(kind)["version"], int) and vars(kind)["version"] >= 1
            found.setdefault(kind.identity, []).append(f"{kind.__module__}.{kind.__qualname__}")
    assert len(found) > 150
    assert {name: kinds for name, kinds in found.items() if len(kinds) > 1} == {}


def own_classes() -> set[type]:
    for package in (frbench.harness, frbench.attacks, frbench.defenses, frbench.datasets):
        root = Path(package.__path__[0])
        for path in root.rglob("*.py"):
            importlib.import_module(".".join((package.__name__, *path.relative_to(root).with_suffix("").parts)))
    loaded = [vars(module).values() for name, module in sys.modules.items() if name.startswith("frbench.")]
    classes = {value for values in loaded for value in values if isinstance(value, type)}
    return {each for each in classes if each.__module__.startswith("frbench.")}
