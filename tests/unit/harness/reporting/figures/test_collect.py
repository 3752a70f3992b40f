"""Which figures a report has, by their file names and titles; nothing is drawn."""

from __future__ import annotations

from support.fake_records import NAMES, FakeStore, attacked, clean_measurements, figures, sweep, with_pictures

ONNX = {"recognizer.path": "/home/me/models/w600k_r50.onnx"}


def test_that_every_kind_comes_in_its_place_with_a_caption_of_one_sentence() -> None:
    found = figures(with_pictures(sweep()))
    assert list(dict.fromkeys(spec.file.kind for spec in found.values())) == [
        "knowledge_ladder",
        "accuracy_against_robustness",
        "roc_and_det",
        "asr_by_budget",
        "asr_heatmap",
        "scores",
        "examples",
    ]
    for spec in found.values():
        assert spec.caption.endswith(".") and ". " not in spec.caption


def test_that_names_and_titles_have_no_paths_and_no_hashes() -> None:
    store = FakeStore()
    for budget in ("linf_2", "linf_8"):
        names = NAMES | {"recognizer": "onnx", "budget": budget}
        attacked(store, names, 8.0, 0.4, settings=ONNX | {"defense.weights": "/home/me/net.safetensors"})
    found = figures(with_pictures(store))
    assert list(found) == [
        "accuracy_against_robustness-lfw-onnx-linf_2",
        "accuracy_against_robustness-lfw-onnx-linf_8",
        "asr_by_budget-lfw-onnx-linf-attack_pgd",
        "asr_heatmap-lfw-onnx-linf_2",
        "asr_heatmap-lfw-onnx-linf_8",
        "scores-lfw-onnx-adaptive-linf_2-attack_pgd",
        "scores-lfw-onnx-adaptive-linf_8-attack_pgd",
        "examples-lfw-onnx-dodging-adaptive-defense_jpeg",
    ]
    shown = " ".join(f"{spec.title} {spec.setting} {spec.caption}" for spec in found.values())
    assert "onnx (w600k_r50) on LFW, 240 pairs" in shown
    assert "/home" not in shown and ".onnx" not in shown and ".safetensors" not in shown


def test_that_a_store_without_attacks_has_no_figures() -> None:
    store = FakeStore()
    store.add(
        NAMES | {"attack": "none", "defense": "none"}, measurements={"clean": clean_measurements(), "attack": None}
    )
    assert not figures(store)
