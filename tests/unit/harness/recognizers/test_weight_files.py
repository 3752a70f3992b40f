"""A file that is named as weights and is something else: the error says what it is and what to do."""

from __future__ import annotations

import argparse
import bz2
import gzip
import io
import lzma
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save
from torch import nn

from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.file_kinds import kind_of
from frbench.harness.recognizers.weight_files import read_state, unreadable


def saved(thing: object, **options: bool) -> bytes:
    file = io.BytesIO()
    torch.save(thing, file, **options)
    return file.getvalue()


def picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, kind)
    return file.getvalue()


def archive(**files: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, content in files.items():
            made.writestr(name.replace("__", "."), content)
    return file.getvalue()


def arrays(many: bool) -> bytes:
    file = io.BytesIO()
    if many:
        np.savez(file, a=np.zeros(3))
    else:
        np.save(file, np.zeros(3))
    return file.getvalue()


STATE = {"weight": torch.zeros(300, 10), "bias": torch.zeros(300)}
OBJECTS = {"state_dict": STATE, "args": argparse.Namespace(width=3), "best": np.float64(0.9)}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 4198133\n"
FILES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "an empty file"),
    "zeros": (bytes(5000), "a file of blanks or zeros"),
    "web page": (b"\n<!DOCTYPE html><html><body>Quota exceeded</body></html>", "a web page"),
    "web page with a byte order mark": (b"\xef\xbb\xbf<HTML lang=en>", "a web page"),
    "LFS pointer": (POINTER, "a Git LFS pointer"),
    "answer of an API": (b'{"error": "not found"}', """a text file that begins with '{"error": "not found"}'"""),
    "long text": (("ein Gefäß " * 900).encode(), "a text file that begins with 'ein Gefäß"),
    "JPEG": (picture("JPEG"), "a JPEG image"),
    "PNG": (picture("PNG"), "a PNG image"),
    "WebP": (picture("WEBP"), "a WebP image"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(40), "an HDF5 file"),
    "gzip": (gzip.compress(saved(STATE)), "a gzip archive"),
    "bzip2": (bz2.compress(b"abc"), "a bzip2 archive"),
    "xz": (lzma.compress(b"abc"), "an xz archive"),
    "ZIP of weights": (
        archive(backbone__pth=saved(STATE), README__md=b"hello"),
        "a ZIP archive of README.md, backbone",
    ),
    "NumPy array": (arrays(many=False), "a NumPy array"),
    "NumPy arrays": (arrays(many=True), "an archive of NumPy arrays (a.npy)"),
    "whole network": (saved(nn.Linear(3, 2)), "a pickle of Python objects (torch.nn.modules.linear.Linear)"),
    "whole network of old": (saved(nn.PReLU(), _use_new_zipfile_serialization=False), "(torch.nn.modules.activation"),
    "objects beside tensors": (saved(OBJECTS), "(argparse.Namespace, numpy"),
    "plain pickle of an object": (pickle.dumps(argparse.Namespace(a=1)), "(argparse.Namespace)"),
    "cut ZIP": (saved(STATE)[:3000], "without its end"),
    "cut pickle": (pickle.dumps(list(range(3000)))[:2000], "the beginning of a pickle"),
    "cut safetensors": (save(STATE)[:5000], "of the 13,"),
    "cut header of safetensors": (save(STATE)[:30], "the beginning of a safetensors file"),
}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".onnx"])
@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_that_the_error_says_what_a_file_is_whatever_its_suffix(tmp_path: Path, name: str, suffix: str) -> None:
    content, what = FILES[name]
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(FrbenchError) as error:
        read_state(path)
    text = str(error.value)
    assert f"{path} is " in text and what in text and "not network weights: " in text
    assert "\n" not in text and len(text) < 500


def scripted(script: bool) -> bytes:
    network, file = nn.Sequential(nn.Linear(3, 2)), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.jit.script(network) if script else torch.jit.trace(network, torch.zeros(1, 3))
        torch.jit.save(made, file)
    return file.getvalue()


def exported() -> bytes:
    pytest.importorskip("onnx")
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(nn.Linear(3, 2).eval(), (torch.zeros(1, 3),), file, dynamo=False)
    return file.getvalue()


@pytest.mark.parametrize(
    ("make", "form"),
    [
        (lambda: saved(STATE), "PyTorch"),
        (lambda: saved({"state_dict": STATE, "epoch": 3}), "PyTorch"),
        (lambda: saved(nn.Linear(128, 128).state_dict(), _use_new_zipfile_serialization=False), "PyTorch"),
        (lambda: save(STATE), "safetensors"),
        (lambda: scripted(script=True), "TorchScript"),
        (lambda: scripted(script=False), "TorchScript"),
        (exported, "ONNX"),
    ],
)
def test_that_formats_of_weights_are_known_by_their_content(
    tmp_path: Path, make: Callable[[], bytes], form: str
) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(make())
    kind = kind_of(path)
    assert kind is not None and kind.form == form
    other = unreadable(path, "a thing", ValueError("no"), forms=())
    assert str(other).startswith(f"{path} is {kind.name}, not a thing: take recognizer=")
    damaged = unreadable(path, "a thing", ValueError("many words " * 40), forms=(kind.form,))
    assert "cannot be read as a thing (many words" in str(damaged)
    assert "words …)" in str(damaged) or "many …)" in str(damaged)


def test_that_a_suffix_does_not_decide_how_weights_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(save(STATE))
    (tmp_path / "b.safetensors").write_bytes(saved(STATE))
    assert {name: each.shape for name, each in read_state(tmp_path / "a.pth").items()} == {
        name: each.shape for name, each in read_state(tmp_path / "b.safetensors").items()
    }
