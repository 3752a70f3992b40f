"""Pickles of lists, bytes and booleans are read from every writer; all others are refused and run nothing."""

import builtins
import contextlib
import io
import os
import pickle
import pickletools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frbench.datasets.io.safe_pickle import Array, NotPlain, plain_value

IMAGES = [bytes(range(256)), b"short", b"\xff\xd8" + b"x" * 70000]
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def as_old_numpy(data: bytes) -> bytes:
    """The same pickle as NumPy before 2.0 wrote it (protocols up to 3, where names stand in text)."""
    return data.replace(b"numpy._core", b"numpy.core")


def python_2_pack(images: list[bytes], same: list[bool]) -> bytes:
    """What Python 2's cPickle writes at its highest protocol: byte strings as BINSTRING, memo numbers for all."""
    out, memo = io.BytesIO(), iter(range(100000))

    def put() -> bytes:
        return pickle.LONG_BINPUT + struct.pack("<I", next(memo))

    out.write(pickle.PROTO + b"\x02" + pickle.EMPTY_LIST + put() + pickle.MARK)
    for image in images:
        if len(image) < 256:
            out.write(pickle.SHORT_BINSTRING + bytes([len(image)]) + image + put())
        else:
            out.write(pickle.BINSTRING + struct.pack("<i", len(image)) + image + put())
    out.write(pickle.APPENDS + pickle.EMPTY_LIST + put() + pickle.MARK)
    out.write(b"".join(pickle.NEWTRUE if label else pickle.NEWFALSE for label in same))
    out.write(pickle.APPENDS + pickle.TUPLE2 + put() + pickle.STOP)
    return out.getvalue()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_that_every_binary_protocol_of_python_3_is_read(protocol: int) -> None:
    value = (IMAGES, [True, False], (), [], None, 3, -70000, "text")
    assert plain_value(pickle.dumps(value, protocol)) == value


def test_that_a_pack_of_python_2_is_read() -> None:
    data = python_2_pack(IMAGES, [True, False])
    assert pickle.loads(data, encoding="bytes") == (IMAGES, [True, False])  # noqa: S301 - the test's own
    assert plain_value(data) == (IMAGES, [True, False])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("age", [bytes, as_old_numpy])
def test_that_numpy_booleans_of_old_and_new_numpy_are_read(protocol: int, age: Any) -> None:
    labels = [np.bool_(True), np.bool_(False), np.int64(1), np.uint8(0)]
    value = plain_value(age(pickle.dumps((IMAGES, labels), min(protocol, 3 if age is as_old_numpy else 5))))
    assert value == (IMAGES, [True, False, 1, 0])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("array", [np.array([True, False, True]), np.array([1, 0, 1]), np.zeros(0, bool)])
def test_that_numpy_arrays_are_read_flat(protocol: int, array: np.ndarray) -> None:
    (value,) = plain_value(pickle.dumps([array], protocol))
    assert isinstance(value, Array)
    np.testing.assert_array_equal(value.values, array)


@given(
    st.recursive(st.binary() | st.booleans() | st.integers(-(2**31), 2**31 - 1), st.lists), st.sampled_from(PROTOCOLS)
)
def test_that_any_nesting_reads_as_pickle_reads_it(value: Any, protocol: int) -> None:
    assert plain_value(pickle.dumps(value, protocol)) == value


