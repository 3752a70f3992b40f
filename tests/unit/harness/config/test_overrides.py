"""Words of the command line in the order and form that Hydra reads."""

from __future__ import annotations

from frbench.harness.config.overrides import tidied


def test_that_flags_may_stand_between_overrides() -> None:
    """Hydra's parser refuses an override that follows a flag which follows another override."""
    words = ["attack=fgsm", "--config-dir", "my_conf", "goal=dodging", "-m", "~protocol.postprocessing"]
    assert tidied(words) == ["-m", "--config-dir=my_conf", "attack=fgsm", "goal=dodging", "~protocol.postprocessing"]
