"""Errors of the libraries that run out of memory, and others that only sound like them."""

from __future__ import annotations

import pytest
import torch

from frbench.harness.core.errors import ConfigError
from frbench.harness.runtime.out_of_memory import is_out_of_memory


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GiB)"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ConfigError("the file says: out of memory"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_errors_are_told_apart(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_the_error_of_the_cpu_allocator_is_recognised() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(error.value)


def test_the_errors_of_onnx_runtime_are_told_apart() -> None:
    errors = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
    assert is_out_of_memory(errors.RuntimeException("Failed to allocate memory for requested buffer of size 1024"))
    assert not is_out_of_memory(errors.RuntimeException("Got invalid dimensions for input: image"))
