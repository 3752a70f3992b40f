"""How PuFace's purifier is fitted: cloaks made stronger in, the natural photo out (specs/cloaks_puface 5.2 to 5.4).

It warms up on the image loss alone. The feature loss finds no way out of the identity, where the network begins and
natural photos cost nothing: measured, in 100 steps it got nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from frbench.defenses.cloak_removal.amplification import Amplification, amplify
from frbench.defenses.cloak_removal.cloaked_faces import CloakedFaces
from frbench.defenses.cloak_removal.rednet import RedNet
from frbench.defenses.components.artifact_keys import named, under
from frbench.harness.core.contracts import Artifact, FitContext, Recognizer
from frbench.harness.core.domains import EvenCount, NonNegative, OpenFraction, Positive, PositiveInt
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import FaceSet, Images
from frbench.harness.training.loop import Schedule, train

_CHUNK = 64  # photos that are embedded or examined at a time
_LIKE_THIS = 512  # dimensions of the embeddings for which the weight of the features was published


@dataclass(frozen=True)
class Photos:
    """M natural photos as ``faces``, their cloaks uint8 (M, H, W, 3), and embeddings (2, M, D), as they are and turned.

    The embeddings have no dimensions where features have no weight.
    """

    identity = "recipe.puface_photos"
    version = 1

    faces: FaceSet
    cloaked: Tensor
    embeddings: Tensor

    @classmethod
    def of(cls, faces: FaceSet, cloaked: Tensor, recognizer: Recognizer | None, device: torch.device) -> Photos:
        """With what ``recognizer`` says of the natural ones."""
        ways: list[list[Tensor]] = [[], []]
        with torch.no_grad():
            for part in _chunks(len(cloaked)):
                images = faces.load(part, device)
                for way, each in zip(ways, (images, images.flip(3)), strict=True):
                    way.append(images.new_zeros(len(part), 0) if recognizer is None else recognizer.embed(each))
        return cls(faces, cloaked.to(device), torch.stack([torch.cat(way) for way in ways]))

    def deltas(self, natural: Images, rows: Tensor) -> Tensor:
        """What the cloaks of ``rows`` add to their ``natural`` photos."""
        return self.cloaked[rows].permute(0, 3, 1, 2).to(natural.dtype) / 255 - natural


def _chunks(count: int) -> Iterator[np.ndarray]:
    return (np.arange(first, min(first + _CHUNK, count)) for first in range(0, count, _CHUNK))


@dataclass(frozen=True)
class Judge:
    """What a purified photo costs: the root mean squared error, and ``weight`` times the mean absolute difference of
    embeddings by ``features``.
    """

    identity = "recipe.puface_features"
    version = 1

    features: Recognizer | None = None
    weight: float = 0.0

    def __call__(self, purified: Images, natural: Images, known: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        image = ((purified - natural).square().mean() + 1e-12).sqrt()
        if self.features is None:
            return image, {"image": image}
        feature = (self.features.embed(purified) - known).abs().mean()
        weight = self.weight * (known.shape[1] / _LIKE_THIS) ** 0.5
        return image + weight * feature, {"image": image, "feature": feature}


class _Purifying(nn.Module):
    """A ``Learner``: how far what it makes of amplified cloaks is from the natural photos."""

    def __init__(self, network: RedNet, judge: Judge, amplification: Amplification, photos: Photos) -> None:
        super().__init__()
        self.network, self.judge, self.amplification, self.photos = network, judge, amplification, photos

    def loss(self, images: Images, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        turn = torch.rand(len(rows), generator=generator, device=rows.device) < 0.5
        delta = self.photos.deltas(images, rows)
        natural, delta = (torch.where(turn[:, None, None, None], each.flip(3), each) for each in (images, delta))
        known = self.photos.embeddings[turn.long(), rows]
        return self.judged(self.amplification(natural, delta, generator), natural, known)

    def judged(self, seen: Images, natural: Images, known: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What the purifier of ``seen`` costs; in full precision but for the purifier itself."""
        purified = self.network(seen).float()
        with torch.autocast(seen.device.type, enabled=False):
            return self.judge(purified, natural, known)

    def stepped(self, steps: int) -> None:
        pass


