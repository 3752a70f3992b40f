"""Which records share a figure."""

from __future__ import annotations

from support.fake_records import NAMES, FakeStore, attacked

from frbench.harness.reporting.grouping import grouped, models
from frbench.harness.storage.records import select


def test_that_a_figure_has_the_records_of_one_setting_and_the_last_of_equal_labels() -> None:
    store = FakeStore()
    for defense in ("none", "jpeg"):
        attacked(store, NAMES | {"defense": defense}, 8.0, 0.4)
    attacked(store, NAMES, 8.0, 0.3, salt="another version")
    attacked(store, NAMES, 8.0, 0.4, settings={"seed": 1})
    groups = dict(grouped(select(store.records(), None), ("threat",)))
    assert [(key[4:], len(group)) for key, group in groups.items()] == [
        (("", "adaptive"), 2),
        (("seed=1", "adaptive"), 1),
    ]


def test_that_the_models_are_in_words_without_folders() -> None:
    key = ("lfw(limit=80)", "onnx(path=/home/me/net.onnx)", "verification", "tiny", "seed=1")
    assert models(key) == "onnx (net) on LFW, 80 pairs, surrogate tiny, seed 1"
