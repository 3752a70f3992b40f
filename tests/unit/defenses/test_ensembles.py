"""Ensemble defenses: trained and given members, adaptive attackers, and refused combinations."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.fake_services import told
from support.reference_ensembles import FUSIONS, NET, artifact, by_hand, newborn, pictures, score

from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.defenses.ensembles import EnsembleFile, FusedDefense, TrainedEnsemble
from frbench.harness.cli.main import main
from frbench.harness.config.checks import check_fields
from frbench.harness.core.contracts import Artifact, FitContext, Recognizer, Victim
from frbench.harness.core.errors import FrbenchError, Refused
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.core.verifiers import ComparerVerifier, CosineVerifier, lifted
from frbench.harness.recognizers.architecture_metadata import architecture_config
from frbench.harness.recognizers.fusion import Fusion
from frbench.harness.recognizers.initialization import Architecture
from frbench.harness.recognizers.metering import Meter, Metered, MeteredComparer
from frbench.harness.recognizers.weight_files import METADATA
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.threat_model.goals import Impersonation
from frbench.harness.threat_model.threats import Adaptive, Oblivious


@pytest.fixture
def several(linear: Callable) -> tuple[Recognizer, ...]:
    """Three linear recognizers of one width."""
    return tuple(replace(linear(seed=seed), name=f"m{seed}", digest=f"m{seed}") for seed in (1, 2, 3))


@dataclass(frozen=True)
class Drawn:
    """Networks as they are born, for a training; those of ``network`` None begin from the recognizer's and stay it."""

    network: Architecture | None = NET
    members: int = 3
    shared_head: bool = True

    @property
    def needs_recognizer(self) -> bool:
        return self.network is None

    def fit(self, context: FitContext) -> Artifact:
        raise AssertionError("it is fitted by hand")


def ensemble(fusion: Fusion = "mean", **recipe: Any) -> TrainedEnsemble:
    drawn = Drawn(**recipe)
    return TrainedEnsemble(None, drawn, fusion).fitted(artifact(drawn.members))  # type: ignore[arg-type]


@pytest.fixture
def other() -> Recognizer:
    """One that has nothing to do with the ensemble that takes its place."""
    return SimpleNamespace(name="other", differentiable=True, digest="other")  # type: ignore[return-value]


@pytest.mark.parametrize("fusion", FUSIONS)
@torch.no_grad()
def test_that_a_trained_ensemble_scores_by_its_members(fusion: Fusion, other: Recognizer) -> None:
    protected = ensemble(fusion).protect(CosineVerifier(other))
    probe, reference = pictures(seed=1), pictures(seed=2)
    found = score(protected, probe, reference)
    assert torch.allclose(found, by_hand(newborn(), probe, reference)[fusion], atol=1e-4)
    alone = torch.cat([score(protected, probe[row : row + 1], reference[row : row + 1]) for row in range(6)])
    assert torch.allclose(found, alone, atol=1e-6)
    assert torch.equal(score(protected, probe.flip(0), reference.flip(0)).flip(0), found)


def test_that_members_are_counted_where_the_recognizer_was(other: Recognizer) -> None:
    meter = Meter()
    (look,) = ensemble("min").relaxations(CosineVerifier(Metered(other, meter))).values()
    probe = pictures(4).requires_grad_(True)
    score(look, probe, pictures(4, seed=1)).sum().backward()
    assert (meter.forwards, meter.backwards) == (2 * 3 * 4, 3 * 4)
    assert probe.grad is not None and bool(torch.isfinite(probe.grad).all()) and probe.grad.abs().max() > 0


def test_that_each_fusion_is_known_by_itself_whatever_counts_it(other: Recognizer) -> None:
    looks = [ensemble(fusion).protect(CosineVerifier(Metered(other, Meter()))) for fusion in (*FUSIONS, "mean")]
    known = [fingerprint(look) for look in looks]
    assert len(set(known)) == 3
    assert known[0] == known[3]


