"""``frbench fit training=...``: what it writes is a recognizer or a defense of a run; mistakes in one line."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors import safe_open

from frbench.harness.cli.main import main
from frbench.harness.storage.result_store import ResultStore

SMALL = [
    *("dataset=synthetic", "dataset.pairs=20", "device=cpu", "allow_low_accuracy=true"),
    *(f"{group}.{each}" for group in ("dataset", "identities") for each in ("people=30", "photos_per_person=2")),
]
TINY = ["network@training.network=tiny", "training.network.make.width=4", "training.network.make.dim=16"]
BRIEF = [*TINY, "training.schedule.epochs=1", "training.schedule.batch_size=20"]


@dataclass(frozen=True)
class Shell:
    """``frbench`` in this process, with all its paths in ``folder``."""

    folder: Path
    capture: pytest.CaptureFixture[str]

    @property
    def store(self) -> ResultStore:
        return ResultStore(self.folder / "results")

    @property
    def artifacts(self) -> set[str]:
        return {path.name for path in (self.folder / "results" / "artifacts").glob("*.safetensors")}

    def __call__(self, verb: str, *words: str) -> tuple[int, str, str]:
        self.capture.readouterr()
        paths = [f"paths.{name}={self.folder / name}" for name in ("data", "results")]
        code = main([verb, *SMALL, *words, *paths])
        return code, *self.capture.readouterr()

    def done(self, verb: str, *words: str) -> str:
        code, out, err = self(verb, *words)
        assert code == 0, err
        return out

    def refused(self, verb: str, *words: str) -> str:
        """The one line that is said."""
        code, out, err = self(verb, *words)
        assert (code, out) == (2, ""), (code, out, err)
        assert err.startswith("frbench: ") and err.count("\n") == 1, err
        return err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all, so that faces are rendered once."""
    return tmp_path_factory.mktemp("fitted")


@pytest.fixture
def frbench(folder: Path, capfd: pytest.CaptureFixture[str]) -> Shell:
    return Shell(folder, capfd)


def words_after(title: str, out: str) -> list[str]:
    (found,) = re.findall(rf"^{title}: (.*)$", out, re.MULTILINE)
    return shlex.split(found)


