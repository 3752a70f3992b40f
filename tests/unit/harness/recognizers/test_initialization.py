"""Networks without weights: drawn by the seed alone, known by what they are, and loaded from what training leaves."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support.toy_learners import SIDE, SmallNet, network
from torch import Tensor, nn

from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.recognizers.architectures.mobilefacenet import MobileFaceNet
from frbench.harness.recognizers.initialization import (
    Architecture,
    bare,
    load_member,
    member_names,
    reinitialize_last_layer,
    seed_of,
)
from frbench.harness.recognizers.preprocessing import unit_length
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: each.clone() for name, each in module.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def artifact(*modules: nn.Module) -> dict[str, Tensor]:
    return {
        f"members.{k}.{name}": each
        for k, module in enumerate(modules)
        for name, each in bare(module).state_dict().items()
    }


def test_weights_are_a_function_of_the_seed_and_nothing_else_is_drawn() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    one = weights(network().module(7))
    assert torch.equal(torch.rand(3), wanted), "the global state goes on as if nothing had been drawn"
    torch.manual_seed(6)
    assert same(one, weights(network().module(7)))
    assert not same(one, weights(network().module(8)))


def test_it_takes_images_between_zero_and_one() -> None:
    untrained, images = network(), torch.rand(4, 3, SIDE, SIDE)
    module = untrained.module(0).eval()
    assert torch.equal(module(images), module.network((images - 0.5) / 0.5))
    assert module(torch.rand(2, 3, 40, 30)).shape == (2, 16), "other sizes are resized"


def test_it_is_known_by_its_architecture_and_preprocessing() -> None:
    assert fingerprint(network(16)) == fingerprint(network(16))
    others = [network(8), Architecture(partial(SmallNet, 16), size=112), Architecture(partial(SmallNet, 16), bgr=True)]
    assert len({fingerprint(each) for each in [network(16), *others]}) == 4


def test_seeds_of_several_numbers_differ_and_are_accepted_by_pytorch() -> None:
    seeds = {seed_of(seed, kind, member) for seed in range(20) for kind in range(2) for member in range(5)}
    assert len(seeds) == 200 and all(0 <= seed < 2**63 for seed in seeds)
    torch.Generator().manual_seed(max(seeds))


def test_only_the_end_is_drawn_anew() -> None:
    module = network().module(0)
    nn.init.normal_(bare(module).bn.weight)
    before = weights(module)
    reinitialize_last_layer(module, 3)
    changed = {name for name, each in weights(module).items() if not torch.equal(each, before[name])}
    assert changed == {"network.end.weight", "network.end.bias", "network.bn.weight"}
    assert (bare(module).bn.weight == 1).all()
    again = network().module(0)
    reinitialize_last_layer(again, 4)
    assert not torch.equal(bare(again).end.weight, bare(module).end.weight)
    with pytest.raises(FrbenchError, match="ReLU has no linear layer or convolution"):
        reinitialize_last_layer(nn.ReLU(), 0)


def test_a_member_is_loaded_from_the_artifact_of_training() -> None:
    members = [network().module(seed) for seed in range(3)]
    tensors = {**artifact(*members), "heads.0": torch.zeros(2, 16), "history/loss": torch.zeros(3)}
    assert member_names(tensors) == ["members.0.", "members.1.", "members.2."]
    blank = network().module(9)
    assert load_member(blank, tensors, 2) is blank
    assert same(weights(blank), weights(members[2]))
    for module, member, words in (
        (blank, 3, "has 3 members, and none of number 3"),
        (network(8).module(0), 0, "does not fit"),
        (Architecture(partial(nn.Linear, 3, 3)).module(0), 0, "does not fit"),
    ):
        with pytest.raises(FrbenchError, match=words) as error:
            load_member(module, tensors, member)
        assert "\n" not in str(error.value)


def test_a_weight_file_of_members_is_one_of_a_torch_recognizer(tmp_path: Path) -> None:
    module = network().module(1).eval()
    save_file(artifact(module), tmp_path / "trained.safetensors")
    path = str(tmp_path / "trained.safetensors")
    recognizer = TorchRecognizer("x", partial(SmallNet, 16), path, 0.5, 0.5, size=SIDE, prefix="members.0.")
    images = torch.rand(3, 3, SIDE, SIDE)
    with torch.no_grad():
        assert torch.allclose(recognizer.embed(images), unit_length(module(images)), atol=1e-5)


def test_narrow_mobilefacenets_have_channels_in_eights_and_the_whole_one_its_names() -> None:
    whole, half = MobileFaceNet(), MobileFaceNet(width=0.5)
    assert {name: each.shape for name, each in whole.state_dict().items()} == {
        name: each.shape for name, each in MobileFaceNet(128, 1.0).state_dict().items()
    }
    fewer = sum(each.numel() for each in half.parameters()) / sum(each.numel() for each in whole.parameters())
    assert 0.25 < fewer < 0.35
    narrow = half.state_dict()
    assert narrow.keys() == whole.state_dict().keys()
    for module in MobileFaceNet(width=0.3).modules():
        if isinstance(module, nn.BatchNorm2d) and module.num_features != 128:
            assert module.num_features % 8 == 0
    assert narrow["gdconv.depthwise.weight"].shape == (256, 1, 7, 7)
    assert narrow["conv1.0.weight"].shape == (32, 3, 3, 3)
    assert narrow["conv3.weight"].shape == (128, 256, 1, 1)
    assert MobileFaceNet(64, 0.25).eval()(torch.zeros(2, 3, 112, 112)).shape == (2, 64)
