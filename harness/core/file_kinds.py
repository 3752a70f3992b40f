"""File types by their first bytes, for error messages about files that are not network weights."""

from __future__ import annotations

import json
import pickletools
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from frbench.harness.core.errors import shortened

HEAD = 4096  # bytes that are read

Form = Literal["PyTorch", "TorchScript", "safetensors", "ONNX"]


@dataclass(frozen=True)
class FileKind:
    """The type of a file.

    Attributes:
        name: completes the sentence "FILE is ...".
        remedy: what to do next.
        form: format of the weights, or None.
    """

    name: str
    remedy: str
    form: Form | None = None


_AGAIN = "copy or download the file again; it is incomplete"
_EXPORT = "save network.state_dict() with torch.save or safetensors, or export the network as ONNX"
_GIVE = "give the path of the network's weights"
_UNPACK = "unpack it, and give the path of the file inside"

# (offset, signature, name, remedy); the first match counts.
_SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (
        0,
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer, which names the weights and does not hold them",
        "run git lfs pull in its repository, or download the file itself",
    ),
    (0, b"\xff\xd8\xff", "a JPEG image", _GIVE),
    (0, b"\x89PNG\r\n", "a PNG image", _GIVE),
    (0, b"GIF8", "a GIF image", _GIVE),
    (8, b"WEBP", "a WebP image", _GIVE),
    (4, b"ftypheic", "a HEIC image", _GIVE),
    (4, b"ftypheix", "a HEIC image", _GIVE),
    (4, b"ftypmif1", "a HEIC image", _GIVE),
    (4, b"ftypavif", "an AVIF image", _GIVE),
    (0, b"%PDF", "a PDF document", _GIVE),
    (0, b"\x89HDF\r\n", "an HDF5 file, as Keras writes", "convert the network to ONNX, for example with tf2onnx"),
    (4, b"TFL3", "a TensorFlow Lite model", "convert the network to ONNX, for example with tf2onnx"),
    (0, b"\x93NUMPY", "a NumPy array", _EXPORT),
    (0, b"\x1f\x8b", "a gzip archive", _UNPACK),
    (0, b"BZh", "a bzip2 archive", _UNPACK),
    (0, b"\xfd7zXZ", "an xz archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (0, b"Rar!", "a RAR archive", _UNPACK),
)
_PAGES = ("<!doctype html", "<html", "<head", "<?xml")


def kind_of(path: Path) -> FileKind | None:
    """The type of the file ``path``; None if unknown. Pickles are scanned and never loaded."""
    with path.open("rb") as file:
        head = file.read(HEAD)
        if not head.strip(b"\0 \t\r\n"):
            name = "an empty file" if not head else "a file of blanks or zeros"
            return FileKind(name, "copy or download it again")
        for offset, begins, name, remedy in _SIGNATURES:
            if head[offset:].startswith(begins):
                return FileKind(name, remedy)
        if head.startswith(b"PK\x03\x04"):
            return _archive(path)
        if head.startswith(b"\x80"):
            return _pickle(file)
        if _begins_as_safetensors(head):
            return _safetensors(file, path.stat().st_size)
        text = _text(head)
    if text is not None:
        return _text_kind(text)
    return _ONNX if head[0] == 0x08 and head[1] < 0x20 and head[2] in _SECOND_FIELDS else None


_ONNX = FileKind("an ONNX model", "take recognizer=onnx recognizer.path=FILE", "ONNX")
_SECOND_FIELDS = b"\x12\x1a\x22\x3a\x42"  # what follows ir_version in an ONNX file: producer, domain, graph, opset


def _text(head: bytes) -> str | None:
    """The beginning of a text file, without an incomplete last character; None for other files."""
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(head) < HEAD or error.start < len(head) - 4:
            return None
        text = head[: error.start].decode("utf-8-sig")
    return text if all(letter.isprintable() or letter in "\t\r\n\f" for letter in text) else None


