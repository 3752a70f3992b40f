"""The pinned Hydra still words its errors as ``hydra_errors`` parses them, and each becomes our own line."""

from __future__ import annotations

import sys

import pytest
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException

from frbench.harness.config.compose import compose, printed
from frbench.harness.core.errors import ConfigError


def error_of(word: str) -> ConfigError:
    with pytest.raises(ConfigError) as error:
        compose("run", [word])
    return error.value


@pytest.mark.parametrize(
    ("word", "kind", "theirs", "ours"),
    [
        ("attack=pgdd", MissingConfigException, "Available options in 'attack'", "did you mean attack=pgd?"),
        ("atack=pgd", ConfigCompositionException, "Could not override 'atack'", "did you mean 'attack'?"),
        ("attack.stepz=3", ConfigCompositionException, "Could not override 'attack.stepz'", "'attack.steps'?"),
        ("tracker@protocol.tracker=linear", ConfigCompositionException, "Could not override", "protocol=cloaking"),
        ("budget=8", ValueError, "Config group override", "did you mean budget.radius=8?"),
        ("attack=[pgd", OverrideParseException, "no viable alternative", "cannot parse attack=[pgd"),
        ("attack=pgd,fgsm", HydraException, "Ambiguous value for argument 'attack=pgd,fgsm'", "for a sweep add -m"),
    ],
)
def test_that_each_message_is_recognised(word: str, kind: type[Exception], theirs: str, ours: str) -> None:
    error = error_of(word)
    assert isinstance(error.__cause__, kind) and theirs in str(error.__cause__)
    assert ours in str(error) and "\n" not in str(error)


def test_that_a_missing_option_has_its_file_and_the_options_there() -> None:
    cause = error_of("attack=pgdd").__cause__
    assert isinstance(cause, MissingConfigException) and cause.options is not None
    assert cause.missing_cfg_file == "attack/pgdd" and "pgd" in cause.options


def test_that_a_syntax_error_has_its_override() -> None:
    cause = error_of("attack=[pgd").__cause__
    assert isinstance(cause, OverrideParseException) and cause.override == "attack=[pgd"


def test_that_the_arguments_of_the_process_are_restored(capsys: pytest.CaptureFixture[str]) -> None:
    before = list(sys.argv)
    assert printed("run", ["attack=fgsm", "--cfg=job"]) and "attack:" in capsys.readouterr().out
    with pytest.raises(ConfigError):
        printed("run", ["atack=pgd", "--cfg=job"])
    assert sys.argv == before
