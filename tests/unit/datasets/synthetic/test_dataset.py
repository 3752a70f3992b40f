"""Synthetic people: the renderer is a pure function, and the sets made of it keep the protocol's promises."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from skimage.transform import estimate_transform

import frbench.conf
from frbench.datasets.io.image_store import Stack
from frbench.datasets.synthetic import dataset as synthetic
from frbench.datasets.synthetic import render as rendering
from frbench.datasets.synthetic import shape as synthetic_shape
from frbench.datasets.synthetic.dataset import Synthetic, SyntheticFaces
from frbench.datasets.synthetic.render import render
from frbench.datasets.synthetic.traits import PERSON, person_traits, shot_circumstances
from frbench.harness.config import build
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import PairSet
from frbench.harness.metrics.verification import auc

CONF = Path(frbench.conf.__file__).parent
SMALL = {"people": 30, "photos_per_person": 3, "pairs": 60}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def faces(cache: Path) -> PairSet:
    return Synthetic(**SMALL).open(cache)


@pytest.fixture
def blank(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rendering: black photographs."""
    monkeypatch.setattr(synthetic, "_photographs", black)


def black(name: str, people_seed: int, people: int, shots: int, cache: Path) -> Stack:
    return Stack(images=np.zeros((people * shots, 1, 1, 3), np.uint8), tables={}, digest=f"{people_seed}")


def test_that_a_photograph_does_not_depend_on_what_is_rendered_with_it() -> None:
    person, shot = np.arange(11), np.arange(11) % 4
    together = render(5, person, shot)
    some = np.array([7, 2, 2, 10])
    np.testing.assert_array_equal(render(5, person[some], shot[some]), together[some])


def test_that_a_photograph_does_not_depend_on_the_number_of_threads() -> None:
    threads = torch.get_num_threads()
    person, shot = np.arange(9), np.zeros(9, int)
    try:
        torch.set_num_threads(1)
        one = render(5, person, shot)
        torch.set_num_threads(3)
        np.testing.assert_array_equal(render(5, person, shot), one)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_that_seed_person_and_shot_each_change_the_photograph() -> None:
    images = render(5, np.array([0, 1, 0]), np.array([0, 0, 1])).astype(int)
    other_seed = render(6, np.array([0]), np.array([0])).astype(int)
    for other in (images[1], images[2], other_seed[0]):
        assert np.abs(images[0] - other).mean() > 5


def test_that_traits_are_the_same_in_all_shots_of_a_person() -> None:
    traits = vars(person_traits(5, torch.tensor([3, 8, 3])))
    assert set(PERSON) <= set(traits)
    for name, value in traits.items():
        assert value.shape == (3, 1, 1), name
        assert value[0] == value[2], name


def test_that_all_light_is_finite_for_many_people() -> None:
    person = torch.arange(48)
    shot = torch.arange(48) % 5
    p, s = person_traits(9, person), shot_circumstances(9, person, shot)
    light = rendering._photograph(p, s, torch.zeros(48, 5, 48, 48), torch.ones(48, 3, 112, 112))
    assert torch.isfinite(light).all()
    assert light.min() >= 0


def test_that_photographs_use_the_range_without_clipping_much_of_it() -> None:
    images = render(9, np.arange(48), np.zeros(48, int))
    assert (images == 255).mean() < 0.05
    assert (images == 0).mean() < 0.05
    assert images.std(axis=(1, 2, 3)).min() > 10


def test_that_faces_are_aligned_as_the_least_squares_similarity_of_scikit_image_says() -> None:
    person = torch.arange(6)
    p, s = person_traits(9, person), shot_circumstances(9, person, person)
    s.jitter_x = s.jitter_y = s.jitter_turn = torch.zeros_like(s.yaw)
    s.jitter_scale = torch.ones_like(s.yaw)
    r = synthetic_shape.rays(p, s)
    for i in range(len(person)):
        points = np.stack([c[i, :, 0].numpy() for c in synthetic_shape._landmarks(p, s)])
        yaw, pitch = s.yaw[i].item(), s.pitch[i].item()
        turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        nod = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
        seen = (nod @ turn @ points)[:2].T
        to_pixels = estimate_transform("similarity", seen, np.array(synthetic_shape.TEMPLATE))
        origins = np.stack([r.x[i, 20, 90], r.y[i, 20, 90], r.z[i, 20, 90]])
        np.testing.assert_allclose(to_pixels((nod @ turn @ origins)[None, :2])[0], (90, 20), atol=0.02)


def test_that_eyes_and_mouths_lie_where_the_template_has_them() -> None:
    """The darkest of an eye (its pupil) and the reddest of a mouth, averaged over people."""
    images = render(9, np.arange(80), np.zeros(80, int)).astype(float)
    gray = images.mean(axis=(0, 3))
    red = (images[..., 0] - images[..., 1:].mean(axis=-1)).mean(axis=0)
    left = np.unravel_index(gray[42:62, 28:49].argmin(), (20, 21))
    right = np.unravel_index(gray[42:62, 63:84].argmin(), (20, 21))
    assert np.hypot(42 + left[0] - 51.7, 28 + left[1] - 38.3) < 4
    assert np.hypot(42 + right[0] - 51.5, 63 + right[1] - 73.5) < 4
    assert abs(85 + red[85:104, 52:60].mean(axis=1).argmax() - 92.3) < 6


