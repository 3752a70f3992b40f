"""Contenders of ``bench.py``: bare passes through a network, our PGD step, and the PGD of other libraries.

Every attack uses the same verifier over a ``Clocked`` recognizer, so that a step is timed alike for all: from the
forward pass of one gradient to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from time import perf_counter
from typing import Any, Protocol

import torch
from torch import nn

from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.attacks.torchattacks import PairVerifier, TorchAttack
from frbench.harness.core.contracts import Embeddings, Goal, Images, Recognizer, View
from frbench.harness.core.face_data import PairBatch
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.recognizers.preprocessing import Preprocessing, unit_length
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer
from frbench.harness.threat_model.budgets import Linf

EPSILON, STEPS, STRIDE = 8 / 255, 20, 1.5
STEP = STRIDE * EPSILON / STEPS
THRESHOLD = 0.3  # decision threshold of the two classes; it scales gradients and keeps their signs
CLASSES = 4  # columns of ``PairVerifier``, two of them dummies


@dataclass(frozen=True)
class Task:
    """A batch of pairs and the goal."""

    name: str
    goal: Goal
    pairs: PairBatch


class Contender(Protocol):
    """A timed attack on ``network``; ``seconds`` is its time per step for the whole batch."""

    @property
    def name(self) -> str: ...

    @property
    def network(self) -> str: ...

    def seconds(self, task: Task) -> float: ...


@dataclass(frozen=True)
class BarePass:
    """Forward and backward to the input, ``repeats`` times in a row, and to the parameters unless they are frozen."""

    name: str
    network: str
    module: nn.Module
    preprocessing: Preprocessing
    layout: torch.memory_format
    repeats: int

    def seconds(self, task: Task) -> float:
        inputs = self.preprocessing(task.pairs.probe).detach().contiguous(memory_format=self.layout).requires_grad_()
        with torch.no_grad():  # warm-up, as an attack enrolls first
            self.module(inputs)
        started = perf_counter()
        for _ in range(self.repeats):
            inputs.grad = None
            self.module.zero_grad()
            self.module(inputs).sum().backward()
        return (perf_counter() - started) / self.repeats


@dataclass(frozen=True)
class AsShipped:
    """A recognizer whose network is not prepared for attacks."""

    module: nn.Module
    preprocessing: Preprocessing

    name = "as shipped"
    differentiable = True
    digest = ""

    def embed(self, images: Images) -> Embeddings:
        return unit_length(self.module(self.preprocessing(images)))


@dataclass(frozen=True)
class Clocked:
    """A recognizer that records the start time of each forward pass with gradients."""

    recognizer: Recognizer
    stamps: list[float] = field(default_factory=list)

    differentiable = True

    @property
    def name(self) -> str:
        return self.recognizer.name

    @property
    def digest(self) -> str:
        return self.recognizer.digest

    def embed(self, images: Images) -> Embeddings:
        if images.requires_grad and torch.is_grad_enabled():
            self.stamps.append(perf_counter())
        return self.recognizer.embed(images)


Descend = Callable[..., Images]  # view, task, steps; those of libraries also radius and step size


@dataclass(frozen=True)
class AttackPass:
    """An attack ``descend(view, task, steps)`` on ``recognizer`` with images in the memory format ``layout``."""

    name: str
    network: str
    recognizer: Recognizer
    layout: torch.memory_format
    repeats: int
    descend: Descend

    def seconds(self, task: Task) -> float:
        """Mean time of ``repeats`` steps, without setup and final evaluation."""
        clocked = Clocked(self.recognizer)
        self._run(clocked, task, self.repeats + 1)
        return (clocked.stamps[-1] - clocked.stamps[0]) / (len(clocked.stamps) - 1)

    def images(self, task: Task) -> Images:
        """The adversarial images of a whole attack."""
        return self._run(self.recognizer, task, STEPS)

    def _run(self, recognizer: Recognizer, task: Task, steps: int) -> Images:
        pairs = task.pairs
        shown = PairBatch(**vars(pairs) | {"probe": pairs.probe.contiguous(memory_format=self.layout)})
        thresholds = torch.full((int(pairs.index.max()) + 1,), THRESHOLD)
        view = View(CosineVerifier(recognizer), thresholds)
        return self.descend(view, Task(task.name, task.goal, shown), steps)


def ours(view: View, task: Task, steps: int) -> Images:
    """``attack=pgd`` from the clean image, as for the libraries."""
    attack = ProjectedDescent(steps=steps, rel_stepsize=STRIDE / STEPS)
    return attack(view, task.pairs, task.goal, Linf(EPSILON)).images


def torchattacks_pgd(view: View, task: Task, steps: int, eps: float = EPSILON, step: float = STEP) -> Images:
    attack = TorchAttack("PGD", {"alpha": step, "steps": steps, "random_start": False})
    return attack(view, task.pairs, task.goal, Linf(eps)).images


def foolbox_pgd(view: View, task: Task, steps: int, eps: float = EPSILON, step: float = STEP) -> Images:
    import foolbox

    model = foolbox.PyTorchModel(two_classes(view, task), bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.LinfPGD(abs_stepsize=step, steps=steps, random_start=False)
    criterion = foolbox.Misclassification(labels(task))
    images: Images = attack.run(model, task.pairs.probe, criterion, epsilon=eps)
    return images.detach()


def art_pgd(view: View, task: Task, steps: int, eps: float = EPSILON, step: float = STEP) -> Images:
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    classifier = PyTorchClassifier(
        two_classes(view, task),
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(task.pairs.probe.shape[1:]),
        nb_classes=CLASSES,
        clip_values=(0, 1),
        device_type="cpu",
    )
    attack = ProjectedGradientDescent(
        classifier, eps=eps, eps_step=step, max_iter=steps, batch_size=len(task.pairs), verbose=False
    )
    return torch.from_numpy(attack.generate(task.pairs.probe.numpy(), labels(task).numpy()))


def labels(task: Task) -> torch.Tensor:
    """The true class for untargeted attacks: 0 match, 1 non-match."""
    return (~task.pairs.same).to(torch.int64)


def two_classes(view: View, task: Task) -> PairVerifier:
    """The verification as a classifier, with the network as a submodule, where libraries look for parameters."""
    model = PairVerifier(view, view.enroll(task.pairs), view.aim(task.goal, task.pairs.index))
    recognizer: Any = view.verifier
    while hasattr(recognizer, "recognizer"):
        recognizer = recognizer.recognizer
    model.add_module("network", recognizer.module if isinstance(recognizer, AsShipped) else recognizer.network)
    return model


LIBRARIES: dict[str, Descend] = {"torchattacks": torchattacks_pgd, "foolbox": foolbox_pgd, "art": art_pgd}


def contenders(recognizer: TorchRecognizer, quick: int = 4, slow: int = 1) -> tuple[Sequence[Contender], list[str]]:
    """The contenders, and the libraries that are not installed.

    Args:
        recognizer: the attacked recognizer.
        quick: steps per turn on the prepared network.
        slow: steps per turn on the original network.
    """
    whole, last = torch.contiguous_format, torch.channels_last
    frozen, trainable = recognizer.as_shipped().requires_grad_(False), recognizer.as_shipped().requires_grad_(True)
    pre, naive = recognizer.preprocessing, AsShipped(trainable, recognizer.preprocessing)
    found = {name: descend for name, descend in LIBRARIES.items() if find_spec(name)}
    return (
        BarePass("forward and backward", "prepared", recognizer.network, pre, last, quick),
        AttackPass("frbench PGD", "prepared", recognizer, last, quick, ours),
        BarePass("forward and backward", "as shipped, frozen", frozen, pre, whole, slow),
        BarePass("forward and backward", "as shipped", trainable, pre, whole, slow),
        *(AttackPass(f"{name} PGD", "as shipped", naive, whole, slow, descend) for name, descend in found.items()),
    ), sorted(LIBRARIES.keys() - found.keys())
