"""The Python interface gives the records of the command line, and leaves the process as it was."""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from support.python_cells import FACES, folders

from frbench.harness import api
from frbench.harness.cli.main import main
from frbench.harness.core.errors import ConfigError
from frbench.harness.threat_model.budgets import Linf

QUICK = api.protocol("verification", bootstrap=20, num_samples=0, **{"~postprocessing": None})
TINY = api.recognizer("tiny", min_clean_accuracy=None)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A small cell, and the folders that all tests of this file share."""
    faces = api.dataset("synthetic", **FACES)
    return {"dataset": faces, "recognizer": TINY, "protocol": QUICK, **folders(tmp_path_factory, "api")}


@pytest.fixture(scope="module")
def result(run: dict[str, Any]) -> api.Evaluation:
    return api.evaluate(attack=api.attack("pgd", steps=2), budget="linf_4", **run)


def command_line(line: str, capfd: pytest.CaptureFixture[str]) -> str:
    """What ``frbench`` prints."""
    capfd.readouterr()
    assert main(shlex.split(line)[1:]) == 0
    return capfd.readouterr().out


def records(results: Path) -> set[str]:
    return {path.stem for path in (results / "runs").glob("*.json")}


def test_that_the_command_line_finds_the_record_of_python(
    result: api.Evaluation, run: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    before = records(run["results"])
    assert result.key in before
    assert "(found)" in command_line(result.command, capfd)
    assert records(run["results"]) == before


def test_that_python_finds_the_record_of_the_command_line(
    result: api.Evaluation, run: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    line = result.command.replace("attack=pgd", "attack=fgsm").replace(" attack.steps=2", " seed=3")
    assert "(found)" not in command_line(line, capfd)
    found = api.evaluate(attack="fgsm", budget=api.budget("linf_4", radius=4 / 255), seed=3, **run)
    assert found.found and found.record["settings"]["seed"] == 3


def test_that_an_evaluation_has_the_numbers_of_its_record(result: api.Evaluation) -> None:
    attack = result.record["measurements"]["attack"]
    assert result.status == "done" and not result.reason and result.key == result.record["fingerprint"]
    assert result.asr == attack["asr"] and result.interval == (attack["asr_low"], attack["asr_high"])
    assert result.denominator == attack["asr_denominator"] == 10
    assert result.clean_accuracy == result.record["measurements"]["clean"]["accuracy"]
    assert result.flags == tuple(result.record["flags"])
    assert result.pairs is not None and result.asr == result.pairs["success"].mean()
    assert "pgd" in repr(result) and "ASR" in repr(result) and "pgd" in result._repr_html_()


def test_that_a_cell_without_attack_has_clean_accuracy_alone(run: dict[str, Any]) -> None:
    clean = api.evaluate(attack="none", **run)
    assert clean.clean_accuracy is not None
    assert clean.asr is clean.interval is clean.denominator is clean.pairs is None
    with pytest.raises(ConfigError, match="attack=none makes no images"):
        clean.images()


def test_that_images_are_those_that_were_judged(result: api.Evaluation, run: dict[str, Any]) -> None:
    pairs = result.pairs
    assert pairs is not None
    clean, adversarial, reference = result.images()
    assert clean.shape == adversarial.shape == reference.shape == (10, 3, 112, 112)
    sizes = (adversarial - clean).abs().amax(dim=(1, 2, 3)) * 255
    np.testing.assert_allclose(sizes, pairs["linf"], rtol=1e-5)
    scores = (api.embed(TINY, adversarial, **folder(run)) * api.embed(TINY, reference, **folder(run))).sum(dim=1)
    np.testing.assert_allclose(scores, pairs["adversarial_score"], atol=1e-5)
    numbers = pairs["index"].tolist()
    some = result.images([numbers[3], numbers[1]])
    assert torch.equal(some.adversarial, adversarial[[3, 1]]) and torch.equal(some.clean, clean[[3, 1]])


def folder(run: dict[str, Any]) -> dict[str, Any]:
    return {name: run[name] for name in ("results", "device")}


def test_that_images_are_made_again_when_the_cache_is_gone(run: dict[str, Any]) -> None:
    made = api.evaluate(attack="fgsm", **run)
    before = made.images()
    shutil.rmtree(run["results"] / "cache")
    assert all(torch.equal(a, b) for a, b in zip(before, made.images(), strict=True))


def test_that_images_of_a_pair_that_was_not_attacked_are_refused(result: api.Evaluation) -> None:
    with pytest.raises(ConfigError, match="pair 999 is not attacked"):
        result.images([999])


def test_that_an_adaptive_cell_with_a_fitted_defense_has_images(run: dict[str, Any]) -> None:
    fitted = api.evaluate(
        attack="fgsm",
        threat=api.threat("adaptive", include_oblivious=False),
        defense=api.defense("pca", components=3),
        identities=api.identities("synthetic", people=4, photos_per_person=2),
        **run,
    )
    assert fitted.status == "done" and fitted.pairs is not None
    images = fitted.images(fitted.pairs["index"].tolist()[:2])
    assert not torch.equal(images.clean, images.adversarial)


def test_that_a_surrogate_is_an_option_or_its_name(run: dict[str, Any]) -> None:
    named = api.evaluate(attack="fgsm", threat=api.threat("transfer", surrogate="tiny"), **run)
    ensemble = api.recognizer("ensemble", members={"a": TINY, "b": api.recognizer("tiny", bgr=True)})
    several = api.evaluate(attack="fgsm", threat=api.threat("transfer", surrogate=ensemble), **run)
    assert named.record["names"]["surrogate"] == "tiny"
    assert several.record["names"]["surrogate"] == "ensemble(tiny+tiny)"
    assert several.record["settings"]["threat.surrogate.members.b.bgr"] is True


def test_that_a_refused_combination_says_why(run: dict[str, Any]) -> None:
    refused = api.evaluate(attack="deepfool", threat="query", **run)
    assert refused.status == "refused" and "gradient" in refused.reason
    assert refused.asr is None and refused.clean_accuracy is None


def test_that_a_sweep_is_the_product_of_its_lists(run: dict[str, Any]) -> None:
    found = api.sweep(attack=["fgsm", api.attack("pgd", steps=2)], budget=["linf_2", "linf_4"], **run)
    assert [each.record["names"]["attack"] for each in found.evaluations] == ["fgsm", "fgsm", "pgd", "pgd"]
    assert found.table["budget"].tolist() == ["linf_2", "linf_4"] * 2
    assert found.table["asr"].tolist() == [each.asr for each in found.evaluations]
    assert found.errors == {}


def test_that_a_wrong_cell_does_not_stop_a_sweep(run: dict[str, Any]) -> None:
    found = api.sweep(attack=["pgdd", api.attack("fgsm", stepz=3), "fgsm"], **run)
    assert [each.record["names"]["attack"] for each in found.evaluations] == ["fgsm"] and len(found.table) == 1
    assert len(found.errors) == 2
    assert ["did you mean" in message for message in found.errors.values()] == [True, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attack": "pgdd"}, "did you mean attack=pgd"),
        ({"attack": api.defense("jpeg")}, "is not of the group attack"),
        ({"attack": api.attack("pgd", stepz=3)}, "did you mean 'attack.steps'"),
        ({"attack": api.attack("pgd", steps=-1)}, "attack.steps=-1"),
        ({"attack": api.attack("pgd", steps=object())}, "attack.steps: got a object, expected"),
        ({"seed": -1}, "seed=-1"),
        ({"sede": 1}, "did you mean seed"),
        ({"results": "/proc/nowhere"}, "paths.results=/proc/nowhere is not writable"),
        ({"budget": Linf(0.1)}, "_target_: frbench.harness.threat_model.budgets.Linf"),
    ],
)
def test_that_a_wrong_argument_is_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        api.evaluate(**arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_that_a_wrong_name_is_found_at_once() -> None:
    with pytest.raises(ConfigError, match="unknown option attack=pgdd; did you mean attack=pgd"):
        api.attack("pgdd")


def test_that_embeddings_of_bytes_and_of_numbers_are_equal(run: dict[str, Any]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 112, 112, 3), dtype=np.uint8)
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    found = api.embed("tiny", pixels, batch_size=2, **folder(run))
    assert found.shape == (5, 128) and torch.allclose(found.norm(dim=1), torch.ones(5), atol=1e-5)
    torch.testing.assert_close(found, api.embed(TINY, tensor, **folder(run)))
    torch.testing.assert_close(found, api.embed(TINY.load(device="cpu"), tensor))


def test_that_the_process_is_left_as_it_was(run: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    handlers, level, argv = list(logging.getLogger().handlers), logging.getLogger().level, list(sys.argv)
    here = Path.cwd()
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    api.evaluate(attack="none", **run)
    with pytest.raises(ConfigError):
        api.evaluate(attack="none", seed=-1)
    assert logging.getLogger().handlers == handlers and logging.getLogger().level == level
    assert sys.argv == argv and Path.cwd() == here and "HYDRA_FULL_ERROR" not in os.environ
    assert not GlobalHydra.instance().is_initialized()


def test_that_a_program_with_its_own_hydra_may_evaluate(run: dict[str, Any]) -> None:
    with initialize_config_module("frbench.conf", version_base="1.3"):
        own = GlobalHydra.instance().hydra
        api.evaluate(attack="none", **run)
        assert GlobalHydra.instance().hydra is own
        assert compose("run", ["seed=7"]).seed == 7


def test_that_the_import_loads_nothing_heavy() -> None:
    code = "import json, sys, frbench.harness.api as api; api.__version__; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "hydra", "omegaconf", "pandas", "numpy", "pydantic"} & set(json.loads(done.stdout))


def test_that_the_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert api.__version__ == version("frbench")
    with pytest.raises(AttributeError, match="no attribute version"):
        api.version  # noqa: B018
