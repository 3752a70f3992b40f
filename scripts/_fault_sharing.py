"""Sections ``images`` and ``sharing`` of scripts/faults.py: several processes that work on one store at once."""

from __future__ import annotations

import random

from _fault_tools import Bench, Result, cards, left_over, records

_DEFENSES = ("none", "blur", "jpeg", "bitdepth", "gray", "small_pca", "wavelet", "tv")


def images(bench: Bench, rng: random.Random, count: int) -> Result:
    """``count`` processes that start at once and want the same adversarial images; one of them makes the images."""
    result, results = Result("images"), bench.results("images")
    sweep = bench.plan(results, cells=["attack=pgd", "goal=dodging", f"defense={','.join(_DEFENSES[:count])}"])
    workers = [bench.start(["work", sweep, f"paths.results={results}"]) for _ in range(count)]
    for ended in [worker.wait() for worker in workers]:
        result.check(ended.code == 0, ended.err)
    made = sum(bool(card["attack_generated"]) for card in cards(results))
    blocks = len(list(results.glob("cache/adversarial/*/*")))
    result.facts = {"processes": count, "cells": len(records(results)), "made by": made, "blocks": blocks}
    result.check(made == blocks == 1, f"{made} cells made {blocks} blocks")
    result.none("left over", left_over(results))
    return result


def sharing(bench: Bench, rng: random.Random, count: int) -> Result:
    """The same sweep in two processes at once, and two sweeps that overlap, on one store."""
    result = Result("sharing")
    half = [*bench.cells[:-1], _half(bench.cells[-1])]
    for name, both in (("same", (bench.cells, bench.cells)), ("overlapping", (half, bench.cells))):
        results = bench.results(name)
        children = [bench.start(["run", *bench.words(results, cells=cells)]) for cells in both]
        ends = [child.wait() for child in children]
        evaluated = sum(end.out.count(" forwards, ") for end in ends)
        result.count("cells", len(records(results)))
        result.count("evaluated", evaluated)
        result.check(evaluated == bench.reference.cells, f"{evaluated} cells were evaluated")
        result.check(not any(end.code for end in ends), "\n".join(end.err for end in ends))
        bench.check_finished(result, results, ends[-1])
    return result


def _half(words: str) -> str:
    """The second half of the values of ``key=value,...``."""
    key, _, values = words.partition("=")
    chosen = values.split(",")
    return f"{key}={','.join(chosen[len(chosen) // 2 :])}"
