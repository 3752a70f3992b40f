"""Training of one recognizer and of several: they learn, diversity makes them differ, and resumption is exact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hydra
import numpy as np
import pytest
import torch
from learnable import lesson, network, people
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn.functional import normalize

import frbench.conf
from frbench.harness import students, training
from frbench.harness.contracts import Artifact, Images
from frbench.harness.ensemble_training import EnsembleRecipe, _Ensemble
from frbench.harness.errors import FrbenchError
from frbench.harness.faces import FaceSet, PairSet
from frbench.harness.fingerprints import fingerprint
from frbench.harness.identities import person_numbers
from frbench.harness.learning import Observed
from frbench.harness.metrics import kfold_accuracy
from frbench.harness.objectives.adp import Adp
from frbench.harness.objectives.diversity import Diversity, pairwise_cosine
from frbench.harness.objectives.margins import ArcFace
from frbench.harness.recognizers.preprocessing import unit_length
from frbench.harness.recognizers.untrained import load_member
from frbench.harness.recognizers.whole import WholeNetwork
from frbench.harness.training import Schedule

FACES = people()
SCHEDULE = Schedule(12, 24, 0.05, curve="cosine", weight_decay=1e-4, clip=5.0)  # 5 steps an epoch
SINGLE = EnsembleRecipe(ArcFace(16, 0.3, first=0.1, first_epochs=2), SCHEDULE, network())
THREE = replace(SINGLE, members=3)
RECIPES: dict[str, EnsembleRecipe] = {
    "single": SINGLE,
    "naive_ensemble": replace(THREE, shared=False, classify="sum"),
    "shared_w": replace(THREE, classify="mean"),
    "diverse": replace(THREE, classify="mean", terms={"diversity": Diversity()}),
    "diverse_b": replace(THREE, classify="member", terms={"diversity": Diversity("res_cos", 1.0)}),
    "div_noshare": replace(THREE, shared=False, classify="member", terms={"diversity": Diversity()}),
    "adp": replace(THREE, shared=False, classify="sum", terms={"adp": Adp(scale=16.0)}),
}


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
    assert len(heads) == (1 if recipe.shared else 3)
    assert all(head.shape == (12, 16) for head in heads.values())
    assert {name.split(".")[1] for name in made if name.startswith("members.")} == set(map(str, range(recipe.members)))
    assert all(bool(torch.isfinite(each).all()) for each in made.values())


def test_diversity_makes_members_differ_where_a_shared_head_alone_does_not() -> None:
    apart, together = trained("diverse"), trained("shared_w")
    assert float(apart["diagnosis/cosine"]) < float(together["diagnosis/cosine"]) - 0.2
    assert float(trained("diverse_b")["diagnosis/cosine"]) < float(together["diagnosis/cosine"])
    assert float(apart["history/diversity_value"][-1]) < float(apart["history/diversity_value"][0])
    assert apart["diagnosis/tilt"].tolist() == pytest.approx([54.7] * 3, abs=6), "the finite greatest volume"


def test_members_with_a_head_each_look_diverse_and_are_not() -> None:
    for name in ("div_noshare", "naive_ensemble"):
        made = trained(name)
        assert abs(float(made["diagnosis/cosine"])) < 0.1
        assert float(made["diagnosis/rotated_cosine"]) > 0.7
    shared = trained("diverse")
    assert float(shared["diagnosis/rotated_cosine"]) == pytest.approx(float(shared["diagnosis/cosine"]), abs=1e-5)


def test_the_diagnosis_is_of_the_networks_as_they_are_used() -> None:
    made = trained("diverse")
    images = FACES.load(np.arange(len(FACES.images)))
    with torch.no_grad():
        units = [unit_length(load_member(network().module(0), made, k).eval()(images)) for k in range(3)]
    stacked = torch.stack(units, dim=1)
    assert float(made["diagnosis/cosine"]) == pytest.approx(float(pairwise_cosine(stacked).mean()), abs=1e-5)
    rows = normalize(made["heads.0"], dim=1)[torch.from_numpy(FACES.identity)]
    angles = (stacked * rows[:, None]).sum(dim=2).acos().rad2deg().mean(dim=0)
    assert torch.allclose(made["diagnosis/tilt"], angles, atol=1e-2)


def learner(recipe: EnsembleRecipe, unfinished: Path = Path("unused")) -> _Ensemble:
    context = lesson(FACES, unfinished)
    return _Ensemble([recipe.beginning(context, k) for k in range(recipe.members)], recipe, context).train()


def test_a_shared_head_is_one_tensor() -> None:
    shared, own = learner(RECIPES["diverse"]), learner(RECIPES["adp"])
    assert len(shared.heads) == 1 and len(own.heads) == 3
    assert shared.centres().shape == (1, 12, 16) and own.centres().shape == (3, 12, 16)
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
    half.stepped(3)  # of sixty: half of the first tenth
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


@pytest.mark.parametrize("stop_after", [1, 4, 9, 10, 34])
def test_what_was_stopped_goes_on_to_the_same_bits(
    stop_after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_KEEP_SECONDS", 0.0)
    recipe = replace(RECIPES["diverse"], members=2, schedule=replace(SCHEDULE, epochs=7))
    whole = recipe.fit(lesson(FACES, tmp_path / "whole.unfinished"))
    go_on = students.Students.stepped

    def stop(self: students.Students, steps: int) -> None:
        if steps == stop_after:
            raise KeyboardInterrupt
        go_on(self, steps)

    unfinished = tmp_path / "stopped.unfinished"
    monkeypatch.setattr(students.Students, "stepped", stop)
    with pytest.raises(KeyboardInterrupt):
        recipe.fit(lesson(FACES, unfinished))
    monkeypatch.setattr(students.Students, "stepped", go_on)
    assert unfinished.exists() == (stop_after > 1)
    assert same(recipe.fit(lesson(FACES, unfinished)), whole)


def test_fine_tuned_members_share_all_but_a_freshly_drawn_end() -> None:
    context = lesson(FACES, Path("unused"), recognizer=AtHand())
    recipe = replace(RECIPES["diverse"], network=None)
    assert recipe.needs_recognizer and not SINGLE.needs_recognizer
    begun = [dict(recipe.beginning(context, k).named_parameters()) for k in range(3)]
    known = dict(AtHand().module().named_parameters())
    ends = {"network.end.weight", "network.end.bias"}
    for one in begun:
        assert {name for name, each in one.items() if not torch.equal(each, known[name])} == ends
    assert not torch.equal(begun[0]["network.end.weight"], begun[1]["network.end.weight"])
    alone = dict(replace(SINGLE, network=None).beginning(context, 0).named_parameters())
    assert torch.equal(alone["network.end.weight"], begun[0]["network.end.weight"]), "a single one is treated alike"


def test_a_fine_tuned_ensemble_learns(tmp_path: Path) -> None:
    recipe = replace(RECIPES["diverse"], network=None)
    made = recipe.fit(lesson(FACES, tmp_path / "unfinished", recognizer=AtHand()))
    assert float(made["history/accuracy"][-1]) > 0.9
    module = load_member(AtHand().module(), made, 2)
    assert isinstance(module, WholeNetwork)


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
    recipe = replace(RECIPES["diverse"], schedule=replace(SCHEDULE, epochs=5), validation={"toy": pairs}, every=2)
    made = recipe.fit(lesson(FACES, tmp_path / "unfinished", cache=tmp_path))
    assert pairs.opened == [tmp_path], "opened once"
    told = under(made, "history/toy")
    assert {name: len(each) for name, each in told.items()} == dict.fromkeys(("", "_0", "_1", "_2"), 3)
    opened = pairs.open(tmp_path)
    with torch.no_grad():
        images = opened.load(np.arange(120))
        units = torch.stack([unit_length(load_member(network().module(0), made, k).eval()(images)) for k in range(3)])
    cosines = (units[:, opened.probe] * units[:, opened.reference]).sum(dim=2)
    for name, scores in {"": cosines.mean(dim=0), "_1": cosines[1]}.items():
        wanted = 100 * kfold_accuracy(scores.numpy(), opened.same, opened.fold).accuracy
        assert float(told[name][-1]) == pytest.approx(wanted, abs=1.0)
    plain = replace(recipe, validation={}).fit(lesson(FACES, tmp_path / "plain.unfinished"))
    assert same({name: each for name, each in made.items() if not name.startswith("history/toy")}, plain)
    assert fingerprint(recipe) == fingerprint(replace(recipe, validation={}, every=1))
    assert isinstance(learner(recipe), Observed)
    with pytest.raises(FrbenchError, match="cache is missing"):
        recipe.fit(lesson(FACES, tmp_path / "without.unfinished"))


def with_people(identity: np.ndarray, names: int) -> FaceSet:
    return replace(FACES, identity=identity, people=tuple(f"person {number}" for number in range(names)))


@pytest.mark.parametrize(
    ("faces", "words"),
    [
        (with_people(np.zeros(120, np.int64), 1), "shows 1 person: there must be two or more"),
        (with_people(np.repeat([0, 1, 3, 4], 30), 5), "person 2 has no face"),
        (with_people(np.repeat([0, 1, 2, 3], 30), 5), "names 5 people and shows 4: person 4 has no face"),
        (with_people(np.repeat([-1, 0, 1, 2], 30), 3), "30 faces of people it does not name"),
    ],
    ids=["one person", "an empty class", "the last class empty", "nobody"],
)
def test_faces_that_are_no_classes_are_refused_in_one_line(faces: FaceSet, words: str, tmp_path: Path) -> None:
    with pytest.raises(FrbenchError, match=words) as error:
        SINGLE.fit(lesson(faces, tmp_path / "unfinished"))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "unfinished").exists()


def test_people_are_numbered_without_gaps() -> None:
    faces = replace(FACES, identity=np.repeat([7, 3, 9, 4], 30), people=())
    assert person_numbers(faces).tolist() == np.repeat([2, 0, 3, 1], 30).tolist()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: replace(RECIPES["diverse"], shared=False), "no coordinates in common; set shared=true"),
        (lambda: replace(RECIPES["shared_w"], shared=False, classify="both"), "no coordinates in common"),
        (lambda: replace(RECIPES["diverse"], members=1), "diversity: one member has none to differ from"),
        (lambda: replace(SINGLE, members=0), "members=0"),
        (lambda: replace(SINGLE, classify="best"), "mean, member, sum, both"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(FrbenchError, match=words) as error:
        make()
    assert "\n" not in str(error.value)


def test_fine_tuning_needs_a_recognizer_that_shows_its_network() -> None:
    recipe = replace(SINGLE, network=None)
    with pytest.raises(FrbenchError, match="nothing to train"):
        recipe.fit(lesson(FACES, Path("unused")))


def test_the_state_of_another_architecture_is_refused_and_kept(tmp_path: Path) -> None:
    unfinished = tmp_path / "unfinished"
    short = replace(SINGLE, schedule=replace(SCHEDULE, epochs=1))
    short.fit(lesson(FACES, unfinished))
    before = unfinished.read_bytes()
    with pytest.raises(FrbenchError) as error:
        replace(short, network=network(8)).fit(lesson(FACES, unfinished))
    assert "\n" not in str(error.value)
    assert unfinished.read_bytes() == before


CONF = Path(frbench.conf.__file__).parent
TRAININGS = sorted(path.stem for path in (CONF / "training").glob("*.yaml"))
NETWORKS = sorted(path.stem for path in (CONF / "network").glob("*.yaml"))


@cache
def composed(*words: str) -> Any:
    with hydra.initialize_config_module("frbench.conf", version_base="1.3"):
        whole = hydra.compose("run", list(words)).training
    return hydra.utils.instantiate(OmegaConf.to_container(whole, resolve=True), _convert_="all")


@pytest.mark.parametrize("name", TRAININGS)
def test_every_training_option_builds_and_is_known_by_its_values(name: str) -> None:
    recipe = composed(f"training={name}")
    assert fingerprint(recipe) == fingerprint(composed(f"training={name}", "training.validation=null"))
    assert fingerprint(recipe) != fingerprint(composed(f"training={name}", "training.schedule.rate=0.013"))
    assert recipe.schedule.weight_decay and recipe.schedule.clip == 5.0 and not recipe.needs_recognizer


def test_the_small_training_options_are_those_that_are_compared() -> None:
    assert {name: type(composed(f"training={name}")).__name__ for name in TRAININGS} == {
        **dict.fromkeys(TRAININGS, "EnsembleRecipe"),
        "advt": "MterRecipe",
    }
    for name, recipe in RECIPES.items():
        made = composed(f"training={name}")
        assert (made.members, made.shared, made.classify) == (recipe.members, recipe.shared, recipe.classify)
        assert {key: type(term) for key, term in made.terms.items()} == {
            key: type(term) for key, term in recipe.terms.items()
        }
    begun, further = composed("training=single"), composed("training=advt")
    assert fingerprint(further.start) == fingerprint(begun), "the single recognizer that is trained anyway"
    assert further.schedule.epochs * 10 == begun.schedule.epochs
    assert fingerprint(begun) != fingerprint(composed("training=single", "training.network.make.width=0.25"))
    assert composed("training=single", "training.network=null").needs_recognizer


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_option_embeds_faces(name: str) -> None:
    network_ = composed("training=single", f"network@training.network={name}").network
    with torch.device("meta"):
        assert network_.make().eval()(torch.zeros(2, 3, 112, 112)).shape in ((2, 128), (2, 512))
    assert fingerprint(network_)
