"""What people install: the wheel holds all that is needed and nothing else, and it works away from the source."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = ("conf", "harness", "attacks", "defenses", "datasets")


OWN_ATTACK = """
from dataclasses import dataclass
import torch
from frbench.harness.core.contracts import Attack, AttackResult

@dataclass(frozen=True)
class Darken(Attack):
    def __call__(self, view, pairs, goal, budget):
        images = budget.project(pairs.probe - 0.1, pairs.probe)
        scores = view.score(images, view.enroll(pairs))
        once = torch.ones(len(pairs), dtype=torch.int64)
        return AttackResult(images, goal.achieved(scores, view.aim(goal, pairs.index)), once)
"""


def tracked() -> list[str]:
    """The files of the source tree that are tracked or would be, or a skip outside of a clone."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git clone, so what belongs to the source is unknown")
    words = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return sorted({name for name in listed.split("\0") if name and (ROOT / name).is_file()})


def run(*words: str, where: Path, path: Path | None = None) -> str:
    """Standard output of Python with ``words`` in the folder ``where``; ``path`` is searched first for modules."""
    environment = {**os.environ, **({"PYTHONPATH": str(path)} if path else {})}
    done = subprocess.run([sys.executable, *words], cwd=where, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a clean copy of the source: nothing left over from other builds can get into it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    run("-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), where=source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel was installed, without its dependencies."""
    target = tmp_path_factory.mktemp("installed")
    words = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target), str(wheel))
    run(*words, where=target)
    return target


@pytest.mark.slow
def test_that_every_module_option_weight_template_and_type_marker_is_in_the_wheel(contents: set[str]) -> None:
    kinds = (".py", ".yaml", ".safetensors", "py.typed", ".html", ".css", ".js")
    wanted = {f"frbench/{name}" for name in tracked() if name.startswith(SHIPPED) and name.endswith(kinds)}
    assert {"frbench/conf/run.yaml", "frbench/conf/attack/pgd.yaml", "frbench/harness/py.typed"} <= wanted
    assert "frbench/harness/recognizers/tiny.safetensors" in wanted
    assert {f"frbench/harness/reporting/html/templates/page.{kind}" for kind in ("html", "css", "js")} <= wanted
    assert not wanted - contents


@pytest.mark.slow
def test_that_nothing_else_is_in_the_wheel(contents: set[str]) -> None:
    """One top-level name, so that installing it overwrites nobody's ``datasets``; no tests, results or scripts."""
    tops = {PurePosixPath(name).parts[0] for name in contents}
    assert len(tops) == 2
    assert tops > {"frbench"}
    assert (tops - {"frbench"}).pop().endswith(".dist-info")
    inside = {PurePosixPath(name).parts[1] for name in contents if name.startswith("frbench/")}
    assert inside == set(SHIPPED)
    strangers = {name for name in contents if name.startswith("frbench/") and name[8:] not in tracked()}
    assert not strangers


@pytest.mark.slow
def test_that_the_licence_goes_with_the_wheel(wheel: Path, contents: set[str]) -> None:
    (licence,) = (name for name in contents if name.endswith("/LICENSE"))
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read(licence).decode() == (ROOT / "LICENSE").read_text("utf-8")


@pytest.mark.slow
def test_that_the_installed_wheel_is_found_and_answers(installed: Path, tmp_path: Path) -> None:
    found = run("-c", "import frbench.harness.cli.main as cli; print(cli.__file__)", where=tmp_path, path=installed)
    assert Path(found.strip()).is_relative_to(installed)
    assert run("-m", "frbench.harness.cli.main", "--help", where=tmp_path, path=installed).startswith("usage: frbench")


@pytest.mark.slow
def test_that_the_installed_wheel_composes_and_builds_its_own_options(installed: Path, tmp_path: Path) -> None:
    code = """
import hydra, frbench.conf
from frbench.harness.config import build, resolution
with hydra.initialize_config_module("frbench.conf", version_base="1.3"):
    config = resolution.plain(hydra.compose("run", ["attack=mifgsm", "defense=pca", "experiment=demo"]))
print(build.instantiate(config["attack"], "attack"), build.instantiate(config["defense"], "defense"))
recognizer = build.instantiate(config["recognizer"], "recognizer")
print(len(recognizer.digest), frbench.conf.__file__)
"""
    out = run("-c", code, where=tmp_path, path=installed)
    assert "momentum=1.0" in out
    assert "PcaDefense" in out
    assert str(installed) in out
    options = run("-m", "frbench.harness.cli.main", "options", "budget", where=tmp_path, path=installed)
    assert "linf_8" in {line.split()[0] for line in options.splitlines()}


@pytest.mark.slow
def test_that_the_installed_wheel_runs_its_default_cell_with_an_own_part(installed: Path, tmp_path: Path) -> None:
    """Faces, recognizer and options come with the wheel, the attack from a folder of the user."""
    (tmp_path / "mine.py").write_text(OWN_ATTACK)
    (tmp_path / "conf" / "attack").mkdir(parents=True)
    (tmp_path / "conf" / "attack" / "darken.yaml").write_text("# Darkens the probe.\n_target_: mine.Darken\n")
    small = ["dataset.people=30", "dataset.photos_per_person=2", "dataset.pairs=60", "dataset.limit=4"]
    quick = ["recognizer.min_clean_accuracy=null", "protocol.postprocessing=null", "protocol.bootstrap=20"]
    words = ["run", "--config-dir=conf", "attack=darken", "trust=[mine]", "paths.cache=cache", *small, *quick]
    out = run("-m", "frbench.harness.cli.main", *words, where=tmp_path, path=installed)
    assert "darken" in out and "ASR" in out
    assert len(list((tmp_path / "results" / "runs").glob("*.json"))) == 1


@pytest.mark.slow
def test_that_help_answers_at_once(tmp_path: Path) -> None:
    """The best of five: the others measure what else the machine was doing."""
    command = Path(sys.executable).with_name("frbench")
    if not command.exists():
        pytest.skip("frbench is not installed beside this Python")
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        done = subprocess.run([command, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - started)
        assert done.stdout.startswith("usage: frbench")
    assert min(seconds) < 0.5, seconds


def test_that_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys; from frbench.harness.cli.main import main; main(['--help']); print(*sorted(sys.modules))"
    loaded = set(run("-c", code, where=tmp_path).split())
    assert "frbench.harness.cli.main" in loaded
    assert not loaded & {"torch", "numpy", "pandas", "hydra", "omegaconf", "scipy", "matplotlib", "PIL", "rich"}