def test_that_a_fine_tuned_ensemble_has_the_recognizers_network_and_preprocessing() -> None:
    mirrored = replace(NET, bgr=True)
    started = SimpleNamespace(name="start", differentiable=True, digest="start", module=lambda: mirrored.module(9))
    found = ensemble(network=None).protect(CosineVerifier(started))  # type: ignore[arg-type]
    flipped = by_hand(newborn(), pictures(seed=1).flip(1), pictures(seed=2).flip(1))["mean"]
    assert torch.allclose(score(found, pictures(seed=1), pictures(seed=2)), flipped, atol=1e-4)
    blind = SimpleNamespace(name="blind", differentiable=True, digest="blind")
    with pytest.raises(Refused, match="blind shows no network"):
        ensemble(network=None).protect(CosineVerifier(blind))  # type: ignore[arg-type]


def test_that_a_tracker_may_have_it_unless_it_has_no_vectors(other: Recognizer) -> None:
    for fusion in ("mean", "concat"):
        assert ensemble(fusion).replace_recognizer(other).embed(pictures(2)).shape == (
            2,
            16 if fusion == "mean" else 48,
        )
    with pytest.raises(Refused, match="fusion=min computes no embeddings"):
        ensemble("min").replace_recognizer(other)


def test_that_a_mean_over_spaces_that_differ_is_refused_in_one_line(other: Recognizer) -> None:
    with pytest.raises(FrbenchError, match="members with separate heads.*defense.fusion=concat") as error:
        ensemble("mean", shared_head=False).check_combination("defense")
    told(error)
    ensemble("concat", shared_head=False).check_combination("defense")
    ensemble("mean", shared_head=False, members=1).check_combination("defense")  # one space is no other's


def test_that_an_ensemble_that_is_not_fitted_says_how(other: Recognizer) -> None:
    unfitted = replace(ensemble(), artifact=None, option="adp")
    with pytest.raises(FrbenchError, match="run: frbench fit defense=adp$"):
        unfitted.protect(CosineVerifier(other))


@pytest.mark.parametrize("fusion", ["concat", "min"])
def test_that_the_attacker_who_differentiates_through_the_fusion_gets_further(
    fusion: Fusion, several: tuple[Recognizer, ...], batch: Callable
) -> None:
    """The recognizer that the oblivious attacker knows is itself a member."""
    pairs, goal, steps = batch(24, same=False), Impersonation(), ProjectedDescent(steps=40)
    defense = FusedDefense({each.name: each for each in several}, fusion)
    victim = Victim(CosineVerifier(several[0]), defense, lifted, lambda verifier: torch.full((24,), 0.3), seed=0)
    judge, gained = defense.protect(victim.verifier), {}
    for threat in (Oblivious(), Adaptive(include_oblivious=False)):
        (view,) = threat.views(victim).values()
        made = steps(view, pairs, goal, Linf(0.2)).images
        gained[type(threat)] = score(judge, made, pairs.reference)
    won = {threat: float((scores > 0.3).float().mean()) for threat, scores in gained.items()}
    assert won[Adaptive] > 0.9
    assert won[Oblivious] < (0.9 if fusion == "concat" else 0.2)
    assert gained[Adaptive].mean() > gained[Oblivious].mean() + 0.3


def test_that_any_recognizers_make_a_defense(several: tuple[Recognizer, ...], batch: Callable) -> None:
    pairs, meter = batch(), Meter()
    members = {each.name: each for each in several}
    defense = FusedDefense(members, "min")
    protected = defense.protect(CosineVerifier(Metered(several[0], meter)))
    found = score(protected, pairs.probe, pairs.reference)
    assert torch.allclose(found, by_hand(several, pairs.probe, pairs.reference)["min"], atol=1e-6)
    assert meter.forwards == 2 * 3 * 12
    assert fingerprint(defense) != fingerprint(replace(defense, fusion="concat"))
    assert replace(defense, fusion="concat").replace_recognizer(several[0]).embed(pairs.probe).shape == (12, 48)


def test_that_recognizers_trained_apart_have_no_mean(several: tuple[Recognizer, ...]) -> None:
    with pytest.raises(FrbenchError, match="separately trained.*defense.fusion=concat") as error:
        check_fields(FusedDefense({each.name: each for each in several}, "mean"), "defense")
    told(error)


