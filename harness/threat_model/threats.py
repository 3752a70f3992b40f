"""Threat models: oblivious, transfer, adaptive and query-based access of the attacker to the victim.

The method: docs/methods/threat_models.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch

from frbench.harness.core.contracts import Recognizer, Verifier, Victim, View
from frbench.harness.core.domains import CosineGap, PositiveInt
from frbench.harness.core.errors import ConfigError, Refused
from frbench.harness.core.verifiers import Averaged
from frbench.harness.threat_model.oracles import DecisionsOnly, ScoresOnly


@dataclass(frozen=True)
class Oblivious:
    """The attacker knows the recognizer and not the defense.

    Attributes:
        margin: attacks that stop at success stop this far beyond the undefended threshold, on the cosine.
    """

    identity = "threat.oblivious"
    version = 1
    sees_recognizer: ClassVar[bool] = True

    margin: CosineGap = 0.05

    def views(self, victim: Victim) -> Mapping[str, View]:
        bare = victim.verifier
        return {"bare": View(bare, victim.calibrate(bare), victim.seed, self.margin)}


@runtime_checkable
class SharesImages(Protocol):
    """A threat model whose adversarial images do not depend on the defense, so that all defenses face the same ones.

    sees_recognizer: whether they depend on the recognizer under attack.
    """

    sees_recognizer: ClassVar[bool]


@runtime_checkable
class UsesSurrogate(Protocol):
    """A threat model whose attacker has another recognizer, the surrogate."""

    @property
    def surrogate(self) -> Recognizer: ...


@dataclass(frozen=True)
class Transfer:
    """The attacker knows a surrogate recognizer and nothing of the victim.

    Attributes:
        surrogate: the recognizer on which images are crafted.
        margin: as for ``Oblivious``, beyond the surrogate's threshold.
    """

    identity = "threat.transfer"
    version = 1
    sees_recognizer: ClassVar[bool] = False

    surrogate: Recognizer
    margin: CosineGap = 0.05

    def views(self, victim: Victim) -> Mapping[str, View]:
        look = victim.lift(self.surrogate)
        return {"surrogate": View(look, victim.calibrate(look), victim.seed, self.margin)}


@dataclass(frozen=True)
class Adaptive:
    """The attacker knows the defense and differentiates through it.

    Attributes:
        surrogate_gradient: name of one of the defense's relaxations, ``default`` for the first of them, or ``worst``
            for the strongest result per pair over all of them.
        eot_samples: draws over which a random defense is averaged per step (expectation over transformation).
        margin: as for ``Oblivious``; small, since this attacker sees the victim's scores up to float noise.
        include_oblivious: also run the oblivious attacker, whose images count where they are stronger.
    """

    identity = "threat.adaptive"
    version = 1

    surrogate_gradient: str = "default"
    eot_samples: PositiveInt = 10
    margin: CosineGap = 1e-3
    include_oblivious: bool = True

    def views(self, victim: Victim) -> Mapping[str, View]:
        known = victim.defense.relaxations(victim.verifier)
        if not known:
            raise Refused(
                "this defense has no differentiable relaxation for threat=adaptive; "
                "use threat=oblivious or threat=query"
            )
        thresholds = victim.calibrate(victim.defense.protect(victim.verifier))
        chosen = {name: self._averaged(known[name]) for name in self._chosen(list(known))}
        views = {name: View(look, thresholds, victim.seed, self.margin) for name, look in chosen.items()}
        return views | dict(Oblivious().views(victim) if self.include_oblivious else {})

    def _chosen(self, names: list[str]) -> list[str]:
        if self.surrogate_gradient == "worst":
            return names
        if self.surrogate_gradient == "default":
            return names[:1]
        if self.surrogate_gradient not in names:
            raise ConfigError(
                f"threat.surrogate_gradient={self.surrogate_gradient} is not one of this defense; "
                f"use {', '.join(names)}, default or worst"
            )
        return [self.surrogate_gradient]

    def _averaged(self, verifier: Verifier) -> Verifier:
        return Averaged(verifier, self.eot_samples) if verifier.random else verifier


@dataclass(frozen=True)
class Query:
    """The attacker queries the defended victim, without its weights or gradients.

    Attributes:
        queries: queries per pair; enrolling the reference is free. The harness counts and enforces the limit.
        feedback: ``score``, with a known threshold, or ``label``, which is accepted or rejected.
        margin: as for ``Adaptive``; labels have none.
    """

    identity = "threat.query"
    version = 1

    queries: PositiveInt = 1000
    feedback: Literal["score", "label"] = "score"
    margin: CosineGap = 1e-3

    def views(self, victim: Victim) -> Mapping[str, View]:
        asked = victim.defense.protect(victim.verifier)
        thresholds = victim.calibrate(asked)
        if self.feedback == "score":
            return {"query": View(ScoresOnly(asked), thresholds, victim.seed, self.margin, self.queries)}
        verdicts, between = DecisionsOnly(asked, thresholds), torch.zeros_like(thresholds)
        return {"query": View(verdicts, between, victim.seed, 0.0, self.queries)}
