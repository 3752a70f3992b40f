"""Labels of options in words: no folders, no file endings, and still distinct."""

from __future__ import annotations

import pytest

from frbench.harness.reporting.words import defense_words, short_labels, split_label, words


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("pgd", "pgd"),
        ("lfw(limit=240)", "LFW, 240 pairs"),
        ("lfw(calibrate=200, limit=40)", "LFW, 40 pairs, calibrated on 200 pairs"),
        ("onnx(path=/home/me/models/w600k_r50.onnx)", "onnx (w600k_r50)"),
        ("trained(member=1, weights=runs/diverse.safetensors)", "trained (member 1, diverse)"),
        (r"onnx(path=C:\models\net.onnx)", "onnx (net)"),
        ("ensemble(members=['/a/one.onnx', '/a/two.onnx'])", "ensemble (members ['one', 'two'])"),
        ("pgd(rel_stepsize=0.25)", "pgd (rel stepsize 0.25)"),
        ("linf(eps=8/255)", "linf (eps 8/255)"),
        ("lfw(root=/)", "LFW, root /"),
        ("seed=1, fit_seed=2", "seed 1, fit seed 2"),
        ("synthetic", "synthetic faces"),
        ("", ""),
    ],
)
def test_that_words_have_no_folder_and_no_file_ending(label: str, expected: str) -> None:
    assert words(label) == expected


def test_that_a_label_splits_into_option_and_settings() -> None:
    assert split_label("pca(faces=[1, 2], keep=9)") == ("pca", ["faces=[1, 2]", "keep=9"])
    assert split_label("seed=1, fit_seed=2") == ("", ["seed=1", "fit_seed=2"])
    assert split_label("linear(C=1), tiny") == ("linear(C=1), tiny", [])
    assert split_label("pgd") == ("pgd", [])


def test_that_no_defense_is_named_so() -> None:
    assert (defense_words("none"), defense_words("jpeg(quality=75)")) == ("no defense", "defense jpeg (quality 75)")


def test_that_shared_settings_are_said_once() -> None:
    labels = ["none", "pin(faces=a, keep=1)", "pin(faces=a, keep=2)", "gray(faces=a)"]
    assert short_labels(labels) == (["no defense", "pin (keep 1)", "pin (keep 2)", "gray"], "faces a")


def test_that_files_of_one_name_keep_the_folder_that_tells_them_apart() -> None:
    labels = ["trained(weights=/runs/one/net.safetensors)", "trained(weights=/runs/two/net.safetensors)"]
    assert short_labels(labels) == (["trained (one/net)", "trained (two/net)"], "")
