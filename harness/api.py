"""The Python interface of frbench: options by name, embeddings, and whole evaluations.

Six lines give a first result, here on rendered faces with the small network that is part of the package:

>>> from frbench.harness import api
>>> faces = api.dataset("synthetic", people=30, photos_per_person=4, pairs=200, limit=40)
>>> result = api.evaluate(dataset=faces, recognizer="tiny", attack="pgd", goal="dodging", budget="linf_4")
>>> print(f"{result.asr:.0%} of {result.denominator} pairs; without attack {result.clean_accuracy:.0%} are correct")
95% of 20 pairs; without attack 99% are correct
>>> clean, adversarial, reference = result.images()

``evaluate`` does what ``frbench run`` does: the same cell has the same key, and each finds the other's record. Names
and settings are those of the command line, see ``frbench options``. What goes wrong by a caller's fault raises a
``frbench.harness.core.errors.FrbenchError`` of one line: a wrong name at once, a wrong setting when the option is used.
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any, Unpack

from frbench.harness.config.evaluations import Evaluation, Sweep
from frbench.harness.config.option import Option, RunSettings

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from frbench.harness.core.contracts import Recognizer

Choice = Option | str  # an option, or its name where it has no settings
Folder = str | PathLike[str] | None

__all__ = [
    "Choice",
    "Evaluation",
    "Option",
    "RunSettings",
    "Sweep",
    "attack",
    "audit",
    "budget",
    "dataset",
    "defense",
    "embed",
    "evaluate",
    "goal",
    "identities",
    "option",
    "protocol",
    "recognizer",
    "sweep",
    "threat",
]


def __getattr__(name: str) -> str:
    """``__version__``, which is looked up when it is used."""
    if name != "__version__":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from importlib.metadata import version

    return version("frbench")


def option(group: str, name: str, /, *, config_dir: Folder = None, **settings: Any) -> Option:
    """An option of any group, such as ``option("tracker", "linear")``; see ``Option``."""
    return Option(group, name, settings, config_dir)


def dataset(name: str, /, *, config_dir: Folder = None, **settings: Any) -> Option:
    """Face pairs, or users with their photos, to evaluate on: ``dataset("lfw", limit=40)``."""
    return option("dataset", name, config_dir=config_dir, **settings)


def recognizer(name: str, /, *, config_dir: Folder = None, **settings: Any) -> Option:
    """A network that embeds faces: ``recognizer("onnx", path="model.onnx")``."""
    return option("recognizer", name, config_dir=config_dir, **settings)


def attack(name: str, /, *, config_dir: Folder = None, **settings: Any) -> Option:
    """An attack: ``attack("pgd", steps=40)``; ``attack("minimal", inner=attack("pgd"))`` holds another."""
    return option("attack", name, config_dir=config_dir, **settings)


def goal(name: str, /, *, config_dir: Folder = None, **settings: Any) -> Option:
    """The goal of the attacker: ``goal("dodging")``."""
    return option("goal", name, config_dir=config_dir, **settings)


def budget(name: str, /, *, config_dir: Folder = None, **settings: Any) -> Option:
    """A limit on the change of an image: ``budget("linf_8")`` or ``budget("linf_8", radius=4 / 255)``."""
    return option("budget", name, config_dir=config_dir, **settings)


def threat(name: str, /, *, config_dir: Folder = None, **settings: Any) -> Option:
    """The knowledge of the attacker: ``threat("transfer", surrogate=recognizer("mobileface_v2"))``."""
    return option("threat", name, config_dir=config_dir, **settings)


def defense(name: str, /, *, config_dir: Folder = None, **settings: Any) -> Option:
    """A defense in front of the recognizer, or in its place: ``defense("jpeg", quality=75)``."""
    return option("defense", name, config_dir=config_dir, **settings)


def protocol(name: str, /, *, config_dir: Folder = None, **settings: Any) -> Option:
    """What is measured, and how: ``protocol("cloaking", tracker="linear")``."""
    return option("protocol", name, config_dir=config_dir, **settings)


def identities(name: str, /, *, config_dir: Folder = None, **settings: Any) -> Option:
    """Faces of other people, on which a defense is fitted: ``identities("synthetic", people=40)``."""
    return option("identities", name, config_dir=config_dir, **settings)


def audit(name: str, /, *, config_dir: Folder = None, **settings: Any) -> Option:
    """The checks of whether an attack is to be believed: ``audit("full")``."""
    return option("audit", name, config_dir=config_dir, **settings)


def embed(recognizer: Choice | Recognizer, images: Tensor | np.ndarray, **run: Unpack[RunSettings]) -> Tensor:
    """Embeddings of aligned face images.

    Args:
        recognizer: an option, its name, or an object with the methods of
            ``frbench.harness.core.contracts.Recognizer``. A module of PyTorch becomes one with
            ``TorchRecognizer("mine", lambda: module, weights=None, mean=0.5, std=0.5)`` of
            ``frbench.harness.recognizers.torch_recognizer``.
        images: a float tensor (N, 3, H, W), RGB in [0, 1], or a NumPy array uint8 (N, H, W, 3). Faces are aligned to
            the five-point template of 112x112 pixels; the recognizer resizes and normalises them itself.
        run: ``batch_size`` (64), ``device`` (``auto``; ``cpu`` for an object), ``trust``, ``data``, ``config_dir``.

    Returns:
        float32 (N, D) on the CPU, of unit length: the dot product of two rows is their similarity.

    Raises:
        ConfigError: images of another type, shape or range; a wrong option.
        DataMissing: the weight file is not there.
    """
    from frbench.harness.config.direct_use import embed

    return embed(recognizer, images, run)


def evaluate(
    *,
    dataset: Choice | None = None,
    recognizer: Choice | None = None,
    attack: Choice | None = None,
    goal: Choice | None = None,
    budget: Choice | None = None,
    threat: Choice | None = None,
    defense: Choice | None = None,
    protocol: Choice | None = None,
    identities: Choice | None = None,
    audit: Choice | None = None,
    **run: Unpack[RunSettings],
) -> Evaluation:
    """Evaluate one cell, or find its record: as ``frbench run``, with the same defaults and the same key.

    Args:
        dataset: the faces to test on.
        recognizer: the network under attack, the victim.
        attack: ``"none"`` measures the clean accuracy alone.
        goal: what the attacker wants.
        budget: the largest change of an image.
        threat: what the attacker knows.
        defense: what protects the recognizer.
        protocol: what is measured.
        identities: the faces that a defense is fitted on.
        audit: the checks of whether the attack is to be believed.
        run: see ``RunSettings``.

    Returns:
        The result. A combination that cannot exist has the status ``refused``, a crash the status ``crashed``.

    Raises:
        ConfigError: a wrong option or setting, or an object in the place of an option.
        DataMissing: a data set or a weight file is not there.
    """
    from frbench.harness.config.evaluations import evaluated
    from frbench.harness.config.option_words import run_words

    choices = {
        "dataset": dataset,
        "recognizer": recognizer,
        "attack": attack,
        "goal": goal,
        "budget": budget,
        "threat": threat,
        "defense": defense,
        "protocol": protocol,
        "identities": identities,
        "audit": audit,
    }
    return evaluated(run_words(choices, run))


def sweep(**lists: Any) -> Sweep:
    """Evaluate every combination of the values in lists, as ``frbench run -m``.

    A wrong or crashed cell does not stop the others. On a terminal each finished cell is printed in one line.

    >>> faces = dataset("synthetic", people=30, photos_per_person=4, pairs=200, limit=40)
    >>> found = sweep(dataset=faces, attack=["none", attack("fgsm")], defense=["none", defense("jpeg", quality=50)])
    >>> print(found.table[["defense", "attack", "clean_accuracy", "asr"]].to_string(index=False))
             defense attack  clean_accuracy  asr
                none   none            0.99  NaN
    jpeg(quality=50)   none            1.00  NaN
                none   fgsm            0.99  1.0
    jpeg(quality=50)   fgsm            1.00  1.0

    Args:
        lists: the arguments of ``evaluate``, each one value or a list of values. ``trust`` is one value.

    Returns:
        The evaluations, the errors, and a table.

    Raises:
        ConfigError: an argument that ``evaluate`` does not have.
    """
    from frbench.harness.config.evaluations import swept
    from frbench.harness.reporting.crosscheck import compare
    from frbench.harness.reporting.pair_outcomes import Outcomes
    from frbench.harness.reporting.report import tidy

    evaluations, errors = swept(lists)
    records, scores = [each.record for each in evaluations], {each.key: each for each in evaluations}
    return Sweep(evaluations, errors, tidy(records, compare(records, Outcomes(lambda key: scores[key].pairs))))
