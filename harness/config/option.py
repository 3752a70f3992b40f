"""Options of ``conf`` with settings, as Python writes them; torch and Hydra are imported where they are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, TypedDict, Unpack

Folder = str | PathLike[str]


class RunSettings(TypedDict, total=False):
    """Settings of a run beside its options; a setting that is left out has the default of the command line.

    Attributes:
        seed: of random starts and random defenses, at least 0.
        fit_seed: of fitting a defense, at least 0.
        batch_size: images on the device at a time.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        trust: packages beside frbench whose classes may be built.
        allow_overlap: allow a defense that was fitted on people or images of the test set; the record is flagged.
        allow_low_accuracy: attack a recognizer below its minimum clean accuracy; the record is flagged.
        fetch: download missing data sets and weight files that have a public source.
        results: folder of the result store, ``paths.results`` on the command line.
        data: folder of data sets and weights, ``paths.data`` on the command line.
        cache: folder of decoded images, ``paths.cache`` on the command line.
        config_dir: folder with options of one's own, ``--config-dir`` on the command line.
    """

    seed: int
    fit_seed: int
    batch_size: int
    device: str
    trust: Sequence[str]
    allow_overlap: bool
    allow_low_accuracy: bool
    fetch: bool
    results: Folder
    data: Folder
    cache: Folder
    config_dir: Folder


@dataclass(frozen=True)
class Option:
    """An option with settings, such as ``attack=pgd attack.steps=40`` on the command line.

    Attributes:
        group: the group of the option, such as ``attack``.
        name: one of the names that ``frbench options GROUP`` lists.
        settings: value by name of the field. A value is None, a bool, number, text or path, a list or mapping of
            them, or an ``Option`` where the field holds another part. A mapping is merged into that of the option's
            file. A name may be dotted (``"schedule.epochs"``), start with ``+`` (adds an entry that the option's file
            does not have) or with ``~`` (removes one).
        config_dir: the folder with options of one's own that has this one; None for an option of frbench.

    Raises:
        ConfigError: the group has no option of that name. Settings are checked at first use.
    """

    group: str
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    config_dir: Folder | None = None

    def __post_init__(self) -> None:
        from frbench.harness.config.option_words import check_option

        check_option(self)

    def load(self, **run: Unpack[RunSettings]) -> Any:
        """The object behind the option: an attack, a recognizer, a budget, or the pairs that a dataset opens to.

        Args:
            run: see ``RunSettings``.

        Returns:
            A dataset opens to a ``PairSet`` or a ``UserSet``, identities to a ``FaceSet``; ``attack="none"`` is None;
            a defense that must be fitted is returned unfitted. A recognizer or dataset loaded before is returned
            again. All other options are the objects of ``frbench.harness.core.contracts``.

        Raises:
            ConfigError: a setting does not exist or has a wrong value.
            DataMissing: a data set or weight file is not there.
        """
        from frbench.harness.config.option_objects import loaded

        return loaded(self, run)

    def __repr__(self) -> str:
        given = [repr(self.name), *(f"{name}={value!r}" for name, value in self.settings.items())]
        return f"{self.group}({', '.join(given)})"


def option(group: str, name: str, /, *, config_dir: Folder | None = None, **settings: Any) -> Option:
    """An option of any group, such as ``option("tracker", "linear")``; see ``Option``."""
    return Option(group, name, settings, config_dir)


def dataset(name: str, /, *, config_dir: Folder | None = None, **settings: Any) -> Option:
    """Face pairs, or users with their photos, to evaluate on: ``dataset("lfw", limit=40)``."""
    return option("dataset", name, config_dir=config_dir, **settings)


def recognizer(name: str, /, *, config_dir: Folder | None = None, **settings: Any) -> Option:
    """A network that embeds faces: ``recognizer("onnx", path="model.onnx")``."""
    return option("recognizer", name, config_dir=config_dir, **settings)


def attack(name: str, /, *, config_dir: Folder | None = None, **settings: Any) -> Option:
    """An attack: ``attack("pgd", steps=40)``; ``attack("minimal", inner=attack("pgd"))`` holds another."""
    return option("attack", name, config_dir=config_dir, **settings)


def goal(name: str, /, *, config_dir: Folder | None = None, **settings: Any) -> Option:
    """The goal of the attacker: ``goal("dodging")``."""
    return option("goal", name, config_dir=config_dir, **settings)


def budget(name: str, /, *, config_dir: Folder | None = None, **settings: Any) -> Option:
    """A limit on the change of an image: ``budget("linf_8")`` or ``budget("linf_8", radius=4 / 255)``."""
    return option("budget", name, config_dir=config_dir, **settings)


def threat(name: str, /, *, config_dir: Folder | None = None, **settings: Any) -> Option:
    """The knowledge of the attacker: ``threat("transfer", surrogate=recognizer("mobileface_v2"))``."""
    return option("threat", name, config_dir=config_dir, **settings)


def defense(name: str, /, *, config_dir: Folder | None = None, **settings: Any) -> Option:
    """A defense in front of the recognizer, or in its place: ``defense("jpeg", quality=75)``."""
    return option("defense", name, config_dir=config_dir, **settings)


def protocol(name: str, /, *, config_dir: Folder | None = None, **settings: Any) -> Option:
    """What is measured, and how: ``protocol("cloaking", tracker="linear")``."""
    return option("protocol", name, config_dir=config_dir, **settings)


def identities(name: str, /, *, config_dir: Folder | None = None, **settings: Any) -> Option:
    """Faces of other people, on which a defense is fitted: ``identities("synthetic", people=40)``."""
    return option("identities", name, config_dir=config_dir, **settings)


def audit(name: str, /, *, config_dir: Folder | None = None, **settings: Any) -> Option:
    """The checks of whether an attack is to be believed: ``audit("full")``."""
    return option("audit", name, config_dir=config_dir, **settings)