def _text_kind(text: str) -> FileKind:
    if text.lstrip().lower().startswith(_PAGES):
        return FileKind(
            "a web page",
            "open it in a browser to see what the site answered (a login, a quota, a moved file), then download the "
            "weights themselves",
        )
    return FileKind(f"a text file that begins with {shortened(text, 60)!r}", _GIVE)


def _archive(path: Path) -> FileKind:
    """The type of a ZIP archive: a format of PyTorch, NumPy arrays, or another one."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if any(name.endswith("/constants.pkl") for name in names):
                return _TORCHSCRIPT
            pickled = next((name for name in names if name.endswith("/data.pkl")), None)
            if pickled is not None:
                with archive.open(pickled) as file:
                    return _pickle(file)
    except (zipfile.BadZipFile, OSError, EOFError):
        return FileKind("the beginning of a ZIP archive, such as PyTorch writes, without its end", _AGAIN)
    held = ", ".join(sorted(name for name in names if not name.endswith("/"))[:3]) or "nothing"
    if any(name.endswith(".npy") for name in names):
        return FileKind(f"an archive of NumPy arrays ({held})", _EXPORT)
    return FileKind(f"a ZIP archive of {held}", _UNPACK)


_TORCHSCRIPT = FileKind("a TorchScript archive", "take recognizer=torchscript recognizer.weights=FILE", "TorchScript")
_PYTORCH = FileKind("a PyTorch file", "take recognizer=pytorch recognizer.weights=FILE and name its network", "PyTorch")


def _pickle(file: IO[bytes]) -> FileKind:
    """One pickle or, as PyTorch wrote before 1.6, several: of tensors, or of objects of other classes too."""
    file.seek(0)
    foreign: set[str] = set()
    try:
        for _ in range(_PICKLES):
            foreign |= set(_foreign(file))
            if file.peek(1)[:1] != b"\x80":  # type: ignore[attr-defined]
                break
    except ValueError:
        return FileKind("the beginning of a pickle, without its end", _AGAIN)
    if not foreign:
        return _PYTORCH
    shown = ", ".join(sorted(foreign)[:3]) + (", …" if len(foreign) > 3 else "")
    return FileKind(
        f"a pickle of Python objects ({shown}), which could run any code when it is opened",
        "if you trust it, open it yourself with torch.load(FILE, weights_only=False) and save the network's "
        "state_dict() with torch.save",
    )


def _foreign(file: IO[bytes]) -> Iterator[str]:
    """Classes and functions in one pickle that are not tensors or plain containers."""
    texts = ["", ""]
    for code, argument, _ in pickletools.genops(file):
        if code.name in ("SHORT_BINUNICODE", "BINUNICODE"):
            texts = [texts[-1], str(argument)]
        if code.name in ("GLOBAL", "STACK_GLOBAL"):
            name = str(argument).replace(" ", ".") if code.name == "GLOBAL" else ".".join(texts)
            if name.startswith("torch.nn.modules.") or not name.startswith(_PLAIN):
                yield name


_PLAIN = ("torch.", "collections.", "_codecs.encode", "__builtin__.set", "builtins.set")
_PICKLES = 5  # of PyTorch's older format; the tensors' bytes follow, which may look like one more


def is_torchscript(path: Path) -> bool:
    """Whether the file is a ZIP archive with the constants of TorchScript code, as ``torch.jit.save`` writes."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def is_safetensors(path: Path) -> bool:
    """Whether the file begins as safetensors do: the length of a header, then the header."""
    with path.open("rb") as file:
        return _begins_as_safetensors(file.read(9))


def _begins_as_safetensors(head: bytes) -> bool:
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 30


def _safetensors(file: IO[bytes], size: int) -> FileKind | None:
    """A complete or truncated safetensors file, by the sizes in its header."""
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if 8 + length > size:
        return FileKind("the beginning of a safetensors file, without its end", _AGAIN)
    try:
        header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    whole = 8 + length + max(ends, default=0)
    if size < whole:
        return FileKind(f"{size:,} of the {whole:,} bytes of a safetensors file", _AGAIN)
    return FileKind("a safetensors file", _PYTORCH.remedy, "safetensors")
