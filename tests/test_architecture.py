"""The rules that keep the house in order, read from the source itself: imports, sizes, names, docstrings."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("harness", "attacks", "defenses", "datasets")
PARTS = ("attacks", "defenses", "datasets")  # what configs introduce; the harness knows none of them
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
EVERYTHING = sorted([*SOURCES, *(path for folder in ("scripts", "tests") for path in (ROOT / folder).rglob("*.py"))])

# What an attack, a defense or a dataset may use of the harness: the nouns, and helpers that keep no state and no files.
PURE = {
    "aligned_images",
    "allocation",
    "contracts",
    "domains",
    "errors",
    "faces",
    "budgets",
    "checkpoints",
    "goals",
    "image_files",
    "intervals",
    "learning",
    "metrics",
    "noise",
    "parallel",
    "pasting",
    "progress",
    "sizes",
    "survival",
    "text_lists",
    "training",
    "verifiers",
}

# Who may see the configuration library. The first four compose; the two others only read YAML that is data (where
# files come from, where they belong), and never a config of a run.
COMPOSERS = {"harness/build.py", "harness/composing.py", "harness/launch.py", "harness/overrides.py"}
YAML_READERS = {"harness/sources.py", "harness/data_cli.py", "harness/number_hints.py"}

# Where the harness names a module of ours as text, because the user and no config asks for it.
BY_NAME = {"harness/preparing.py"}  # `frbench data prepare` aligns, which the datasets folder does


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, full name) of everything that a module imports, wherever in it; relative imports keep their dots."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def ours(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, parts after ``frbench``) of the imports of our own modules."""
    for line, name in imported(path):
        head, *rest = name.split(".")
        if head == "frbench":
            yield line, rest


