"""What every dataset option promises, for every YAML in conf/dataset (and the identity folders of conf/identities).

An option whose real files are not at hand is opened on a tiny tree in the same layout, where we know how to write
one; an option that is neither is instantiated only.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from support.small_trees import FEWER, FOLDS, TREES, composed

import frbench.conf
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import FaceSet, PairSet, PairSource, TestSet, UserSet, UserSource

CONF = Path(frbench.conf.__file__).parent
DATASETS = sorted(path.stem for path in (CONF / "dataset").glob("*.yaml"))
IDENTITIES = sorted(path.stem for path in (CONF / "identities").glob("*.yaml"))


@pytest.fixture(params=DATASETS)
def option(request: pytest.FixtureRequest) -> str:
    return request.param


def source_on_a_tree(option: str, tmp_path: Path, **overrides: int) -> PairSource | UserSource:
    if option not in TREES:
        pytest.skip(f"no small tree is written for dataset={option}; its own tests open it")
    (tmp_path / "data").mkdir(exist_ok=True)
    if not any((tmp_path / "data").iterdir()):
        TREES[option](tmp_path / "data")
    return instantiate(composed("dataset", option, tmp_path / "data"), **FEWER.get(option, {}), **overrides)


def check_folds(opened: PairSet) -> None:
    """Of a set to verify on: both kinds of pairs in every fold."""
    genuine = np.bincount(opened.fold[opened.same], minlength=FOLDS)
    impostor = np.bincount(opened.fold[~opened.same], minlength=FOLDS)
    assert len(genuine) == FOLDS
    assert len({*genuine, *impostor}) == 1, "the folds are not equal and balanced"


def check_user_set(opened: UserSet) -> None:
    """The contract of UserSet: photos ordered by user, and all targets of one user are of one other person."""
    photos, users = len(opened), len(opened.people)
    assert opened.images.shape == (photos, 112, 112, 3)
    assert opened.images.dtype == opened.targets.dtype == np.uint8
    for rows in (opened.identity, opened.target):
        assert (rows.dtype, rows.shape) == (np.int64, (photos,))
    assert (np.diff(opened.identity) >= 0).all() and set(opened.identity) == set(range(users))
    assert 0 <= opened.target.min() <= opened.target.max() < len(opened.targets)
    if opened.targets is opened.images:
        assert (opened.identity[opened.target] != opened.identity).all()
        for user in range(users):
            assert len(set(opened.identity[opened.target[opened.identity == user]])) == 1
    else:  # a row of the target pool belongs to one user alone
        aimed = [set(opened.target[opened.identity == user]) for user in range(users)]
        assert sum(map(len, aimed)) == len(set().union(*aimed)) == len(opened.targets)
    np.testing.assert_array_equal(opened.attacked, np.arange(photos))
    assert len(opened.digest) == 64
    batch = opened.batch(opened.attacked[:3])
    assert batch.probe.shape == batch.decoy.shape == (3, 3, 112, 112)
    assert torch.equal(batch.probe, batch.reference)
    assert 0 <= batch.probe.min() <= batch.probe.max() <= 1


def check_test_set(opened: TestSet) -> None:
    check_user_set(opened) if isinstance(opened, UserSet) else check_pair_set(opened)


def check_pair_set(opened: PairSet, attack_all: bool = True) -> None:
    """The contract of PairSet."""
    pairs, stack = len(opened), len(opened.images)
    assert opened.images.shape == (stack, 112, 112, 3)
    assert opened.images.dtype == np.uint8
    for rows in (opened.probe, opened.reference, opened.decoy):
        assert (rows.dtype, rows.shape) == (np.int64, (pairs,))
        assert rows.min() >= 0
        assert rows.max() < stack
    assert (opened.same.dtype, opened.same.shape) == (bool, (pairs,))
    assert (opened.fold.dtype, opened.fold.shape) == (np.int64, (pairs,))
    assert (opened.identity.dtype, opened.identity.shape) == (np.int64, (stack,))
    check_folds(opened)
    assert (opened.decoy != opened.probe).all()
    assert (opened.decoy != opened.reference).all()
    person = opened.identity
    if (person >= 0).all():
        np.testing.assert_array_equal(person[opened.probe] == person[opened.reference], opened.same)
        assert (person[opened.decoy] != person[opened.probe]).all()
        assert (person[opened.decoy] != person[opened.reference]).all()
    if attack_all:
        np.testing.assert_array_equal(opened.attacked, np.arange(pairs))
    assert len(opened.digest) == 64
    batch = opened.batch(opened.attacked[:3])
    assert batch.probe.shape == (3, 3, 112, 112)
    assert 0 <= batch.probe.min() <= batch.probe.max() <= 1


def test_that_the_option_is_a_frozen_dataclass_named_as_its_file(option: str, tmp_path: Path) -> None:
    source = instantiate(composed("dataset", option, tmp_path))
    assert dataclasses.is_dataclass(source)
    assert source.__dataclass_params__.frozen
    assert source.name == option
    with pytest.raises(dataclasses.FrozenInstanceError):
        source.name = "other"
    with pytest.raises(TypeError):
        type(source)(option)
    assert repr(source) == repr(instantiate(composed("dataset", option, tmp_path)))  # partials differ
    assert not list(tmp_path.iterdir()), "a constructor did work"


def test_that_it_opens_to_pairs_or_users_and_again_to_the_same(option: str, tmp_path: Path) -> None:
    source = source_on_a_tree(option, tmp_path)
    opened = source.open(tmp_path / "cache")
    check_test_set(opened)
    again, elsewhere = source.open(tmp_path / "cache"), source.open(tmp_path / "other")
    for other in (again, elsewhere):
        assert other.digest == opened.digest
        for field in dataclasses.fields(opened):
            np.testing.assert_array_equal(getattr(other, field.name), getattr(opened, field.name))


def test_that_a_limit_restricts_only_what_is_attacked(option: str, tmp_path: Path) -> None:
    if "limit" not in composed("dataset", option, tmp_path):
        pytest.skip(f"dataset={option} has no limit: users are chosen by their number")
    full = source_on_a_tree(option, tmp_path).open(tmp_path / "cache")
    limited = source_on_a_tree(option, tmp_path, limit=6).open(tmp_path / "cache")
    check_pair_set(limited, attack_all=False)
    assert limited.same[limited.attacked].sum() == 3
    assert len(limited.attacked) == 6
    assert (limited.digest, len(limited)) == (full.digest, len(full))
    np.testing.assert_array_equal(limited.decoy, full.decoy)


def test_that_thresholds_can_be_set_on_fewer_pairs_among_which_are_those_attacked(option: str, tmp_path: Path) -> None:
    if "calibrate" not in composed("dataset", option, tmp_path):
        pytest.skip(f"dataset={option} calibrates on no pairs")
    full = source_on_a_tree(option, tmp_path).open(tmp_path / "cache")
    limited = source_on_a_tree(option, tmp_path, limit=4).open(tmp_path / "cache")
    few = source_on_a_tree(option, tmp_path, limit=4, calibrate=8).open(tmp_path / "cache")
    assert (len(few), int(few.same.sum()), len(few.attacked)) == (8, 4, 4)
    assert few.remarks["pairs_not_calibrated_on"] == len(full) - 8
    assert few.digest != full.digest

    def told(pairs: PairSet, rows: np.ndarray) -> set[tuple[int, ...]]:
        return set(zip(*(getattr(pairs, each)[rows].tolist() for each in ("probe", "reference", "decoy")), strict=True))

    assert told(few, np.arange(8)) < told(full, np.arange(len(full)))
    assert told(few, few.attacked) == told(limited, limited.attacked)
    assert len(source_on_a_tree(option, tmp_path, calibrate=8).open(tmp_path / "cache").attacked) == 8
    with pytest.raises(FrbenchError, match=r"limit=10 attacks more pairs than the calibrate=8"):
        source_on_a_tree(option, tmp_path, limit=10, calibrate=8).open(tmp_path / "cache")


@pytest.mark.realdata
def test_that_it_opens_on_the_real_faces_where_they_are(option: str, real_data: Path, image_cache: Path) -> None:
    source = instantiate(composed("dataset", option, real_data))
    files = getattr(source, "faces", source)
    where = Path(getattr(files, "path", None) or getattr(files, "root", None) or "nowhere")
    if not (where.is_file() or (where / "aligned_112").is_dir() or where.name == "aligned_112"):
        pytest.skip(f"FRBENCH_DATA holds no images for dataset={option}")
    check_test_set(source.open(image_cache))


@pytest.mark.parametrize("option", IDENTITIES)
def test_that_identity_folders_open_to_a_face_set_and_again_to_the_same(option: str, tmp_path: Path) -> None:
    if option not in TREES:
        pytest.skip(f"no small tree is written for identities={option}; its own tests open it")
    TREES[option](tmp_path / "data")
    source = instantiate(composed("identities", option, tmp_path / "data"))
    assert source.name == option
    opened, again = source.open(tmp_path / "cache"), source.open(tmp_path / "cache")
    assert isinstance(opened, FaceSet)
    assert opened.images.shape == (len(opened.identity), 112, 112, 3)
    assert (opened.identity.dtype, set(opened.identity)) == (np.int64, set(range(len(opened.people))))
    assert again.digest == opened.digest
    assert opened.load(np.array([0])).shape == (1, 3, 112, 112)
