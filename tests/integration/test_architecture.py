"""The rules that keep the house in order, read from the source itself: imports, sizes, names, docstrings."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("harness", "attacks", "defenses", "datasets")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
EVERYTHING = sorted([*SOURCES, *(path for folder in ("scripts", "tests") for path in (ROOT / folder).rglob("*.py"))])

# The rooms of the harness, by level, and what each may import beside itself. An arrow never points up.
ROOMS = {
    "core": "",
    "runtime": "core",
    "metrics": "core",
    "images": "core",
    "storage": "core",
    "serving": "core images",
    "recognizers": "core runtime images",
    "threat_model": "core metrics",
    "data_preparation": "core runtime images",
    "reporting": "core metrics storage",
    "training": "core runtime metrics storage recognizers",
    "evaluation": "core runtime images metrics storage recognizers threat_model",
    "protocols": "core runtime images metrics storage recognizers threat_model data_preparation evaluation",
    "photo_cloaking": "core runtime images threat_model evaluation",
    "config": "core storage recognizers data_preparation training evaluation photo_cloaking",
    "sweeps": "core runtime threat_model images storage evaluation protocols config",
    "api.py": "*",
    "cli": "*",
}
# What attacks, defenses and datasets may import of the harness. The harness imports none of them.
PARTS = {
    "attacks": "core metrics threat_model recognizers",
    "defenses": "core runtime images threat_model recognizers training",
    "datasets": "core runtime images",
}

# The only room that sees Hydra; the catalog reads YAML that is data (where files come from, where they belong).
HYDRA_ROOMS = {"config", "cli"}
YAML_READERS = {"harness/data_preparation/catalog.py"}

# Where the harness names a module of ours as text, because the user and no config asks for it.
BY_NAME = {"harness/data_preparation/prepare.py"}  # `frbench data prepare` aligns, which the datasets folder does


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


def room(path: Path) -> str:
    """``attacks``, ``defenses``, ``datasets``, or the folder of the harness; ``api.py`` is a room of its own."""
    package, *inside = path.relative_to(ROOT).parts
    return package if package in PARTS else inside[0]


def may_import(path: Path) -> set[str]:
    """The rooms that a module may import, its own among them."""
    allowed = PARTS.get(room(path)) or ROOMS[room(path)]
    return {room(path), *(ROOMS if allowed == "*" else allowed.split())}


def test_that_each_room_imports_the_rooms_of_the_table_alone() -> None:
    wrong = []
    for path in SOURCES:
        for line, (package, *rest) in ours(path):
            if (rest[0] if package == "harness" else package) not in may_import(path):
                wrong.append(f"{place(path)}:{line} imports frbench.{package}.{'.'.join(rest)}")
    assert not wrong, "\n".join(wrong)


def test_that_the_table_has_every_room_and_no_arrow_upwards() -> None:
    """A room imports rooms that stand above it in the table alone, so that their graph has no circle."""
    assert {room(path) for path in SOURCES} == {*ROOMS, *PARTS}
    for number, (name, allowed) in enumerate(ROOMS.items()):
        assert set(allowed.split()) <= {*list(ROOMS)[:number], "*"}, name


def test_that_the_harness_has_one_module_outside_its_folders() -> None:
    assert [path.name for path in (ROOT / "harness").glob("*.py")] == ["api.py"]


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


def test_that_the_configuration_library_is_seen_in_the_stated_rooms_alone() -> None:
    readers = {path for path in SOURCES for _, name in imported(path) if re.match(r"hydra|omegaconf", name)}
    assert {place(path) for path in readers if room(path) not in HYDRA_ROOMS} == YAML_READERS


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
    folders = {path.parent for path in [*SOURCES, *(ROOT / "conf").rglob("*.py")]} | {ROOT / "harness"}
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
        "plotly",
        "python_multipart",
        "pywt",
        "ray",
        "skimage",
        "sklearn",
        "starlette",
        "submitit",
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
