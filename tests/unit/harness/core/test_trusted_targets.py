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
