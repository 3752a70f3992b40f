"""The options of conf/ in a size that takes no time, and the small files that they read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from support import recognizer_files, shipped_options, small_defenses, small_trees
from unit.datasets import test_recordio as record_files

from frbench.datasets.synthetic.dataset import SyntheticFaces

SHORTER = {"steps": 50, "queries": 200}  # at most, of attacks

# What a small tree is too small for, and what would be rendered for minutes.
SMALLER: dict[str, dict[str, int]] = {
    "dataset=synthetic": {"people": 30, "photos_per_person": 2, "pairs": 20},
    "dataset=synthetic_users": {"people": 3, "photos_per_person": 4},
    "dataset=cfp_users": {"photos_per_person": 4},
    "dataset=cfp_users_distant_targets": {"photos_per_person": 4, "people": 5},
    "identities=synthetic": {"people": 2, "photos_per_person": 2},
    "identities=synthetic_1000": {"people": 2, "photos_per_person": 2},
}


def supplied(group: str, option: str, folder: Path) -> dict[str, Any]:
    """The config of an option, with small files in ``folder`` for those that it reads."""
    trees = [name for name in small_trees.TREES if option.startswith(name)]
    if trees and group in ("dataset", "identities"):
        small_trees.TREES[max(trees, key=len)](folder / "data")
    elif option == "recordio":
        record_files.insightface(folder / "data" / "recordio" / "train.rec")
    config = shipped_options.config(group, option, folder / "data")
    if group == "recognizer":
        return recognizer_files.supplied(config, shipped_options.config(group, "tiny"), folder)
    if group == "protocol":
        config = without_detectors(config)
    if config.get("weights") == "???":
        config["weights"] = "pkg:tiny_diverse.safetensors"
    for place in with_lpips(config):
        place["trunk"], place["lins"] = lpips_files(folder)
    return config


def without_detectors(config: dict[str, Any]) -> dict[str, Any]:
    """A config without the parts that detect faces, for which toy images are no faces and need a model file."""
    inside = {name: each for name, each in config.items() if not (isinstance(each, dict) and "detector" in each)}
    return {name: without_detectors(each) if isinstance(each, dict) else each for name, each in inside.items()}


def with_lpips(config: Any) -> Iterator[dict[str, Any]]:
    """The parts of a config that need the files of LPIPS."""
    if isinstance(config, dict):
        yield from [config] if "lins" in config else []
        for each in config.values():
            yield from with_lpips(each)


def small(group: str, option: str, thing: Any) -> Any:
    """``thing`` in a size that takes no time."""
    if group == "defense":
        sized = small_defenses.SMALL.keys() & {option, option.partition("_")[0]}
        return small_defenses.small(thing, max(sized, key=len) if sized else option)
    fewer = SMALLER.get(f"{group}={option}", {})
    if group == "attack":
        fewer = {name: min(getattr(thing, name), most) for name, most in SHORTER.items() if hasattr(thing, name)}
    if isinstance(rendered := getattr(thing, "faces", None), SyntheticFaces):
        return replace(thing, **fewer, faces=replace(rendered, **fewer))
    return replace(thing, **fewer) if fewer else thing


def lpips_files(folder: Path) -> tuple[str, str]:
    """Both files of LPIPS as they are published, with random numbers in them."""
    generator = torch.Generator().manual_seed(0)
    shapes = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
    state = {}
    for number, shape in shapes.items():
        scale = (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        state[f"features.{number}.weight"] = scale * torch.randn(shape, generator=generator)
        state[f"features.{number}.bias"] = torch.zeros(shape[0])
    torch.save(state, folder / "alexnet.pth")
    widths = [shape[0] for shape in shapes.values()]
    lins = {f"lin{i}.model.1.weight": torch.rand(1, width, 1, 1, generator=generator) for i, width in enumerate(widths)}
    torch.save(lins, folder / "lins.pth")
    return str(folder / "alexnet.pth"), str(folder / "lins.pth")