def test_that_recognizers_trained_together_have_one(several: tuple[Recognizer, ...], batch: Callable) -> None:
    pairs, members = batch(), {each.name: each for each in several}
    protected = FusedDefense(members, "mean", shared_head=True).protect(CosineVerifier(several[0]))
    found = score(protected, pairs.probe, pairs.reference)
    assert torch.allclose(found, by_hand(several, pairs.probe, pairs.reference)["mean"], atol=1e-6)


def test_that_members_which_make_no_ensemble_are_refused(several: tuple[Recognizer, ...]) -> None:
    one, two, _ = several

    class Bank:
        name = "bank"

    wrong: dict[str, dict[str, Any]] = {
        "has 0 members.*recognizer@defense.members.a": {},
        "is a member twice": {"a": one, "b": two, "c": one},
        "bank gives no embeddings": {"a": one, "b": Bank()},
    }
    for words, members in wrong.items():
        with pytest.raises(FrbenchError, match=words) as error:
            FusedDefense(members).protect(CosineVerifier(one))
        told(error)


@pytest.mark.parametrize("defense", [ensemble(), FusedDefense({})], ids=["trained", "zoo"])
def test_that_a_service_has_no_place_for_it_to_take(defense: Any) -> None:
    bank = SimpleNamespace(name="bank", differentiable=False, random=False, digest="bank")
    verifier = ComparerVerifier(MeteredComparer(bank, Meter()))  # type: ignore[arg-type]
    for use in (defense.protect, defense.relaxations):
        with pytest.raises(Refused, match="only compares two images"):
            use(verifier)


def test_that_the_command_line_puts_recognizers_together(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = [
        *(
            "run",
            "dataset.people=30",
            "dataset.photos_per_person=2",
            "dataset.pairs=20",
            "attack=fgsm",
            "threat=adaptive",
        ),
        *("defense=zoo_ensemble", "+recognizer@defense.members.a=tiny", "+recognizer@defense.members.b=tiny"),
        *("defense.members.b.bgr=true", "device=cpu", "budget=linf_8"),
        *(f"paths.{name}={tmp_path / name}" for name in ("data", "results")),
    ]
    code = main(words)
    assert code == 0, capfd.readouterr()
    (record,) = ResultStore(tmp_path / "results").records()
    assert record["names"]["defense"] == "zoo_ensemble(tiny+tiny)"
    assert record["settings"] == {
        "dataset.people": 30,
        "dataset.pairs": 20,
        "dataset.photos_per_person": 2,
        "defense.members.b.bgr": True,
    }
    assert record["card"]["forwards"] > 0


def test_that_a_file_of_networks_is_fused_by_the_head_that_it_names(other: Recognizer, tmp_path: Path) -> None:
    tensors = {name: each.clone() for name, each in artifact().tensors.items()}
    probe, reference = pictures(seed=1), pictures(seed=2)
    for shared_head, fusion in ((True, "mean"), (False, "concat")):
        file = tmp_path / f"{fusion}.safetensors"
        facts = {"architecture": architecture_config(NET), "shared_head": shared_head}
        save_file(tensors, file, {METADATA: json.dumps(facts)})
        defense = EnsembleFile(str(file))
        found = score(defense.protect(CosineVerifier(other)), probe, reference)
        assert torch.allclose(found, by_hand(newborn(), probe, reference)[fusion], atol=1e-4)
        moved = file.rename(tmp_path / f"moved_{fusion}.safetensors")
        assert fingerprint(EnsembleFile(str(moved))) == fingerprint(defense), "a path is no part of a key"
        name = next(iter(tensors))
        changed = tmp_path / f"changed_{fusion}.safetensors"
        save_file({**tensors, name: tensors[name] + 1}, changed, {METADATA: json.dumps(facts)})
        assert fingerprint(EnsembleFile(str(changed))) != fingerprint(defense), "the weights are"
    with pytest.raises(FrbenchError, match="defense.fusion=concat or min"):
        EnsembleFile(str(moved), "mean").protect(CosineVerifier(other))