class Call:
    """Pickles as a call of ``function`` with ``arguments``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def stack_global(module: str, name: str, argument: str) -> bytes:
    """Protocol 4: module and name as text on the stack, then called with one text."""

    def text(value: str) -> bytes:
        return pickle.SHORT_BINUNICODE + bytes([len(value)]) + value.encode()

    called = text(module) + text(name) + pickle.STACK_GLOBAL + text(argument) + pickle.TUPLE1 + pickle.REDUCE
    return pickle.PROTO + b"\x04" + called + pickle.STOP


def payloads(witness: str) -> dict[str, bytes]:
    """Pickles that would create the file ``witness`` (or do other harm) when loaded with ``pickle.loads``."""
    touch = f"touch {witness}"
    python = f"open({witness!r}, 'w').close()"
    dtype_global = b"cnumpy\ndtype\n"
    return {
        "os.system": pickle.dumps(Call(os.system, touch)),
        "builtins.eval": pickle.dumps(Call(eval, python)),
        "builtins.exec in an image list": pickle.dumps(([Call(builtins.exec, python), b"x"], [True])),
        "builtins.getattr": pickle.dumps(Call(getattr, "a", "upper")),
        "dotted attribute": stack_global("builtins", "eval.__call__", python),
        "os.system by protocol 0 text": f"cos\nsystem\n(S'{touch}'\ntR.".encode(),
        "INST": f"(S'{touch}'\nios\nsystem\n.".encode(),
        "OBJ": f"(cos\nsystem\nS'{touch}'\no.".encode(),
        "NEWOBJ": b"\x80\x02cbuiltins\nlist\n)\x81.",
        "STACK_GLOBAL": stack_global("posix", "system", touch),
        "STACK_GLOBAL by memo": b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94h\x00h\x01\x93\x8c\x01x\x85R.",
        "numpy helper that runs code": stack_global("numpy.testing._private.utils", "runstring", python),
        "numpy.load": stack_global("numpy", "load", witness),
        "numpy.dtype of objects": pickle.dumps(np.array([Call(os.system, touch)], dtype=object), 2),
        "numpy.dtype called with O": b"\x80\x02" + dtype_global + b"U\x02O8\x85R.",
        "numpy.dtype called with a structure": b"\x80\x02" + dtype_global + b"U\x05i4,O8\x85R.",
        "numpy attribute by a dotted name": stack_global("numpy", "dtype.__class__", "x"),
        "numpy.ndarray called": b"\x80\x02cnumpy\nndarray\nK\x01\x85R.",
        "BUILD on a name": b"\x80\x02" + dtype_global + b"N(U\x04nameU\x01xtb.",
        "BUILD on a list": b"\x80\x02]Nb.",
        "persistent id": b"Pevil\n.",
        "binary persistent id": b"\x80\x02U\x01xQ.",
        "extension code": b"\x80\x02\x82\x01.",
        "dictionary": pickle.dumps({"a": 1}),
        "set": pickle.dumps({1}),
        "out-of-band buffer": b"\x80\x05\x97.",
        "deep nesting as a byte string": b"\x80\x02c_codecs\nencode\n)" + b"\x85" * 10**6 + b"N\x86R.",
        "deep nesting as a name": b"\x80\x04]" + b"\x85" * 10**6 + b"N\x93.",
        "deep nesting as a type": b"\x80\x02" + dtype_global + b")" + b"\x85" * 10**6 + b"R.",
        "bytes called": b"\x80\x02c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R.",
    }


@pytest.mark.parametrize("kind", payloads("nowhere"))
def test_that_a_hostile_pickle_is_refused_and_runs_nothing(kind: str, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    with pytest.raises(NotPlain) as error:
        plain_value(payloads(str(witness))[kind])
    assert not witness.exists()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "kind",
    [
        "os.system",
        "builtins.eval",
        "os.system by protocol 0 text",
        "INST",
        "OBJ",
        "STACK_GLOBAL",
        "dotted attribute",
        "numpy.dtype of objects",
    ],
)
def test_that_these_payloads_are_live(kind: str, tmp_path: Path) -> None:
    """Else the test above would prove nothing."""
    witness = tmp_path / "witness"
    pickle.loads(payloads(str(witness))[kind])  # noqa: S301 - our own, and that is the point
    assert witness.exists()


def test_that_nothing_is_imported_or_called_through_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    for machinery in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, machinery, lambda *_, **__: pytest.fail("unpickled"))
    monkeypatch.setattr(builtins, "__import__", lambda name, *_: pytest.fail(f"imported {name}"))
    data = b"\x80\x02cantigravity\nfly\n)R."
    with pytest.raises(NotPlain, match=r"asks for 'antigravity\.fly'"):
        plain_value(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a pickle at all",
        b"\x80\x02",
        pickle.dumps((IMAGES, [True]))[:-30],
        b"\x80\x02.",
        b"\x80\x02]]..",
        b"\x80\x02h\x07.",
        b"\x80\x02a.",
        b"\x80\x02t.",
        b"\x80\x02K\x01K\x02a.",
        b"\x80\x02\x87.",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
        b"\x80\x02T" + struct.pack("<i", -5) + b"x.",
        b"\x80\x02\x8b" + struct.pack("<i", -1) + b".",
        b"I" + b"9" * 10000 + b"\n.",
        b"\x89HDF\r\n\x1a\n",
    ],
)
def test_that_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(NotPlain) as error:
        plain_value(data)
    assert "\n" not in str(error.value)


def test_that_an_absurd_memo_number_costs_no_memory() -> None:
    data = b"\x80\x02]r" + struct.pack("<I", 2**32 - 2) + b"j" + struct.pack("<I", 2**32 - 2) + b"0."
    assert [op.name for op, _, _ in pickletools.genops(data)][2:4] == ["LONG_BINPUT", "LONG_BINGET"]
    assert plain_value(data.replace(b"0.", b"\x86.")) == ([], [])


def test_that_repeated_mentions_of_one_buffer_share_its_memory() -> None:
    """A few bytes per mention must not become a copy of the buffer per mention."""
    text = b"X" + struct.pack("<I", 10**6) + b"a" * 10**6 + b"q\x00X\x06\x00\x00\x00latin1q\x01"
    once = b"c_codecs\nencode\nh\x00h\x01\x86R"
    value = plain_value(b"\x80\x02" + text + b"\x86]" + b"(" + 2000 * once + b"e\x86.")
    assert len({id(item) for item in value[1]}) == 1


@settings(max_examples=300)
@given(st.binary(max_size=60), st.integers(0, 400), st.integers(0, 255))
def test_that_no_mutation_raises_anything_but_a_refusal(tail: bytes, position: int, byte: int) -> None:
    good = bytearray(pickle.dumps(([b"ab", b"cd"], [np.bool_(True)]), 2))
    good[position % len(good)] = byte
    for data in (bytes(good), bytes(good[: position % len(good)]) + tail, b"\x80\x04" + tail):
        with contextlib.suppress(NotPlain):
            plain_value(data)
