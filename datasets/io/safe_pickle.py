"""Reads plain values from an untrusted pickle without unpickling it.

Unpickling can run anything, and even a restricted ``pickle.Unpickler`` imports modules, calls what it is given and
sizes its memo by a number in the file. So no pickle is loaded here: the standard library's ``pickletools`` splits
the file into opcodes, and a small stack machine carries out those that build lists, tuples, bytes, text, integers
and booleans. It has no way to import or to call; the few NumPy names by which booleans are written are answered by
functions of this module. Every protocol from Python 2's (0, 1, 2) to 5 is read.
"""

from __future__ import annotations

import codecs
import functools
import pickletools
import re
import struct
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np

_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}


class NotPlain(Exception):
    """Why the pickle is refused, as the end of a sentence."""


class Array:
    """A NumPy array, flat, in ``values``."""

    def __init__(self, values: np.ndarray | None = None) -> None:
        self.values = np.zeros(0, bool) if values is None else values


def plain_value(data: bytes) -> Any:
    """The value of a pickle of nested lists, tuples, bytes, text, integers, booleans and NumPy numbers.

    NumPy scalars come as Python numbers, NumPy arrays as ``Array``. Memory stays within a multiple of ``data``.

    Raises:
        NotPlain: any other content, or no whole pickle. Nothing in it is ever run.
    """
    machine = _Machine()
    try:
        for name, argument in _operations(BytesIO(data)):
            machine.step(name, argument)
        (value,) = machine.stack
    except NotPlain:
        raise
    except (ValueError, TypeError, LookupError, OverflowError, MemoryError, struct.error) as error:
        raise NotPlain(f"it is no whole pickle ({' '.join(str(error).split())[:100]})") from error
    return value


def _operations(file: BytesIO) -> Iterator[tuple[str, Any]]:
    """(name, argument) of each opcode up to STOP: ``pickletools.genops`` refuses Python 2's strings of bytes."""
    while True:
        code = file.read(1)
        opcode = _OPCODES.get(code.decode("latin-1"))
        if opcode is None:
            raise ValueError(f"no opcode {code!r}" if code else "it ends before its end")
        if opcode.name == "STRING":
            yield opcode.name, _quoted(file.readline())
        else:
            yield opcode.name, opcode.arg.reader(file) if opcode.arg else None
        if opcode.name == "STOP":
            return


def _quoted(line: bytes) -> bytes:
    """The bytes of a quoted string of Python 2, as in ``'\\xff\\xd8'``."""
    text = line.removesuffix(b"\n")
    if len(text) < 2 or not line.endswith(b"\n") or text[:1] != text[-1:] or text[:1] not in b"'\"":
        raise ValueError("a string without its quotes")
    return codecs.escape_decode(text[1:-1])[0]


class _Name(NamedTuple):
    """A global name in the pickle; it selects a function of this module and nothing else."""

    name: str


def _text(value: Any) -> str:
    if not isinstance(value, bytes | str):
        raise NotPlain("it holds a malformed name")
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _dtype(code: Any, *_: Any) -> np.dtype[Any]:
    if not re.fullmatch(r"[<|=]?[biu][1248]|\?", _text(code)):
        raise NotPlain(f"it holds the NumPy type {_text(code)[:20]!r}, expected booleans or integers")
    return np.dtype(_text(code))


def _numbers(data: Any, dtype: Any) -> np.ndarray:
    if not isinstance(data, bytes) or not isinstance(dtype, np.dtype):
        raise NotPlain("it holds a malformed NumPy value")
    return np.frombuffer(data, dtype)  # a view: a thousand mentions of one buffer cost nothing


def _scalar(dtype: Any, data: Any) -> int | bool:
    (value,) = _numbers(data, dtype).tolist()
    return value


def _latin1_encoder() -> Callable[[Any, Any], bytes]:
    """How Python 3 writes bytes for Python 2. Cached: repeated mentions of one text share the memory."""
    encoded = functools.cache(lambda text: text.encode("latin-1"))

    def encode(text: Any, encoding: Any) -> bytes:
        if not isinstance(text, str) or encoding != "latin1":
            raise NotPlain("it holds a malformed byte string")
        return encoded(text)

    return encode


