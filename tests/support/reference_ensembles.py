"""Ensembles as tests make them: fused scores from the formulas, and an artifact of networks that nobody trained."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from frbench.harness.core.contracts import Draw, Fitted, Images, Recognizer, Verifier
from frbench.harness.recognizers.architectures.tiny import TinyNet
from frbench.harness.recognizers.fusion import Fusion
from frbench.harness.recognizers.initialization import Architecture, bare

NET = Architecture(partial(TinyNet, width=4, dim=16))
FUSIONS: list[Fusion] = ["mean", "concat", "min"]


def score(verifier: Verifier, probe: Images, reference: Images) -> Tensor:
    index = torch.arange(len(probe))
    return verifier.score(probe, verifier.enroll(reference, index, Draw()), Draw())


def by_hand(members: tuple[Recognizer, ...], probe: Images, reference: Images) -> dict[str, Tensor]:
    z, r = (torch.stack([each.embed(images) for each in members], dim=1) for images in (probe, reference))  # (N, K, d)
    cosines = torch.einsum("nkd,nkd->nk", z, r)
    mean = torch.einsum("nd,nd->n", normalize(z.sum(dim=1)), normalize(r.sum(dim=1)))
    return {"mean": mean, "concat": cosines.mean(dim=1), "min": cosines.min(dim=1).values}


def artifact(members: int = 3, network: Architecture = NET) -> Fitted:
    states = {number: bare(network.module(number)).state_dict() for number in range(members)}
    tensors = {f"members.{k}.{name}": each for k, state in states.items() for name, each in state.items()}
    return Fitted("key", "sha", tensors | {"heads.0": torch.ones(5, 16), "history/loss": torch.ones(2)})


def pictures(count: int = 6, seed: int = 0) -> Images:
    return torch.rand(count, 3, 112, 112, generator=torch.Generator().manual_seed(seed))


def newborn(count: int = 3) -> tuple[Any, ...]:
    """The members by themselves, unprepared."""
    modules = [NET.module(number).eval() for number in range(count)]
    return tuple(SimpleNamespace(embed=lambda images, each=each: normalize(each(images))) for each in modules)