def test_that_what_is_trained_is_the_recognizer_of_a_run(frbench: Shell, tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "one.safetensors"
    out = frbench.done("fit", "training=single", *BRIEF, f"out={file}")
    assert out.startswith(f"single: {file}\n")
    assert re.search(r"^  loss +\S+ -> \S+$", out, re.MULTILINE)
    assert re.search(r"^  final tilt", out, re.MULTILINE)
    with safe_open(file, "pt") as kept:
        assert any(name.startswith("members.0.") for name in kept.keys())  # noqa: SIM118 (no mapping)
    use = words_after("use it", out)
    assert use == ["recognizer=trained", f"recognizer.weights={file}"]

    frbench.done("run", *use, "attack=none")
    (record,) = [each for each in frbench.store.records() if each["names"]["recognizer"] == "trained"]
    assert record["status"] == "done"


def test_that_an_ensemble_is_used_as_a_defense_from_its_file(frbench: Shell) -> None:
    out = frbench.done("fit", "training=diverse", *BRIEF, "fit_seed=1")
    together, kept = words_after("use it", out), frbench.artifacts
    assert together[0] == "defense=trained_ensemble" and len(together) == 2
    found = frbench.done("run", *together, "attack=none")
    assert found.startswith("trained_ensemble")
    assert frbench.artifacts == kept, "it was trained again"
    for words in (["defense.fusion=min"], ["defense.fusion=concat", "attack=fgsm", "threat=adaptive"]):
        frbench.done("run", *together, "attack=none", *words)
    assert frbench.artifacts == kept
    forwards = {each["settings"].get("defense.fusion"): each["card"]["forwards"] for each in frbench.store.records()}
    assert forwards["concat"] > forwards["min"] > 0


def test_that_a_recognizer_is_trained_further(frbench: Shell, tmp_path: Path) -> None:
    file = tmp_path / "further.safetensors"
    fast = ["training.schedule.epochs=1", "training.schedule.batch_size=20", "training.schedule.lr=0.01"]
    out = frbench.done("fit", "training=single", "training.network=null", "recognizer=tiny", *fast, f"out={file}")
    use = words_after("use it", out)
    assert use == ["recognizer=trained", f"recognizer.weights={file}"]
    assert "clean" in frbench.done("run", *use, "attack=none")
    service = ["recognizer=service", "recognizer.url=http://127.0.0.1:9/compare", "recognizer.service_version=v1"]
    message = frbench.refused("fit", "training=single", "training.network=null", *service, *fast)
    assert "returns only similarities and cannot be fine-tuned" in message


def test_that_what_was_trained_is_trained_further_by_itself_and_together(frbench: Shell, tmp_path: Path) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    frbench.done("fit", "training=single", *BRIEF, f"out={first}")
    begun = ["recognizer=trained"]
    fast = ["training.network=null", "training.schedule.epochs=1", "training.schedule.batch_size=20"]
    others = [*fast, "identities.people_seed=7"]
    out = frbench.done("fit", "training=single", *others, *begun, f"recognizer.weights={first}", f"out={second}")
    use = words_after("use it", out)
    assert use == [*begun, f"recognizer.weights={second}"]
    assert "clean" in frbench.done("run", *use, "attack=none")
    for seen in (3, 7):
        told = frbench.refused("run", *use, f"dataset.people_seed={seen}", "attack=none")
        assert "trained was trained on 30 of the 30 people" in told, "it knows those of both trainings"
    out = frbench.done("fit", "training=shared_head", *fast, *begun, f"recognizer.weights={first}")
    kept = frbench.artifacts
    frbench.done("run", *words_after("use it", out), "attack=none")
    assert frbench.artifacts == kept, "it was trained again"


def test_that_people_of_the_test_set_or_a_validation_set_are_refused(frbench: Shell, tmp_path: Path) -> None:
    kept = frbench.artifacts
    of_test = ["training=single", *BRIEF, "identities.people_seed=2"]
    assert "30 people, such as synthetic 2 0" in frbench.refused("fit", *of_test)
    examined = ["training=single", *BRIEF, "+dataset@training.validation.mine=synthetic"]
    examined += [f"training.validation.mine.{each}" for each in ("people=30", "photos_per_person=2", "pairs=20")]
    assert "such as synthetic 3 0" in frbench.refused("fit", *examined, "training.validation.mine.people_seed=3")
    assert frbench.artifacts == kept, "it was trained before it was refused"
    assert "overlapping_identities" in frbench.done("fit", *of_test, "allow_overlap=true").splitlines()[0]
    seen = [*of_test[:1], *BRIEF, "identities.people_seed=5", "dataset.people_seed=9"]
    use = words_after("use it", frbench.done("fit", *seen, f"out={tmp_path / 'seen.safetensors'}"))
    of_its_own = [*use, "dataset.people_seed=5", "attack=none"]
    assert "was trained on 30 of the 30 people of the test set" in frbench.refused("run", *of_its_own)
    frbench.done("run", *of_its_own, "allow_overlap=true")
    (record,) = [each for each in frbench.store.records() if each["settings"].get("dataset.people_seed") == 5]
    assert "overlapping_identities" in record["flags"]
    frbench.done("run", *use, "attack=none")
    assert re.search(r"^  mine +\S+ -> \S+$", frbench.done("fit", *examined, "fit_seed=2"), re.MULTILINE)


@pytest.mark.parametrize(
    ("verb", "words", "expected"),
    [
        ("fit", ["training=singel"], "unknown option training=singel; did you mean training=single?"),
        ("fit", ["training.schedule.epochs=1"], "add training=NAME, such as training=single"),
        ("fit", ["training=single", "training.schedule.epoch=1"], "did you mean 'training.schedule.epochs'"),
        ("fit", ["training=single", "network@training.network=tinny"], "did you mean network=tiny?"),
        ("fit", ["network@training.network=tiny"], "'network@training.network' is only valid with training=single"),
        ("fit", ["training=single", "out=trained.pth"], "out must end in .safetensors, got trained.pth"),
        ("fit", ["defense=pca", "out=a.safetensors"], "out=FILE is only valid with training=NAME"),
        (
            "fit",
            ["training=single", *TINY, "training.schedule.batch_size=1000"],
            "batch_size=1000 exceeds the 60 faces",
        ),
        (
            "fit",
            ["training=single", *TINY, "training.schedule.batch_size=1"],
            "batch_size=1: batch normalization needs 2",
        ),
        (
            "fit",
            ["training=single", *TINY, "training.val_every_n_epochs=0"],
            "training.val_every_n_epochs=0 is not an integer above 0",
        ),
        ("fit", ["training=single", *TINY, "training.schedule.optimizer=SGD"], "optimizer=SGD is not sgd or adam"),
        (
            "fit",
            ["training=single", *TINY, "training.schedule.lr=fast"],
            "schedule.lr=fast is not a number",
        ),
        ("fit", ["training=diverse", *TINY, "training.terms.diversity.kind=det"], "diversity.kind=det is not logdet"),
        (
            "fit",
            ["training=single", *TINY, "training.network.make.dim=wide"],
            "make.dim=wide is not an integer",
        ),
        ("fit", ["training=single", *TINY, "+training.network.make.deep=3"], "arguments of TinyNet: width, dim"),
        (
            "fit",
            [
                "training=single",
                "training.network=null",
                "recognizer=flip_averaged",
                "+recognizer@recognizer.recognizer=tiny",
            ],
            "flip_averaged(tiny) shows no network",
        ),
        ("run", ["training=single"], "are options of frbench fit; to run a trained network use recognizer=trained"),
        ("run", ["out=a.safetensors"], "are options of frbench fit"),
        ("run", ["recognizer=trained"], "recognizer.weights has no default"),
        ("run", ["recognizer=trained", "recognizer.weights=no.safetensors"], "no.safetensors does not exist"),
        ("run", ["defense=diverse_ensemble", "defense.fusion=median"], "is not mean or concat or min"),
        ("run", ["defense=zoo_ensemble", "attack=none"], "needs two or more"),
    ],
)
def test_that_a_mistake_is_one_line(verb: str, words: list[str], expected: str, frbench: Shell) -> None:
    assert expected in frbench.refused(verb, *words)


def test_that_an_ordinary_run_is_labelled_as_ever(frbench: Shell) -> None:
    frbench.done("run", "attack=none")
    usual = {"dataset.pairs": 20, "dataset.people": 30, "dataset.photos_per_person": 2}
    (record,) = [each for each in frbench.store.records() if each["settings"] == usual]
    assert (record["names"]["recognizer"], record["names"]["defense"]) == ("tiny", "none")
    assert "training" not in record["names"]
