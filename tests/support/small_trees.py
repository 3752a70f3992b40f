"""A small tree of files for each option of conf/dataset and conf/identities that reads files."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from functools import cache
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from frbench.harness.config import auto_preprocessing

FOLDS = 10


def face(path: Path) -> None:
    """A plain face-sized JPEG whose colour comes from its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (112, 112), tuple(os.fsencode(path.as_posix())[-14:-11])).save(path)


def write_lfw(data: Path) -> None:
    lines = [f"{FOLDS}\t1"]
    for fold in range(FOLDS):
        lines += [f"A{fold}\t1\t2", f"A{fold}\t1\tB{fold}\t1"]
        for name in (f"A{fold}_0001", f"A{fold}_0002", f"B{fold}_0001"):
            face(data / "lfw" / "aligned_112" / name[:2] / f"{name}.jpg")
    (data / "lfw" / "pairs.txt").write_text("\n".join(lines))


def write_cfp(data: Path) -> None:
    protocol = data / "cfp" / "Protocol"
    for view, letter in (("frontal", "F"), ("profile", "P")):
        names = [f"{person:03d}/{view}/{k:02d}.jpg" for person, k in product(range(1, 2 * FOLDS + 1), (1, 2))]
        for name in names:
            face(data / "cfp" / "aligned_112" / name)
        protocol.mkdir(parents=True, exist_ok=True)
        lines = [f"{i} ../Data/Images/{name}" for i, name in enumerate(names, 1)]
        (protocol / f"Pair_list_{letter}.txt").write_text("\n".join(lines))
    for split, fold in product(("FF", "FP"), range(FOLDS)):
        folder = protocol / "Split" / split / f"{fold + 1:02d}"
        folder.mkdir(parents=True)
        (folder / "same.txt").write_text(f"{4 * fold + 1},{4 * fold + 2}\n")
        (folder / "diff.txt").write_text(f"{4 * fold + 1},{4 * fold + 3}\n")


def write_agedb(data: Path) -> None:
    lines = []
    for fold in range(FOLDS):
        older, younger, other = f"1{fold}_A{fold}_60_f.jpg", f"2{fold}_A{fold}_30_f.jpg", f"3{fold}_B{fold}_30_m.jpg"
        for name in (older, younger, other):
            face(data / "agedb" / "aligned_112" / name)
        lines += [f"{older} {younger} 1 {fold + 1}", f"{older} {other} 0 {fold + 1}"]
    (data / "agedb" / "pairs_30.txt").write_text("\n".join(lines))


def write_pack(path: Path) -> None:
    images = []
    for i in range(4 * FOLDS):
        file = BytesIO()
        Image.new("RGB", (112, 112), (6 * i, 255 - 6 * i, 80)).save(file, "JPEG")
        images.append(file.getvalue())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps((images, [True, False] * FOLDS)))


TREES: dict[str, Callable[[Path], None]] = {
    "lfw": write_lfw,
    "cfp_fp": write_cfp,
    "cfp_ff": write_cfp,
    "cfp_users": write_cfp,
    "agedb_30": write_agedb,
    "lfw_bin": lambda data: write_pack(data / "lfw" / "lfw.bin"),
    "cfp_fp_bin": lambda data: write_pack(data / "cfp" / "cfp_fp.bin"),
    "agedb_30_bin": lambda data: write_pack(data / "agedb" / "agedb_30.bin"),
    "celeba": lambda data: (
        [face(data / "celeba" / "aligned_112" / p / f"{i}.jpg") for p in "ab" for i in "12"] and None
    ),
}


# What a small tree is too small for.
FEWER: dict[str, dict[str, int]] = {"cfp_users": {"photos_per_person": 4}}


# Of sets that are opened whole: as many as tell what there is to tell.
SMALLER: dict[str, list[str]] = {"cfp_users_distant_targets": ["dataset.target_pool.faces.limit_people=40"]}


def composed(group: str, option: str, data: Path) -> dict[str, Any]:
    """The option as shipped, with the data folder ``data``, as ``build`` hands it to Hydra."""
    whole = _composed(group, option)
    whole.paths.data = str(data)
    return auto_preprocessing.without(OmegaConf.to_container(whole[group], resolve=True))


@cache
def _composed(group: str, option: str) -> DictConfig:
    with initialize_config_module("frbench.conf", version_base="1.3"):
        return compose("run", overrides=[f"{group}={option}", *SMALLER.get(option, [])])
