"""Only classes of frbench and of packages trusted by name may be built."""

from __future__ import annotations

import pytest

from frbench.harness.core.errors import ConfigError
from frbench.harness.core.trusted_targets import check_target


def test_targets_of_frbench_and_of_trusted_packages_pass() -> None:
    check_target("frbench.attacks.cw.CarliniWagner", ())
    check_target("my_nets.Net", ("my_nets",))


@pytest.mark.parametrize("target", ["os.system", "frbenchmark.Net", "my_nets.Net", 3, None])
def test_any_other_target_is_refused_with_the_option_that_trusts_it(target: object) -> None:
    with pytest.raises(ConfigError, match=r"is outside frbench; if you trust that package, add trust=\[") as error:
        check_target(target, ("other_nets",))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "target",
    [
        "frbench.harness.core.atomic.os.system",
        "frbench.harness.core.atomic.Path",
        "frbench.attacks.projected_gradient_descent.torch.hub.load",
        "json.decoder.scanner.re.compile",
    ],
)
def test_what_a_module_imports_from_another_package_is_refused(target: str) -> None:
    with pytest.raises(ConfigError, match="a module there imports it; give its own module"):
        check_target(target, ("json",))


@pytest.mark.parametrize(
    "target",
    [
        "json.decoder.JSONDecoder",
        "json.scanner.make_scanner",
        "json.nowhere.Net",
        "frbench.attacks.nowhere.Attack",
        "frbench.attacks.cw.CarliniWagnr",
        "frbench.attacks.cw.CarliniWagner.describe",
        "frbench.harness.training.loop.Schedule",
    ],
)
def test_names_of_the_package_pass_whether_or_not_they_exist(target: str) -> None:
    check_target(target, ("json",))
