"""Threat models: through what does the attacker look? Attack code never knows which it got."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch

from frbench.harness.core.contracts import Recognizer, Verifier, Victim, View
from frbench.harness.core.domains import CosineGap, PositiveInt
from frbench.harness.core.errors import ConfigError, Refused
from frbench.harness.core.verifiers import Averaged
from frbench.harness.threat_model.oracles import DecisionsOnly, ScoresOnly


@dataclass(frozen=True)
class Oblivious:
    """The attacker knows the recognizer and not the defense.

    ``margin``: attacks that stop at success aim that far beyond the bare verifier's threshold, on the cosine.
    """

    identity = "threat.oblivious"
    version = 1

    margin: CosineGap = 0.05

    def views(self, victim: Victim) -> Mapping[str, View]:
        bare = victim.verifier
        return {"bare": View(bare, victim.calibrate(bare), victim.seed, self.margin)}


@runtime_checkable
class UsesSurrogate(Protocol):
    """A threat model whose attacker has another recognizer, the surrogate."""

    @property
    def surrogate(self) -> Recognizer: ...


@dataclass(frozen=True)
class Transfer:
    """The attacker has another recognizer, the surrogate, and no sight of the victim."""

    identity = "threat.transfer"
    version = 1

    surrogate: Recognizer
    margin: CosineGap = 0.05

    def views(self, victim: Victim) -> Mapping[str, View]:
        look = victim.lift(self.surrogate)
        return {"surrogate": View(look, victim.calibrate(look), victim.seed, self.margin)}


@dataclass(frozen=True)
class Adaptive:
    """The attacker knows the defense and differentiates through it.

    surrogate_gradient: name of one of the defense's relaxations, ``default`` for the first of them, or ``worst`` for
        the worst image of each pair over all of them.
    eot_samples: a random defense is averaged over so many draws a step (expectation over transformation).
    margin: as for the others, but only float noise lies between what this attacker sees and the verdict.
    include_oblivious: who knows of the defense may also ignore it, so the oblivious images count where they are worse.
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
            raise Refused("the defense offers no differentiable relaxation, so there is no adaptive view")
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
                f"threat.surrogate_gradient={self.surrogate_gradient} is not offered by this defense; "
                f"take one of {', '.join(names)}, default or worst"
            )
        return [self.surrogate_gradient]

    def _averaged(self, verifier: Verifier) -> Verifier:
        return Averaged(verifier, self.eot_samples) if verifier.random else verifier


@dataclass(frozen=True)
class Query:
    """The attacker may ask the defended victim itself, and sees neither weights nor gradients.

    queries: questions for each pair; enrolling the reference is none. Crafting counts them and answers no more.
    feedback: ``score``, whose threshold the attacker knows, or ``label``: accepted or rejected.
    margin:  as for the adaptive attacker; a decision has none.
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
