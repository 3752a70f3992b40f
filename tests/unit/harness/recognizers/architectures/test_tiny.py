"""The shipped recognizer ``tiny`` does what it is shipped for, through its own YAML."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from safetensors import safe_open

from frbench.datasets.synthetic.dataset import Synthetic
from frbench.harness.config import build, resolution
from frbench.harness.core.face_data import PairSet
from frbench.harness.metrics.verification import auc, kfold_accuracy
from frbench.harness.recognizers import weight_files
from frbench.harness.recognizers.architectures.tiny import TinyNet
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer


@pytest.fixture(scope="module")
def tiny() -> TorchRecognizer:
    with initialize_config_module("frbench.conf", version_base="1.3"):
        config = resolution.plain(compose("run", ["recognizer=tiny", "device=cpu"]))
    recognizer = build.instantiate(config["recognizer"], "recognizer")
    assert isinstance(recognizer, TorchRecognizer)
    return recognizer


@pytest.fixture(scope="module")
def pairs(image_cache: Path) -> PairSet:
    """A third of the people of the shipped option, to be quick."""
    with initialize_config_module("frbench.conf", version_base="1.3"):
        source: Synthetic = instantiate(
            compose("run", ["dataset=synthetic", "dataset.people=40", "dataset.pairs=400"]).dataset
        )
    return source.open(image_cache)


def scores(recognizer: TorchRecognizer, pairs: PairSet) -> np.ndarray:
    with torch.no_grad():
        parts = np.array_split(np.arange(len(pairs.images)), len(pairs.images) // 64 + 1)
        embeddings = torch.cat([recognizer.embed(pairs.load(part)) for part in parts]).numpy()
    return (embeddings[pairs.probe] * embeddings[pairs.reference]).sum(axis=1)


def test_that_tiny_verifies_people_it_has_never_seen_with_97_per_cent(tiny: TorchRecognizer, pairs: PairSet) -> None:
    found = scores(tiny, pairs)
    assert kfold_accuracy(found, pairs.same, pairs.fold).accuracy >= 0.97
    assert auc(found, pairs.same) > 0.99


def test_that_an_untrained_tiny_does_not_verify(tiny: TorchRecognizer, pairs: PairSet) -> None:
    """The faces do not give the answer away: it is the training that knows people."""
    torch.manual_seed(0)
    net = TinyNet().eval()
    with torch.no_grad():
        embeddings = torch.nn.functional.normalize(net(pairs.load(np.arange(len(pairs.images))) * 2 - 1)).numpy()
    found = (embeddings[pairs.probe] * embeddings[pairs.reference]).sum(axis=1)
    assert kfold_accuracy(found, pairs.same, pairs.fold).accuracy < 0.9


def test_that_the_weights_are_small_and_say_how_they_were_trained() -> None:
    weights = Path(weight_files.__file__).with_name("tiny.safetensors")
    assert weights.stat().st_size < 1_000_000
    with safe_open(weights, framework="pt") as file:
        facts = file.metadata()
    assert facts["trained_by"] == "scripts/ship_demo.py"
    assert facts["people_seed"] == "1"
    assert float(facts["validation_accuracy_per_cent"]) >= 97


def test_that_gradients_reach_every_part_of_the_image(tiny: TorchRecognizer) -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 3, 112, 112, requires_grad=True)
    tiny.embed(images)[:, 0].sum().backward()
    assert images.grad is not None
    assert (images.grad != 0).float().mean() > 0.95


def test_that_embeddings_have_unit_length_and_do_not_depend_on_the_batch(tiny: TorchRecognizer) -> None:
    torch.manual_seed(0)
    images = torch.rand(11, 3, 112, 112)
    embeddings = tiny.embed(images)
    assert embeddings.shape == (11, 128)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(11))
    torch.testing.assert_close(tiny.embed(images[3:5]), embeddings[3:5], atol=1e-5, rtol=0)
