"""File names of tables and figures: easy to type, distinct, and independent of settings that all of them have."""

from __future__ import annotations

import re

from frbench.harness.reporting.file_names import FileName, file_names


def scores(*subject: str, other: tuple[str, ...] = ()) -> FileName:
    return FileName("scores", subject, other)


def test_that_a_name_has_the_options_without_their_settings() -> None:
    assert file_names(
        [scores("lfw(limit=80)", "onnx(path=/home/me/a.onnx)", "", "adaptive", "defense_jpeg(quality=75)")]
    ) == ["scores-lfw-onnx-adaptive-defense_jpeg"]


def test_that_files_of_the_same_options_have_the_settings_that_differ() -> None:
    limits = [scores("lfw(limit=80)", "tiny"), scores("lfw(limit=40, seed=1)", "tiny"), scores("lfw", "tiny")]
    assert file_names(limits) == [
        "scores-lfw-tiny-limit_80",
        "scores-lfw-tiny-limit_40-seed_1",
        "scores-lfw-tiny",
    ]
    files = [scores("lfw(limit=80)", f"onnx(path=/home/me/{name}.onnx)") for name in "ab"]
    assert file_names(files) == ["scores-lfw-onnx-a", "scores-lfw-onnx-b"]
    assert file_names([scores("lfw"), scores("lfw", other=("verification", "seed=1, fit_seed=2"))]) == [
        "scores-lfw",
        "scores-lfw-seed_1-fit_seed_2",
    ]


def test_that_long_or_equal_settings_are_replaced_by_a_number() -> None:
    same = [scores("lfw", f"onnx(path=/home/{name}/net.onnx)") for name in "ab"]
    assert file_names(same) == ["scores-lfw-onnx-net", "scores-lfw-onnx-net-2"]
    long = [scores("lfw", f"onnx({', '.join(f'key{k}={name * 9}' for k in range(9))})") for name in "ab"]
    assert file_names(long) == ["scores-lfw-onnx", "scores-lfw-onnx-2"]


def test_that_a_name_needs_no_quotes_in_a_shell() -> None:
    (name,) = file_names([scores("minimal(attack=pgd)", "my recognizer/é", "linf_5p1")])
    assert re.fullmatch(r"[A-Za-z0-9._-]+", name)


def test_that_names_too_long_for_a_file_system_are_cut_and_stay_distinct() -> None:
    names = file_names([FileName("asr", ("y" * 3000, end)) for end in ("pgd", "fgsm")])
    assert len(set(names)) == 2 and all(len(name) <= 200 for name in names)
