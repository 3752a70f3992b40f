"""An option of ``conf`` with settings, as Python writes it; torch and Hydra are imported where they are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, TypedDict, Unpack


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
    results: str | PathLike[str]
    data: str | PathLike[str]
    cache: str | PathLike[str]
    config_dir: str | PathLike[str]


@dataclass(frozen=True)
class Option:
    """An option with settings, such as ``attack=pgd attack.steps=40`` on the command line.

    Attributes:
        group: the group of the option, such as ``attack``.
        name: one of the names that ``frbench options GROUP`` lists.
        settings: value by name of the field. A value is None, a bool, number, text or path, a list or mapping of
            them, or an ``Option`` where the field holds another part. A name may be dotted (``"schedule.epochs"``),
            start with ``+`` (adds an entry that the option's file does not have) or with ``~`` (removes one).
        config_dir: the folder with options of one's own that has this one; None for an option of frbench.

    Raises:
        ConfigError: the group has no option of that name. Settings are checked at first use.
    """

    group: str
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    config_dir: str | PathLike[str] | None = None

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
