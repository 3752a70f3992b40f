"""Every change of sealed or signed data is detected."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from frbench.harness.core.quarantine import Damaged
from frbench.harness.storage.sealed_files import UNSIGNED, check_signed, seal, sign, unseal


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@given(st.binary(max_size=300), st.data())
def test_sealed_data_comes_back_and_any_change_is_detected(data: bytes, draw: st.DataObject) -> None:
    sealed = seal(data)
    assert bytes(unseal(sealed)) == data
    changed = [
        flipped(sealed, draw.draw(st.integers(0, 8 * len(sealed) - 1))),
        sealed[: draw.draw(st.integers(0, len(sealed) - 1))],
        sealed[draw.draw(st.integers(1, len(sealed))) :],
        sealed + draw.draw(st.binary(min_size=1, max_size=50)),
    ]
    for each in changed:
        with pytest.raises(Damaged):
            unseal(each)


@given(st.binary(max_size=100), st.binary(max_size=100), st.data())
def test_any_change_of_signed_data_is_detected(before: bytes, after: bytes, draw: st.DataObject) -> None:
    assume(b"frbench-sha256:" not in before + after)
    signed = sign(before + UNSIGNED.encode() + after)
    check_signed(signed)
    assert len(signed) == len(before) + len(UNSIGNED) + len(after)
    changed = [
        flipped(signed, draw.draw(st.integers(0, 8 * len(signed) - 1))),
        signed[: draw.draw(st.integers(0, len(signed) - 1))],
        signed + draw.draw(st.binary(min_size=1, max_size=50)),
        signed + signed,
        before + UNSIGNED.encode() + after,
    ]
    for each in changed:
        with pytest.raises(Damaged):
            check_signed(each)


def test_zstd_reads_a_sealed_compressed_file(tmp_path: Path) -> None:
    if shutil.which("zstd") is None:
        pytest.skip("zstd is not installed")
    path = tmp_path / "file.zst"
    path.write_bytes(seal(pa.compress(b"some arrays", codec="zstd", asbytes=True)))
    assert subprocess.run(["zstd", "-dc", path], capture_output=True, check=True).stdout == b"some arrays"