def _answers() -> dict[str, Callable[..., Any]]:
    answers: dict[str, Callable[..., Any]] = {
        "numpy dtype": _dtype,
        "_codecs encode": _latin1_encoder(),
        "__builtin__ bytes": lambda: b"",
    }
    for core in ("numpy.core", "numpy._core"):
        answers[f"{core}.multiarray scalar"] = _scalar
        answers[f"{core}.multiarray _reconstruct"] = lambda *_: Array()
        answers[f"{core}.numeric _frombuffer"] = lambda data, dtype, *_: Array(_numbers(data, dtype))
    return answers


# Opcodes that push one value made of their argument. ("numpy ndarray" is only ever an argument of _reconstruct.)
_PUSH: dict[str, Callable[[Any], Any]] = {
    "EMPTY_LIST": lambda _: [],
    "EMPTY_TUPLE": lambda _: (),
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    **dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1"), lambda number: number),
    **dict.fromkeys(("STRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"), bytes),
    **dict.fromkeys(("BINSTRING", "SHORT_BINSTRING"), lambda text: text.encode("latin-1")),  # Python 2's str
    **dict.fromkeys(("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"), str),
}
_MARK = object()


class _Machine:
    """Carries out the harmless opcodes and refuses all others. An underflow is an IndexError."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}  # a dictionary: a huge memo index costs nothing
        self.answers = _answers()
        self.does: dict[str, Callable[[Any], None]] = {
            **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda _: None),
            "MARK": lambda _: self.stack.append(_MARK),
            "APPEND": lambda _: self._extend(self._pop(1)),
            "APPENDS": lambda _: self._extend(self._pop_to_mark()),
            "LIST": lambda _: self.stack.append(self._pop_to_mark()),
            "TUPLE": lambda _: self.stack.append(tuple(self._pop_to_mark())),
            "TUPLE1": lambda _: self.stack.append(tuple(self._pop(1))),
            "TUPLE2": lambda _: self.stack.append(tuple(self._pop(2))),
            "TUPLE3": lambda _: self.stack.append(tuple(self._pop(3))),
            **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), self._put),
            "MEMOIZE": lambda _: self._put(len(self.memo)),
            **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda i: self.stack.append(self.memo[i])),
            "GLOBAL": self._name,
            "STACK_GLOBAL": lambda _: self._name(" ".join(_text(part) for part in self._pop(2))),
            "REDUCE": lambda _: self._reduce(*self._pop(2)),
            "BUILD": lambda _: self._build(*self._pop(2)),
        }

    def step(self, opcode: str, argument: Any) -> None:
        if opcode in _PUSH:
            self.stack.append(_PUSH[opcode](argument))
        elif opcode in self.does:
            self.does[opcode](argument)
        else:
            raise NotPlain(f"it uses the pickle opcode {opcode}, which no list of bytes, booleans or numbers needs")

    def _pop(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError("stack underflow")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def _pop_to_mark(self) -> list[Any]:
        items = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise TypeError("items for something that is no list")
        self.stack[-1].extend(items)

    def _put(self, index: Any) -> None:
        self.memo[index] = self.stack[-1]

    def _name(self, name: str) -> None:
        if name not in self.answers and name != "numpy ndarray":
            raise NotPlain(
                f"it asks for {name.replace(' ', '.', 1)[:80]!r}, "
                "expected only lists, bytes, booleans and NumPy numbers"
            )
        self.stack.append(_Name(name))

    def _reduce(self, name: Any, arguments: Any) -> None:
        if not isinstance(name, _Name) or name.name not in self.answers or not isinstance(arguments, tuple):
            raise NotPlain("it calls something that is no NumPy number")
        self.stack.append(self.answers[name.name](*arguments))

    def _build(self, target: Any, state: Any) -> None:
        if isinstance(target, np.dtype) and isinstance(state, tuple) and _text(state[1]) in ("<", "|", "="):
            pass  # the state of a plain type says no more than its byte order
        elif isinstance(target, Array) and isinstance(state, tuple):
            _, _, dtype, _, data = state
            target.values = _numbers(data, dtype)
        else:
            raise NotPlain("it sets the state of something that is no NumPy number")
        self.stack.append(target)