@settings(max_examples=30)
@given(group=st.integers(3, 9), shots=st.integers(2, 5), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_that_pairs_are_balanced_distinct_and_no_person_is_in_two_folds(
    group: int, shots: int, share: float, seed: int
) -> None:
    most = min(group * shots * (shots - 1) // 2, group * ((group - 1) // 2) * shots**2)
    each = max(1, round(share * most))
    source = Synthetic(people=10 * group, photos_per_person=shots, pairs=20 * each, people_seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "_photographs", black)
        opened = source.open(Path("unused"))
    person = opened.identity
    probe, reference = person[opened.probe], person[opened.reference]
    np.testing.assert_array_equal(probe == reference, opened.same)
    np.testing.assert_array_equal(np.bincount(opened.fold[opened.same]), [each] * 10)
    np.testing.assert_array_equal(np.bincount(opened.fold[~opened.same]), [each] * 10)
    np.testing.assert_array_equal(probe // group, opened.fold)
    np.testing.assert_array_equal(reference // group, opened.fold)
    images = {frozenset(pair) for pair in zip(opened.probe.tolist(), opened.reference.tolist(), strict=True)}
    assert len(images) == len(opened)
    assert all(len(pair) == 2 for pair in images)
    decoy = person[opened.decoy]
    assert ((decoy != probe) & (decoy != reference)).all()


@pytest.mark.usefixtures("blank")
def test_that_a_limit_chooses_the_pairs_to_attack_and_nothing_else() -> None:
    whole, limited = Synthetic(**SMALL).open(Path("x")), Synthetic(**SMALL, limit=20).open(Path("x"))
    assert len(limited.attacked) == 20
    assert limited.same[limited.attacked].sum() == 10
    assert limited.digest == whole.digest
    np.testing.assert_array_equal(limited.decoy, whole.decoy)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"people": 35}, "people=35"),
        ({"people": 20}, "from 30 up"),
        ({"photos_per_person": 1}, "photos_per_person=1"),
        ({"pairs": 70}, "multiple of 20 up to 180"),
        ({"pairs": 200}, "pairs=200"),
        ({"limit": 3}, "limit=3"),
    ],
)
def test_that_numbers_that_do_not_fit_are_refused_in_one_line(wrong: dict[str, int], told: str) -> None:
    with pytest.raises(FrbenchError, match=told) as refused:
        Synthetic(**(SMALL | wrong)).open(Path("unused"))
    assert "\n" not in str(refused.value)


def test_that_an_identity_set_without_people_is_refused() -> None:
    with pytest.raises(FrbenchError, match="people=0"):
        SyntheticFaces(people=0).open(Path("unused"))


def test_that_rendered_photographs_are_kept_and_found_again(
    faces: PairSet, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "render", lambda *_: pytest.fail("rendered again"))
    again = Synthetic(**SMALL).open(cache)
    assert again.digest == faces.digest
    assert isinstance(again.images, np.memmap)


def test_that_the_stack_holds_the_photographs_of_its_people_in_order(faces: PairSet) -> None:
    rows = np.array([0, 4, 89])
    np.testing.assert_array_equal(faces.images[rows], render(2, rows // 3, rows % 3))
    np.testing.assert_array_equal(faces.identity[rows], rows // 3)


def test_that_a_changed_renderer_does_not_find_old_photographs(
    faces: PairSet, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "RENDERER_VERSION", synthetic.RENDERER_VERSION + 1)
    monkeypatch.setattr(rendering, "render", lambda seed, person, shot: np.zeros((len(person), 112, 112, 3), np.uint8))
    assert Synthetic(**SMALL).open(cache).digest != faces.digest


def test_that_shipped_options_use_people_that_no_other_option_uses() -> None:
    with initialize_config_module("frbench.conf", version_base="1.3"):
        run = compose("run", ["dataset=synthetic"])
    test, fit = instantiate(run.dataset), instantiate(run.identities)
    assert isinstance(test, Synthetic)
    assert isinstance(fit, SyntheticFaces)
    assert len({test.people_seed, fit.people_seed, 1}) == 3, "seed 1 is of the people that tiny was trained on"


def test_that_an_identity_set_names_its_people_and_counts_their_shots(cache: Path) -> None:
    opened = SyntheticFaces(people=4, photos_per_person=3).open(cache)
    assert opened.images.shape == (12, 112, 112, 3)
    assert opened.people == ("synthetic 3 0", "synthetic 3 1", "synthetic 3 2", "synthetic 3 3")
    np.testing.assert_array_equal(np.bincount(opened.identity), [3] * 4)


@pytest.mark.realdata
def test_that_a_recognizer_of_real_faces_tells_synthetic_people_apart(real_data: Path, cache: Path) -> None:
    """What was learned from photographs holds here: measured 95 % accuracy and an AUC of 0.99."""
    option = OmegaConf.load(CONF / "recognizer" / "foamliu_mobilefacenet.yaml")
    root = OmegaConf.create({"device": "cpu", "paths": {"data": str(real_data), "cache": str(cache)}, "one": option})
    recognizer = build.instantiate(OmegaConf.to_container(root, resolve=True)["one"], "recognizer")
    pairs = Synthetic(people=30, photos_per_person=3, pairs=60).open(cache)
    with torch.inference_mode():
        embeddings = recognizer.embed(pairs.load(np.arange(len(pairs.images)))).numpy()
    assert auc((embeddings[pairs.probe] * embeddings[pairs.reference]).sum(axis=1), pairs.same) > 0.95
