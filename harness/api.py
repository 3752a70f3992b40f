"""The Python interface of frbench: options by name, embeddings, attacks on images, and whole evaluations.

``evaluate`` does what ``frbench run`` does: the same cell has the same key, and each finds the other's record. Names
and settings are those of the command line, see ``frbench options``. What goes wrong by a caller's fault raises a
``frbench.harness.core.errors.FrbenchError`` of one line: a wrong name at once, a wrong setting when the option is used.
On a CPU, call ``frbench.harness.runtime.memory.keep_freed_memory()`` first, as the command line does: it speeds up
large batches, and changes how the whole process allocates memory.

Examples:
    Six lines give a first result, here on rendered faces with the small network that is part of the package:

    >>> from frbench.harness import api
    >>> faces = api.dataset("synthetic", people=30, photos_per_person=2, pairs=60, limit=20)
    >>> result = api.evaluate(dataset=faces, recognizer="tiny", attack="pgd", goal="dodging", budget="linf_4")
    >>> print(f"{result.asr:.0%} of {result.denominator} pairs; without attack {result.clean_accuracy:.0%} are correct")
    100% of 10 pairs; without attack 100% are correct
    >>> clean, adversarial, reference = result.images()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from frbench.harness.config.evaluations import Evaluation, Sweep
from frbench.harness.config.option import (
    Option,
    RunSettings,
    attack,
    audit,
    budget,
    dataset,
    defense,
    goal,
    identities,
    option,
    protocol,
    recognizer,
    threat,
)

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from frbench.harness.core.contracts import Attack, Budget, Defense, Goal, Recognizer, ThreatModel
    from frbench.harness.core.face_data import PairSet
    from frbench.harness.evaluation.direct_crafting import Crafted

Choice = Option | str  # an option, or its name where it has no settings

__all__ = [
    "Choice",
    "Crafted",
    "Evaluation",
    "Option",
    "RunSettings",
    "Sweep",
    "attack",
    "audit",
    "budget",
    "craft",
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


def __getattr__(name: str) -> Any:
    """``__version__`` and ``Crafted``, which are looked up when they are used."""
    if name == "__version__":
        from importlib.metadata import version

        return version("frbench")
    if name == "Crafted":
        from frbench.harness.evaluation.direct_crafting import Crafted

        return Crafted
    raise AttributeError(f"module {__name__} has no attribute {name}")


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


def craft(
    attack: Choice | Attack,
    recognizer: Choice | Recognizer,
    probe: Tensor | np.ndarray | None = None,
    reference: Tensor | np.ndarray | None = None,
    *,
    decoy: Tensor | np.ndarray | None = None,
    pairs: Choice | PairSet | None = None,
    goal: Choice | Goal = "dodging",
    budget: Choice | Budget = "linf_8",
    threat: Choice | ThreatModel = "oblivious",
    defense: Choice | Defense = "none",
    identities: Choice | None = None,
    threshold: float | Tensor | None = None,
    **run: Unpack[RunSettings],
) -> Crafted:
    """Adversarial images of given pairs, with the attack loop and the budget check of ``evaluate``, without a record.

    Each part is an option, its name, or an object with the methods of its Protocol in
    ``frbench.harness.core.contracts``.

    Args:
        probe: images to change, a float tensor (N, 3, H, W), RGB in [0, 1], or an array uint8 (N, H, W, 3).
        reference: enrolled images to compare them with, one for each probe.
        decoy: images of a third person, which attacks such as ``lots`` resemble to dodge; by default the references.
        pairs: a data set in place of images: its attacked pairs that are eligible for the goal.
        threshold: cosine above which a pair is accepted, one number or (N,). ``pairs`` have thresholds of their own,
            those of ``evaluate``. Without thresholds ``achieved`` is None.
        run: see ``RunSettings``.

    Returns:
        The images, whether they achieve the goal, their scores and sizes.

    Raises:
        ConfigError: wrong images or options, or no threshold for an attack that stops at success.
        Refused: the combination cannot exist, such as an attack by gradients on a black box.

    Examples:
        >>> pairs = dataset("synthetic", people=30, photos_per_person=2, pairs=60, limit=20).load()
        >>> genuine = pairs.batch(pairs.attacked[pairs.same[pairs.attacked]][:2])
        >>> crafted = craft("pgd", "tiny", genuine.probe, genuine.reference, budget="linf_4", threshold=0.5)
        >>> crafted.images.shape, crafted.achieved, crafted.sizes["linf"].round()
        (torch.Size([2, 3, 112, 112]), tensor([True, True]), tensor([4., 4.]))
    """
    from frbench.harness.config.direct_use import craft

    parts = {"attack": attack, "recognizer": recognizer, "goal": goal, "budget": budget}
    others = {"threat": threat, "defense": defense, "identities": identities, "dataset": pairs}
    return craft({**parts, **others}, (probe, reference, decoy), threshold, run)


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

    nouns = {"dataset": dataset, "recognizer": recognizer, "attack": attack, "goal": goal, "budget": budget}
    others = {"threat": threat, "defense": defense, "protocol": protocol, "identities": identities, "audit": audit}
    return evaluated(run_words({**nouns, **others}, run))


def sweep(**lists: Any) -> Sweep:
    """Evaluate every combination of the values in lists, as ``frbench run -m``.

    A wrong or crashed cell does not stop the others. On a terminal each finished cell is printed in one line.

    Args:
        lists: the arguments of ``evaluate``, each one value or a list of values. ``trust`` is one value.

    Returns:
        The evaluations, the errors, and a table.

    Raises:
        ConfigError: an argument that ``evaluate`` does not have.

    Examples:
        >>> faces = dataset("synthetic", people=30, photos_per_person=2, pairs=60, limit=20)
        >>> found = sweep(dataset=faces, attack="fgsm", defense=["none", defense("jpeg", quality=50)])
        >>> print(found.table[["defense", "attack", "clean_accuracy", "asr"]].to_string(index=False))
                 defense attack  clean_accuracy  asr
                    none   fgsm             1.0  1.0
        jpeg(quality=50)   fgsm             1.0  1.0
    """
    from frbench.harness.config.evaluations import swept
    from frbench.harness.reporting.crosscheck import compare
    from frbench.harness.reporting.pair_outcomes import Outcomes
    from frbench.harness.reporting.tidy_table import tidy

    evaluations, errors = swept(lists)
    records, scores = [each.record for each in evaluations], {each.key: each for each in evaluations}
    return Sweep(evaluations, errors, tidy(records, compare(records, Outcomes(lambda key: scores[key].pairs))))
