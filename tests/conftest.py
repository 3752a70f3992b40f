"""Shared fixtures. Real faces and recognizers come from FRBENCH_DATA and are never committed."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from support.browser import OfflineBrowser, running_browser
from support.slurm_cluster import SlurmCluster, running_slurm
from torch import Tensor

from frbench.harness.core.contracts import Draw, Images, View
from frbench.harness.core.face_data import PairBatch, PairSet
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.reporting.figures import style
from frbench.harness.runtime.memory import keep_freed_memory

# A busy machine fails no test: nothing is asserted about time.
settings.register_profile("frbench", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("frbench")
keep_freed_memory()  # as frbench does
torch.set_num_threads(1)  # test workers run side by side; threads of several processes fight for the cores


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real faces and recognizers, or a skip with the reason."""
    root = os.environ.get("FRBENCH_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("FRBENCH_DATA is not set to a folder with the real faces and recognizers")
    return Path(root).resolve()


@pytest.fixture(scope="session")
def image_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Decoded and rendered faces, which all tests and workers share; empty at first."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "frbench" / "images"


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_session(image_cache: Path) -> Iterator[None]:
    """No test reads or fills the cache of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRBENCH_CACHE", str(image_cache.parent))
        yield


@pytest.fixture(scope="session")
def _slurm_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    with running_slurm(tmp_path_factory.mktemp("slurm") / "cluster") as cluster:
        yield cluster


@pytest.fixture
def slurm(_slurm_of_the_session: SlurmCluster) -> SlurmCluster:
    """A real Slurm of two idle nodes without jobs."""
    cluster = _slurm_of_the_session
    cluster.cancel_all()
    assert cluster.node_states() == ["idle", "idle"]
    return cluster


@pytest.fixture(scope="module")
def browser() -> Iterator[OfflineBrowser]:
    """Chromium without a network. For one module: while it runs, ``asyncio.run`` fails in tests of the same process."""
    with running_browser() as running:
        yield running


def pytest_collection_finish() -> None:
    """Collected tests live to the end: the garbage collector need not look at them again."""
    gc.collect()
    gc.freeze()


@dataclass(frozen=True)
class LinearRecognizer:
    """An embedder whose answers can be worked out by hand: unit(W (x - 0.5)), images of any size."""

    weight: Tensor = field(compare=False)
    name: str = "linear"
    differentiable: bool = True
    digest: str = "linear"

    def fingerprint(self) -> Tensor:
        return self.weight

    def embed(self, images: Images) -> Tensor:
        return torch.nn.functional.normalize((images - 0.5).flatten(1) @ self.weight)


@dataclass(frozen=True)
class SaturatedRecognizer:
    """A masked gradient: the embedding does not depend on the image at all, yet autograd runs."""

    name: str = "saturated"
    differentiable: bool = True
    digest: str = "saturated"

    def embed(self, images: Images) -> Tensor:
        flat = torch.zeros_like(images).flatten(1) * images.flatten(1)
        return torch.nn.functional.normalize(flat[:, :4] + torch.tensor([1.0, 2.0, 3.0, 4.0]))


def random_linear(size: int = 8, dim: int = 16, seed: int = 0) -> LinearRecognizer:
    """A linear recognizer of random weights."""
    generator = torch.Generator().manual_seed(seed)
    return LinearRecognizer(torch.randn(3 * size * size, dim, generator=generator))


@pytest.fixture
def linear() -> Callable[..., LinearRecognizer]:
    return random_linear


@pytest.fixture
def saturated() -> SaturatedRecognizer:
    return SaturatedRecognizer()


def random_batch(count: int = 12, size: int = 8, seed: int = 0, same: bool | None = None) -> PairBatch:
    """Random pairs; genuine ones are noisy copies. Pixels include exact zeros and ones."""
    generator = torch.Generator().manual_seed(seed)
    reference = torch.rand(count, 3, size, size, generator=generator)
    decoy = torch.rand(count, 3, size, size, generator=generator)
    other = torch.rand(count, 3, size, size, generator=generator)
    genuine = torch.arange(count) % 2 == 0 if same is None else torch.full((count,), same)
    probe = torch.where(genuine[:, None, None, None], 0.7 * reference + 0.3 * other, other)
    probe[:, :, 0] = 0.0
    probe[:, :, -1] = 1.0
    index = torch.arange(count)
    return PairBatch(probe, reference, decoy, genuine, index % 10, index)


@pytest.fixture
def batch() -> Callable[..., PairBatch]:
    return random_batch


@pytest.fixture
def view() -> Callable[..., View]:
    def make(recognizer: object, count: int = 12, threshold: float = 0.3, **options: object) -> View:
        return View(CosineVerifier(recognizer), torch.full((count,), threshold), **options)  # type: ignore[arg-type]

    return make


def random_pair_set(count: int = 40, size: int = 8, seed: int = 0) -> PairSet:
    """A small set over random images: half the pairs genuine, ten folds."""
    rng = np.random.default_rng(seed)
    people = rng.integers(0, 256, (count, size, size, 3))
    noise = rng.integers(-40, 41, (count, size, size, 3))
    images = np.concatenate([people, np.clip(people + noise, 0, 255)]).astype(np.uint8)
    number = np.arange(count)
    same = (number // 10) % 2 == 0
    reference = np.where(same, number, (number + 1) % count)
    return PairSet(
        name="toy",
        images=images,
        probe=number + count,
        reference=reference,
        decoy=(number + 2) % count,
        same=same,
        fold=number % 10,
        identity=np.concatenate([number, number]),
        attacked=number,
        digest=f"toy-{count}-{size}-{seed}",
        photos=tuple(f"{each}.png" for each in range(2 * count)),
    )


@pytest.fixture
def pair_set() -> Callable[..., PairSet]:
    return random_pair_set


@pytest.fixture
def draw() -> Draw:
    return Draw()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits between tries, noted instead of waited for."""
    waits: list[float] = []
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=waits.append))
    return waits


@pytest.fixture
def coarse_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few dots, and fonts that are quick to embed: ``test_plots.py`` saves figures as they are shipped."""
    monkeypatch.setattr(style, "_DPI", 50)
    monkeypatch.setitem(style._STYLE, "pdf.fonttype", 3)