def documented(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return ast.get_docstring(node) is not None


def test_that_attacks_defenses_and_datasets_use_the_nouns_and_pure_helpers_alone() -> None:
    wrong = []
    for path in (each for each in SOURCES if each.parent.name in PARTS):
        for line, (package, *rest) in ours(path):
            allowed = package == path.parent.name or (package == "harness" and rest[0] in PURE | {"recognizers"})
            if not allowed:
                wrong.append(f"{place(path)}:{line} imports frbench.{package}.{'.'.join(rest)}")
    assert not wrong, "\n".join(wrong)


def test_that_pure_helpers_lean_only_on_pure_helpers() -> None:
    wrong = []
    for name in PURE:
        path = ROOT / "harness" / f"{name}.py"
        for line, (package, *rest) in ours(path):
            if package != "harness" or rest[0] not in PURE:
                wrong.append(f"{place(path)}:{line} imports frbench.{package}.{'.'.join(rest)}")
    assert not wrong, "\n".join(wrong)


def test_that_the_harness_imports_no_attack_no_defense_and_no_dataset() -> None:
    harness = [path for path in SOURCES if place(path).startswith("harness/")]
    wrong = [f"{place(path)}:{line}" for path in harness for line, (package, *_) in ours(path) if package != "harness"]
    assert not wrong, "\n".join(wrong)


def test_that_the_harness_names_a_part_as_text_only_where_stated() -> None:
    """``import_module("frbench.attacks.pgd")`` would be the same import by the back door."""
    dotted = re.compile(rf"frbench\.({'|'.join(PARTS)})\b")
    found = {
        place(path)
        for path in SOURCES
        if place(path).startswith("harness/")
        for node in ast.walk(without_docstrings(tree(path)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and dotted.match(node.value)
    }
    assert found == BY_NAME


def without_docstrings(module: ast.Module) -> ast.Module:
    for node in ast.walk(module):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and documented(node):
            node.body = node.body[1:]
    return module


def test_that_the_contracts_import_nothing_of_ours_but_faces() -> None:
    assert not list(ours(ROOT / "harness" / "faces.py"))
    found = {tuple(parts) for _, parts in ours(ROOT / "harness" / "contracts.py")}
    assert {each[:2] for each in found} == {("harness", "faces")}


def test_that_the_configuration_library_is_seen_in_the_stated_modules_alone() -> None:
    seen = {place(path) for path in SOURCES for _, name in imported(path) if re.match(r"hydra|omegaconf", name)}
    assert seen == COMPOSERS | YAML_READERS
    with_hydra = {place(path) for path in SOURCES for _, name in imported(path) if name.startswith("hydra")}
    assert with_hydra == COMPOSERS


def test_that_everything_is_imported_by_its_full_name() -> None:
    """Bare ``datasets`` is Hugging Face's, and a relative import hides which of the four folders is meant."""
    bare = {*PACKAGES, "conf"}
    wrong = [
        f"{place(path)}:{line} imports {name}"
        for path in EVERYTHING
        for line, name in imported(path)
        if name.split(".")[0] in bare or name.startswith(".")
    ]
    assert not wrong, "\n".join(wrong)


def test_that_every_folder_with_python_is_in_the_package_list() -> None:
    """A folder that setuptools does not know is missing from the wheel and from no test of a source tree."""
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"])
    folders = {path.parent for path in [*SOURCES, *(ROOT / "conf").rglob("*.py")]}
    assert {"frbench." + ".".join(folder.relative_to(ROOT).parts) for folder in folders} == listed


def test_that_packages_are_namespaces_and_say_that_they_are_typed() -> None:
    folders = {path.parent for path in SOURCES}
    assert not [place(path) for path in SOURCES if path.name == "__init__.py"]
    assert not [place(folder) for folder in folders if not (folder / "py.typed").is_file()]
    assert (ROOT / "conf" / "__init__.py").read_text("utf-8") == ""  # Hydra's search path needs a real package


def test_that_no_module_is_a_drawer_for_odds_and_ends() -> None:
    drawers = {"types.py", "utils.py", "util.py", "common.py", "misc.py", "helpers.py"}
    assert not [place(path) for path in SOURCES if path.name in drawers]


def test_that_no_module_is_longer_than_can_be_read_at_a_sitting() -> None:
    lengths = {place(path): len(path.read_text("utf-8").splitlines()) for path in SOURCES}
    assert not {name: length for name, length in lengths.items() if length > 300}


def test_that_no_function_is_longer_than_forty_lines() -> None:
    wrong = []
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[documented(node) :]
                length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
                if length > 40:
                    wrong.append(f"{place(path)}:{node.lineno} {node.name} has {length} lines")
    assert not wrong, "\n".join(wrong)


def test_that_modules_and_public_classes_and_functions_say_what_they_are() -> None:
    """Methods and functions of one statement may let their name and signature speak."""
    wrong = []
    for path in SOURCES:
        module = tree(path)
        if not documented(module):
            wrong.append(place(path))
        for node in module.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                short = isinstance(node, ast.FunctionDef) and len(node.body) == 1
                if not documented(node) and not short:
                    wrong.append(f"{place(path)}:{node.lineno} {node.name}")
    assert not wrong, "\n".join(wrong)


def option_names() -> set[str]:
    groups = ("attack", "defense", "dataset", "recognizer")
    return {path.stem for group in groups for path in (ROOT / "conf" / group).glob("*.yaml")}


def compared_texts(path: Path) -> Iterator[tuple[int, str]]:
    """Text constants that stand in a comparison or in a ``case``, alone or in a tuple, list or set."""
    for node in ast.walk(tree(path)):
        sides: list[ast.AST] = []
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            sides = [node.value]
        for side in sides:
            parts = side.elts if isinstance(side, ast.Tuple | ast.List | ast.Set) else [side]
            for part in parts:
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.lineno, part.value


def test_that_no_code_compares_a_text_with_the_name_of_an_option() -> None:
    """``if name == "jpeg"`` is the first rung of a ladder: objects answer for themselves, configs choose them."""
    names = option_names()
    wrong = [
        f'{place(path)}:{line} compares with "{text}"'
        for path in SOURCES
        for line, text in compared_texts(path)
        if text in names
    ]
    assert not wrong, "\n".join(wrong)


def test_that_the_rule_against_ladders_sees_a_ladder(tmp_path: Path) -> None:
    ladder = tmp_path / "ladder.py"
    ladder.write_text(
        'if name == "pgd":\n    pass\nelif name in ("jpeg", x):\n    pass\nmatch name:\n    case "lfw": 1\n'
    )
    assert {text for _, text in compared_texts(ladder)} == {"pgd", "jpeg", "lfw"}
    assert option_names() >= {"pgd", "jpeg", "lfw", "tiny"}


def calls(path: Path) -> Iterator[tuple[int, str, dict[str, ast.expr]]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func), {each.arg: each.value for each in node.keywords if each.arg}


def holds(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def test_that_no_file_of_a_user_is_unpickled_or_evaluated() -> None:
    """Weights are read with ``weights_only=True``, packs by a reader that can build plain values alone."""
    wrong = []
    banned = {"eval", "exec", "yaml.load", "pickle.load", "pickle.loads", "pickle.Unpickler", "joblib.load"}
    for path in SOURCES:
        for line, name, keywords in calls(path):
            trusting = name == "torch.load" and not holds(keywords.get("weights_only"), True)
            pickled = "allow_pickle" in keywords and not holds(keywords["allow_pickle"], False)
            if name in banned or trusting or pickled:
                wrong.append(f"{place(path)}:{line} {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", SOURCES, ids=place)
def test_that_every_module_can_be_imported(path: Path) -> None:
    """Optional libraries are imported where they are used, so that a module never fails without them."""
    name = "frbench." + ".".join(path.relative_to(ROOT).with_suffix("").parts)
    module = importlib.import_module(name)
    assert Path(str(module.__file__)).samefile(path)


def test_that_optional_libraries_are_imported_only_where_they_are_used() -> None:
    optional = {"art", "cv2", "foolbox", "insightface", "onnx", "onnx2torch", "onnxruntime", "torchattacks", "wandb"}
    optional |= {
        "fastapi",
        "httpx",
        "python_multipart",
        "pywt",
        "skimage",
        "sklearn",
        "starlette",
        "tenacity",
        "uvicorn",
    }
    test_only = {"hypothesis", "pytest"}
    wrong = []
    for path in SOURCES:
        for node in tree(path).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            wrong += [f"{place(path)}:{node.lineno} {name}" for name in names if name.split(".")[0] in optional]
        wrong += [f"{place(path)}:{line} {name}" for line, name in imported(path) if name.split(".")[0] in test_only]
    assert not wrong, "\n".join(wrong)


def test_that_every_function_says_what_it_returns() -> None:
    wrong = [
        f"{place(path)}:{node.lineno} {node.name}"
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is None
    ]
    assert not wrong, "\n".join(wrong)
