"""Labels of options as plain words for titles, captions and legends: without folders and file endings. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from frbench.harness.storage.records import NULL

NO_DEFENSE = "no defense"
_DATASETS = {
    "synthetic": "synthetic faces",
    "synthetic_users": "synthetic users",
    "lfw": "LFW",
    "lfw_bin": "LFW",
    "cfp_fp": "CFP-FP",
    "cfp_fp_bin": "CFP-FP",
    "cfp_ff": "CFP-FF",
    "cfp_users": "CFP users",
    "cfp_users_distant_targets": "CFP users, distant targets",
    "agedb_30": "AgeDB-30",
    "agedb_30_bin": "AgeDB-30",
}  # other options are known by the name that one types
_NUMBERS = {"limit": "{} pairs", "calibrate": "calibrated on {} pairs"}  # settings of a dataset
_DEPTH = 4  # most parts of a path that are shown to distinguish two files
_NEXT = re.compile(r", (?=[\w.@]+=)")
_RATIO = re.compile(r"[\d.]+/[\d.]+")
_ENDING = r"\.(?:onnx|pth|pt|safetensors|ckpt|bin|npz)\b"
_FILE = re.compile(rf"[^\s,=()\[\]{{}}'\"]*(?:[/\\][^\s,=()\[\]{{}}'\"]*|{_ENDING})")
_KEY = re.compile(rf"[\w.@]+=(?=[^\s,=()\[\]{{}}'\"]*{_ENDING})")  # of a setting that is a weight file


def split_label(label: str) -> tuple[str, list[str]]:
    """The option and the settings of a label: ``pgd(steps=40, restarts=1)``, or ``seed=1`` without an option."""
    found = re.fullmatch(r"([^()=]*)\((.*)\)", label, re.DOTALL)
    if found:
        return found[1], _NEXT.split(found[2])
    return ("", _NEXT.split(label)) if re.match(r"[\w.@]+=", label) else (label, [])


def without_folders(text: str, parts: int = 1) -> str:
    """``text`` with each path as its last ``parts``: ``path=/data/w600k_r50.onnx`` as ``w600k_r50``."""
    return _FILE.sub(lambda found: _name(found[0], parts), _KEY.sub("", text))


def _name(path: str, parts: int) -> str:
    place = PurePosixPath(path.replace("\\", "/"))
    if _RATIO.fullmatch(path) or not place.name:
        return path
    return "/".join([part for part in place.with_suffix("").parts if part != "/"][-parts:])


def words(label: str, parts: int = 1) -> str:
    """The label of an option for a title: ``LFW, 240 pairs`` or ``pgd (steps 40)``; paths as their last ``parts``."""
    name, settings = split_label(label)
    if name in _DATASETS:
        settings = sorted(settings, key=lambda each: not each.startswith("limit="))
    own = [_setting_words(each, parts) for each in settings]
    if name in _DATASETS or not name:
        return ", ".join(filter(None, (_DATASETS.get(name, ""), *own)))
    return without_folders(name, parts) + (f" ({', '.join(own)})" if own else "")


def _setting_words(setting: str, parts: int) -> str:
    """``limit=240`` as ``240 pairs``, ``rel_stepsize=0.25`` as ``rel stepsize 0.25``, a file as its name."""
    key, equals, value = without_folders(setting, parts).partition("=")
    if key in _NUMBERS and value.isdecimal():
        return _NUMBERS[key].format(value)
    return f"{re.sub('[._@]', ' ', key)} {value}" if equals else key


def defense_words(label: str) -> str:
    """The label of a defense for a title: ``no defense`` or ``defense jpeg``."""
    return NO_DEFENSE if label == NULL else f"defense {words(label)}"


def short_labels(labels: Sequence[str]) -> tuple[list[str], str]:
    """Distinct labels for the lines of one figure, and the settings that all of them but ``none`` share.

    Args:
        labels: of options, such as ``pgd(steps=40, restarts=1)``.

    Returns:
        The labels in words, without shared settings and folders, and the shared settings, empty if there are none.
    """
    split = [split_label(label) for label in labels]
    named = [settings for label, (_, settings) in zip(labels, split, strict=True) if label != NULL]
    shared = [each for each in named[0] if all(each in own for own in named)] if len(named) > 1 else []
    own = [(name, [each for each in settings if each not in shared]) for name, settings in split]
    whole = [f"{name}({', '.join(settings)})" if settings else name for name, settings in own]
    for parts in range(1, _DEPTH + 1):
        short = [NO_DEFENSE if label == NULL else words(label, parts) for label in whole]
        if len(set(short)) == len(set(whole)):
            break
    return short, words(", ".join(shared))
