"""Photos of other people and their cloaks, made once for all that learn from them (specs/cloaks_puface 5.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from frbench.harness.budgets import Unbounded
from frbench.harness.contracts import Artifact, Attack, Budget, FitContext, Images, Recognizer, View
from frbench.harness.errors import FrbenchError
from frbench.harness.faces import PairBatch
from frbench.harness.goals import Cloak
from frbench.harness.progress import count_bar
from frbench.harness.survival import to_bytes
from frbench.harness.verifiers import CosineVerifier

_BLOCK = 64  # photos cloaked at a time, and lost at most where the work is broken off


@dataclass(frozen=True)
class CloakedFaces:
    """Recipe: ``rows`` (M,) of the faces, and ``cloaked`` uint8 (M, H, W, 3), what those photos become.

    attack: made on ``surrogate``, each photo against itself; ``budget`` is for attacks that are bounded, others have
    limits of their own. count: so many photos, drawn by the seed from all of them; all, where there are fewer.
    """

    attack: Attack
    surrogate: Recognizer
    budget: Budget
    count: int

    needs_recognizer = False

    def fit(self, context: FitContext) -> Artifact:
        """Goes on from ``context.unfinished``, to which blocks of photos are added as they are done.

        Raises FrbenchError: the surrogate has no gradients and the attack needs them.
        """
        if self.attack.needs_gradient and not self.surrogate.differentiable:
            raise FrbenchError(f"{type(self.attack).__name__} needs gradients and {self.surrogate.name} gives none")
        Cloak().check(self.attack)
        rows, path = self.rows(context), context.unfinished
        shape = context.faces.images.shape[1:]
        block = _BLOCK * int(np.prod(shape))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file, count_bar("cloaks", "photos") as report:
            file.truncate(file.tell() // block * block)  # a part of a block may have been written
            for first in range(file.tell() // block * _BLOCK, len(rows), _BLOCK):
                file.write(to_bytes(self._cloaked(context, rows[first : first + _BLOCK])).tobytes())
                file.flush()
                report(first + _BLOCK, len(rows))
        cloaked = np.fromfile(path, np.uint8).reshape(-1, *shape)
        return {"rows": torch.from_numpy(rows), "cloaked": torch.from_numpy(cloaked)}

    def rows(self, context: FitContext) -> np.ndarray:
        """Which photos (M,), in ascending order."""
        order = np.random.default_rng((context.seed, 0)).permutation(len(context.faces.images))
        return np.sort(order[: self.count])

    def _cloaked(self, context: FitContext, rows: np.ndarray) -> Images:
        photos = context.faces.load(rows, context.device)
        index = torch.as_tensor(rows, device=context.device)
        pairs = PairBatch(photos, photos, photos, index >= 0, torch.zeros_like(index), index)
        never = torch.full((len(context.faces.images),), -1.0, device=context.device)  # a threshold nothing passes
        view = View(CosineVerifier(self.surrogate), never, context.seed)
        budget = self.budget if self.attack.bounded else Unbounded()
        return _whole(self.attack(view, pairs, Cloak(), budget).images, photos)


def _whole(images: Tensor, photos: Images) -> Images:
    """``images``, but the photo itself where one is not finite."""
    finite = torch.isfinite(images).flatten(1).all(dim=1)
    return torch.where(finite[:, None, None, None], images, photos)
