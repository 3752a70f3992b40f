"""Freed memory is there for the next tensor."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from frbench.harness.allocation import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(24):  # until the pieces fit each other
    torch.ones(1 << 24)
before = faults()
for _ in range(4):
    torch.ones(1 << 24)
print(faults() - before)
"""


def page_faults(word: str) -> int:
    """Of four tensors of 64 MiB, after many that were freed."""
    ended = subprocess.run([sys.executable, "-c", FAULTS, word], capture_output=True, text=True, check=True)
    return int(ended.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the advice is for glibc")
def test_that_a_tensor_takes_the_memory_of_the_one_before_it_without_new_pages() -> None:
    given_back, kept = page_faults("given back"), page_faults("kept")
    assert kept < 100
    assert given_back > 10 * max(kept, 1)