class _Examined(_Purifying):
    """``Examined`` on ``others``, cloaked by ``k`` times their deltas or natural, in the shares of training."""

    def __init__(self, *parts: Any, others: Photos, k: float) -> None:
        super().__init__(*parts)
        self.others, self.k = others, k

    def examination(self) -> Mapping[str, Tensor]:
        share, losses = self.amplification.natural, []
        for part in _chunks(len(self.others.cloaked)):
            rows = torch.from_numpy(part).to(self.others.cloaked.device)
            natural, known = self.others.faces.load(part, rows.device), self.others.embeddings[0, rows]
            cloaked = amplify(natural, self.others.deltas(natural, rows), self.k)
            pair = torch.stack([self.judged(seen, natural, known)[0] for seen in (cloaked, natural)])
            losses.append(pair * (len(part) / len(self.others.cloaked)))
        on_cloaked, on_natural = torch.stack(losses).sum(dim=0)
        both = (1 - share) * on_cloaked + share * on_natural
        return {"validation": both, "validation_cloaked": on_cloaked, "validation_natural": on_natural}


@dataclass(frozen=True)
class Course:
    """What both phases share: a ``RedNet`` of ``layers`` and ``channels``, and the cloaks that it learns from.

    validation: the share of people who are kept from training.
    """

    identity = "recipe.puface_course"
    version = 1

    cloaks: CloakedFaces
    layers: EvenCount
    channels: PositiveInt
    amplification: Amplification
    validation: OpenFraction

    def network(self) -> RedNet:
        return RedNet(self.layers, self.channels)

    def photos(self, context: FitContext, features: Recognizer | None) -> tuple[Photos, Photos]:
        """To train on, and to validate on."""
        made = self.cloaks.made(context)
        faces, cloaked = chosen(context.faces, made.rows), made.cloaked
        inside, outside = (
            Photos.of(chosen(faces, rows), cloaked[torch.from_numpy(rows)], features, context.device)
            for rows in self.split(faces.identity, context.seed)
        )
        return inside, outside

    def split(self, identity: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows to train on and rows to validate on, of different people. Raises FrbenchError: none of either."""
        people = np.random.default_rng((seed, 1)).permutation(np.unique(identity))
        held = round(self.validation * len(people))
        if not 0 < held < len(people):
            raise ConfigError(
                f"validation={self.validation} of {len(people)} people is {held}: there must be some to train on and "
                "some to validate on"
            )
        outside = np.isin(identity, people[:held])
        return np.flatnonzero(~outside), np.flatnonzero(outside)


@dataclass(frozen=True)
class WarmUp:
    """The first phase: the image loss alone. Its last weights are kept, since cloaks that are not amplified tell little
    of it yet.
    """

    identity = "recipe.puface_warmup"
    version = 1

    course: Course
    schedule: Schedule

    needs_recognizer = False

    def fit(self, context: FitContext) -> Artifact:
        photos, _ = self.course.photos(context, None)
        torch.manual_seed(context.seed)
        learner = _Purifying(self.course.network(), Judge(), self.course.amplification, photos)
        return _trained(learner, self.schedule, context, "warm-up")


@dataclass(frozen=True)
class PufaceRecipe(Course):
    """A purifier that makes natural photos of ``cloaks``, amplified.

    feature_weight: of the mean absolute difference of embeddings by ``features``, beside the root mean squared error of
    the image; for embeddings of D dimensions times the root of D / 512, since their parts are larger. 0 for the image
    alone, and then nothing is embedded.
    warmup: a schedule of the image loss alone, before; None for none.
    validation_k: the best epoch is that of the least loss on cloaks of so many times their size, of the other people.
    """

    identity = "recipe.puface"
    version = 1

    features: Recognizer | None
    schedule: Schedule
    warmup: Schedule | None = None
    feature_weight: NonNegative = 20.0
    validation_k: Positive = 1.0

    needs_recognizer = False

    def fit(self, context: FitContext) -> Artifact:
        """Raises FrbenchError: no gradients of ``features``; too few people to keep some from training."""
        features = self.features if self.feature_weight else None
        if features is not None and not features.differentiable:
            raise ConfigError(f"PuFace is fitted through the gradients of features, and {features.name} has none")
        inside, outside = self.photos(context, features)
        torch.manual_seed(context.seed)
        network = self.network()
        if self.warmup is not None:
            shared = {each.name: getattr(self, each.name) for each in fields(Course)}
            begun = context.part(WarmUp(Course(**shared), self.warmup))
            network.load_state_dict(under(begun, "network"))
        judge = Judge(features, self.feature_weight)
        learner = _Examined(network, judge, self.amplification, inside, others=outside, k=self.validation_k)
        return _trained(learner, self.schedule, context, "purifier")


def _trained(learner: _Purifying, schedule: Schedule, context: FitContext, title: str) -> Artifact:
    history = train(learner, schedule, replace(context, faces=learner.photos.faces), title)
    return named("network", learner.network.state_dict()) | named("history", history)


def chosen(faces: FaceSet, rows: np.ndarray) -> FaceSet:
    """The photos ``rows`` of ``faces``, in memory."""
    return replace(faces, images=np.ascontiguousarray(faces.images[rows]), identity=faces.identity[rows])
