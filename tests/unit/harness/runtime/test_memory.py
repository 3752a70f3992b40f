"""Freed memory is there for the next tensor, and the garbage collector pauses."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys

import pytest

from frbench.harness.runtime.memory import without_garbage_collection

FAULTS = """
import resource, torch
from frbench.harness.runtime.memory import keep_freed_memory
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def of_four_tensors():
    for _ in range(24):  # until the pieces fit each other
        torch.ones(1 << 24)
    before = faults()
    for _ in range(4):
        torch.ones(1 << 24)
    return faults() - before
given_back = of_four_tensors()
assert keep_freed_memory()
print(given_back, of_four_tensors())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the advice is for glibc")
def test_that_a_tensor_takes_the_memory_of_the_one_before_it_without_new_pages() -> None:
    """Page faults of four tensors of 64 MiB, after many that were freed."""
    ended = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    given_back, kept = map(int, ended.stdout.split())
    assert kept < 100
    assert given_back > 10 * max(kept, 1)


SIZES = """
import torch
from frbench.harness.runtime.memory import give_back_freed_memory, keep_freed_memory
assert keep_freed_memory()
def megabytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 >> 20
before = megabytes()
pieces = [torch.ones(number << 18) for number in range(1, 40)]  # 1 to 39 MiB
held = pieces[20::10]  # above the others, so that none lies at the end
del pieces
kept = megabytes()
give_back_freed_memory()
print(kept - before, megabytes() - before, int(sum(each.sum() for each in held)) == sum((21, 31)) << 18)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the advice is for glibc")
@pytest.mark.skipif(platform.system() != "Linux", reason="memory is read from /proc")
def test_that_what_is_kept_goes_back_when_asked_and_what_is_held_stays() -> None:
    ended = subprocess.run([sys.executable, "-c", SIZES], capture_output=True, text=True, check=True)
    kept, left, whole = ended.stdout.split()
    assert int(kept) > 700 and int(left) < 200, "780 MiB, of which 52 are held"
    assert whole == "True"


def test_that_the_garbage_collector_pauses_and_an_error_starts_it_again() -> None:
    assert gc.isenabled()
    paused = []

    def failing() -> None:
        paused.append(not gc.isenabled())
        raise KeyError

    with pytest.raises(KeyError), without_garbage_collection():
        failing()
    assert paused == [True]
    assert gc.isenabled()
