"""Training of one recognizer and of several: they learn, diversity makes them differ, and resumption is exact."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from support.toy_learners import lesson, network, people
from support.toy_recipes import FACES, RECIPES, SCHEDULE, SINGLE
from torch import Tensor, nn
from torch.nn.functional import normalize

from frbench.harness.core.contracts import Artifact, Images
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import PairSet
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.metrics.verification import kfold_accuracy
from frbench.harness.recognizers.initialization import load_member
from frbench.harness.recognizers.preprocessing import unit_length
from frbench.harness.recognizers.trainable import NetworkWithPreprocessing
from frbench.harness.training import loop as training
from frbench.harness.training import recognizer_learner as students
from frbench.harness.training.ensemble_recipe import EnsembleRecipe, _Ensemble
from frbench.harness.training.learner import Monitored
from frbench.harness.training.losses.diversity import pairwise_cosine


@cache
def trained(name: str) -> Artifact:
    with TemporaryDirectory() as folder:
        return RECIPES[name].fit(lesson(FACES, Path(folder) / "unfinished"))


def under(artifact: Artifact, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): each for name, each in artifact.items() if name.startswith(prefix)}


def same(one: Artifact, other: Artifact) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@dataclass(frozen=True)
class AtHand:
    """A recognizer that shows its network."""

    name: str = "at hand"
    differentiable: bool = True
    digest: str = "at hand"

    def embed(self, images: Images) -> Tensor:
        return unit_length(self.module()(images))

    def module(self) -> nn.Module:
        return network().module(99).eval()


@pytest.mark.parametrize("name", RECIPES)
def test_people_are_told_apart_in_the_end(name: str) -> None:
    made, recipe = trained(name), RECIPES[name]
    accuracy = made["history/accuracy"]
    assert len(accuracy) == SCHEDULE.epochs
    assert float(accuracy[-1]) > 0.9 > 0.6 > float(accuracy[0]), "chance is 1 in 12"
    assert float(made["history/classification"][-1]) < 0.5 * float(made["history/classification"][0])
    assert made["diagnosis/tilt"].shape == (recipe.members,)
    heads = under(made, "heads.")
    assert len(heads) == (1 if recipe.shared_head else 3)
    assert all(head.shape == (12, 16) for head in heads.values())
    assert {name.split(".")[1] for name in made if name.startswith("members.")} == set(map(str, range(recipe.members)))
    assert all(bool(torch.isfinite(each).all()) for each in made.values())


def test_diversity_makes_members_differ_where_a_shared_head_alone_does_not() -> None:
    apart, together = trained("diverse"), trained("shared_head")
    assert float(apart["diagnosis/cosine"]) < float(together["diagnosis/cosine"]) - 0.2
    assert float(trained("diverse_residual_cos")["diagnosis/cosine"]) < float(together["diagnosis/cosine"])
    assert float(apart["history/diversity_value"][-1]) < float(apart["history/diversity_value"][0])
    tilts = apart["diagnosis/tilt"]
    assert float(tilts.mean()) == pytest.approx(54.7, abs=4), "the finite greatest volume"
    assert tilts.tolist() == pytest.approx([54.7] * 3, abs=8), "none is given up"


def test_members_with_a_head_each_look_diverse_and_are_not() -> None:
    for name in ("diverse_separate_heads", "naive_ensemble"):
        made = trained(name)
        assert abs(float(made["diagnosis/cosine"])) < 0.1
        assert float(made["diagnosis/rotated_cosine"]) > 0.7
    shared = trained("diverse")
    assert float(shared["diagnosis/rotated_cosine"]) == pytest.approx(float(shared["diagnosis/cosine"]), abs=1e-5)


def test_the_diagnosis_is_of_the_networks_as_they_are_used() -> None:
    made = trained("diverse")
    images = FACES.load(np.arange(len(FACES.images)))
    with torch.no_grad():
        embeddings = [unit_length(load_member(network().module(0), made, k).eval()(images)) for k in range(3)]
    stacked = torch.stack(embeddings, dim=1)
    assert float(made["diagnosis/cosine"]) == pytest.approx(float(pairwise_cosine(stacked).mean()), abs=1e-5)
    rows = normalize(made["heads.0"], dim=1)[torch.from_numpy(FACES.identity)]
    angles = (stacked * rows[:, None]).sum(dim=2).acos().rad2deg().mean(dim=0)
    assert torch.allclose(made["diagnosis/tilt"], angles, atol=1e-2)


def learner(recipe: EnsembleRecipe, unfinished: Path = Path("unused")) -> _Ensemble:
    context = lesson(FACES, unfinished)
    return _Ensemble([recipe.initial_network(context, k) for k in range(recipe.members)], recipe, context).train()


def test_a_shared_head_is_one_tensor() -> None:
    shared, own = learner(RECIPES["diverse"]), learner(RECIPES["adp"])
    assert len(shared.heads) == 1 and len(own.heads) == 3
    assert shared.class_centers().shape == (1, 12, 16) and own.class_centers().shape == (3, 12, 16)
    inside = {name.split(".")[0] for name, _ in shared.named_parameters()}
    assert inside == {"members", "heads"}
    assert sum(each.shape == (12, 16) for each in shared.parameters()) == 1
    assert len({each.data_ptr() for each in own.heads}) == 3
    loss, _ = shared.loss(FACES.load(np.arange(24)), torch.arange(24), torch.Generator())
    loss.backward()
    assert shared.heads[0].grad is not None and bool((shared.heads[0].grad != 0).any())


def test_members_begin_apart_and_the_first_as_if_it_were_alone() -> None:
    three, one = learner(RECIPES["naive_ensemble"]), learner(SINGLE)
    first, second, third = (dict(each.named_parameters()) for each in three.members)
    alone = dict(one.members[0].named_parameters())
    assert all(torch.equal(each, alone[name]) for name, each in first.items())
    assert not torch.equal(first["network.end.weight"], second["network.end.weight"])
    assert not torch.equal(second["network.end.weight"], third["network.end.weight"])
    assert torch.equal(three.heads[0], one.heads[0])


def test_a_naive_ensembles_first_member_is_to_the_last_bit_the_one_trained_alone(tmp_path: Path) -> None:
    """Gradients are far longer than they may be; shortened together, each would go slower than by itself."""
    schedule = replace(SCHEDULE, epochs=2, grad_clip_norm=0.05)
    alone = replace(SINGLE, schedule=schedule).fit(lesson(FACES, tmp_path / "one"))
    together = replace(RECIPES["naive_ensemble"], schedule=schedule).fit(lesson(FACES, tmp_path / "three"))
    first = under(together, "members.0.")
    assert same(under(alone, "members.0."), first)
    assert not same(under(together, "members.1."), first)
    assert torch.equal(alone["heads.0"], together["heads.0"])
    free = replace(SINGLE, schedule=replace(schedule, grad_clip_norm=None)).fit(lesson(FACES, tmp_path / "free"))
    assert not same(under(free, "members.0."), first), "nothing was shortened"


def test_a_shared_head_is_shortened_apart_from_the_members() -> None:
    made = learner(RECIPES["diverse"])
    sizes = [sum(each.numel() for each in part) for part in made.parameter_groups()]
    assert sizes == [*[sum(each.numel() for each in member.parameters()) for member in made.members], 12 * 16]


def test_the_margin_is_that_of_the_epoch() -> None:
    made = learner(replace(SINGLE, flip=False))
    images, rows = FACES.load(np.arange(24)), torch.arange(24)

    def cost(steps: int) -> float:
        made.after_step(steps)
        return float(made.loss(images, rows, torch.Generator())[0].detach())

    first, second, third = (cost(each * made.per_epoch) for each in (0, 1, 2))
    assert first == pytest.approx(second) and third > first + 0.5, "0.1 for two epochs, then 0.3"


def test_a_naive_ensemble_gives_each_member_the_gradient_that_it_would_have_alone() -> None:
    recipe = replace(RECIPES["naive_ensemble"], flip=False)
    three, one = learner(recipe), learner(replace(SINGLE, flip=False))
    for each in (three, one):
        each.loss(FACES.load(np.arange(24)), torch.arange(24), torch.Generator())[0].backward()
    for member, alone in zip(three.members[0].parameters(), one.members[0].parameters(), strict=True):
        assert member.grad is not None and alone.grad is not None
        assert torch.allclose(member.grad, alone.grad, atol=1e-6)


def test_what_is_logged_of_a_step() -> None:
    step = FACES.load(np.arange(24)), torch.arange(24), torch.Generator()
    loss, figures = learner(RECIPES["diverse"]).loss(*step)
    wanted = {"classification", "accuracy", "diversity_value", "diversity_raised", "cosine", "tilt"}
    assert figures.keys() == wanted and not any(figures[name].requires_grad for name in ("cosine", "tilt", "accuracy"))
    assert float(loss.detach()) == pytest.approx(float(figures["classification"].detach())), "the weight begins at zero"
    half = learner(RECIPES["diverse"])
    half.after_step(3)  # of sixty: half of the first tenth
    loss, figures = half.loss(*step)
    added = loss - figures["classification"]
    assert float(added.detach()) == pytest.approx(0.25 * float(figures["diversity_value"].detach()), rel=1e-4)
    assert learner(SINGLE).loss(*step)[1].keys() == {"classification", "accuracy", "tilt"}
    assert set(learner(RECIPES["adp"]).loss(*step)[1]) >= {"adp_entropy", "adp_log_volume", "adp_raised"}


def test_half_of_the_faces_are_mirrored_and_for_all_members_alike() -> None:
    images, seen = FACES.load(np.arange(100)), []
    students_ = learner(RECIPES["diverse"])
    for member in students_.members:
        member.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    students_.loss(images, torch.arange(100), torch.Generator().manual_seed(0))
    turned = (seen[0] == images.flip(3)).flatten(1).all(dim=1)
    assert 30 < int(turned.sum()) < 70
    assert torch.equal(seen[0][~turned], images[~turned])
    assert all(torch.equal(each, seen[0]) for each in seen)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["diverse", "adp"])
def test_heads_and_losses_are_in_single_precision_under_autocast(name: str) -> None:
    students_ = learner(RECIPES[name])
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = students_.loss(FACES.load(np.arange(24)), torch.arange(24), torch.Generator())
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(each.grad is not None and torch.isfinite(each.grad).all() for each in students_.parameters())
    exact, _ = learner(RECIPES[name]).loss(FACES.load(np.arange(24)), torch.arange(24), torch.Generator())
    assert float(loss.detach()) == pytest.approx(float(exact.detach()), rel=0.05) and not torch.equal(loss, exact)


SHORT = replace(RECIPES["diverse"], members=2, schedule=replace(SCHEDULE, epochs=7))


@cache
def trained_without_a_stop() -> Artifact:
    with TemporaryDirectory() as folder:
        return SHORT.fit(lesson(FACES, Path(folder) / "unfinished"))


@pytest.mark.parametrize("stop_after", [1, 4, 9, 10, 34])
def test_what_was_stopped_goes_on_to_the_same_bits(
    stop_after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_CHECKPOINT_SECONDS", 0.0)
    whole = trained_without_a_stop()
    go_on = students.RecognizerLearner.after_step

    def stop(self: students.RecognizerLearner, steps: int) -> None:
        if steps == stop_after:
            raise KeyboardInterrupt
        go_on(self, steps)

    unfinished = tmp_path / "stopped.unfinished"
    monkeypatch.setattr(students.RecognizerLearner, "after_step", stop)
    with pytest.raises(KeyboardInterrupt):
        SHORT.fit(lesson(FACES, unfinished))
    monkeypatch.setattr(students.RecognizerLearner, "after_step", go_on)
    assert unfinished.exists() == (stop_after > 1)
    assert same(SHORT.fit(lesson(FACES, unfinished)), whole)


def test_fine_tuned_members_share_all_but_a_freshly_drawn_end() -> None:
    context = lesson(FACES, Path("unused"), recognizer=AtHand())
    recipe = replace(RECIPES["diverse"], network=None)
    assert recipe.needs_recognizer and not SINGLE.needs_recognizer
    begun = [dict(recipe.initial_network(context, k).named_parameters()) for k in range(3)]
    known = dict(AtHand().module().named_parameters())
    ends = {"network.end.weight", "network.end.bias"}
    for one in begun:
        assert {name for name, each in one.items() if not torch.equal(each, known[name])} == ends
    assert not torch.equal(begun[0]["network.end.weight"], begun[1]["network.end.weight"])
    alone = dict(replace(SINGLE, network=None).initial_network(context, 0).named_parameters())
    assert torch.equal(alone["network.end.weight"], begun[0]["network.end.weight"]), "a single one is treated alike"


def test_a_fine_tuned_ensemble_learns(tmp_path: Path) -> None:
    recipe = replace(RECIPES["diverse"], network=None)
    made = recipe.fit(lesson(FACES, tmp_path / "unfinished", recognizer=AtHand()))
    assert float(made["history/accuracy"][-1]) > 0.9
    module = load_member(AtHand().module(), made, 2)
    assert isinstance(module, NetworkWithPreprocessing)


@dataclass(frozen=True)
class Pairs:
    """Every face with the next of the same person, and with one of the next person."""

    opened: list[Path]
    name: str = "pairs"

    def open(self, cache: Path) -> PairSet:
        self.opened.append(cache)
        faces, number = people(seed=0, shots=10), np.arange(120)
        same = number % 2 == 0
        other = np.where(same, number // 10 * 10 + (number + 1) % 10, (number + 10) % 120)
        none = np.zeros(120, np.int64)
        return PairSet("pairs", faces.images, number, other, none, same, number % 10, faces.identity, number, "pairs")


def test_validation_is_logged_by_member_and_changes_nothing(tmp_path: Path) -> None:
    pairs = Pairs([])
    recipe = replace(
        RECIPES["diverse"], schedule=replace(SCHEDULE, epochs=5), validation={"toy": pairs}, val_every_n_epochs=2
    )
    made = recipe.fit(lesson(FACES, tmp_path / "unfinished", cache=tmp_path))
    assert pairs.opened == [tmp_path], "opened once"
    told = under(made, "history/toy")
    assert {name: len(each) for name, each in told.items()} == dict.fromkeys(("", "_0", "_1", "_2"), 3)
    opened = pairs.open(tmp_path)
    with torch.no_grad():
        images = opened.load(np.arange(120))
        embeddings = torch.stack(
            [unit_length(load_member(network().module(0), made, k).eval()(images)) for k in range(3)]
        )
    cosines = (embeddings[:, opened.probe] * embeddings[:, opened.reference]).sum(dim=2)
    for name, scores in {"": cosines.mean(dim=0), "_1": cosines[1]}.items():
        wanted = 100 * kfold_accuracy(scores.numpy(), opened.same, opened.fold).accuracy
        assert float(told[name][-1]) == pytest.approx(wanted, abs=1.0)
    plain = replace(recipe, validation={}).fit(lesson(FACES, tmp_path / "plain.unfinished"))
    assert same({name: each for name, each in made.items() if not name.startswith("history/toy")}, plain)
    assert fingerprint(recipe) == fingerprint(replace(recipe, validation={}, val_every_n_epochs=1))
    assert isinstance(learner(recipe), Monitored)
    with pytest.raises(FrbenchError, match="set context.cache"):
        recipe.fit(lesson(FACES, tmp_path / "without.unfinished"))
