"""Recognises the out-of-memory errors of PyTorch, CUDA and ONNX Runtime."""

from __future__ import annotations

import gc

import torch

# Messages of errors that are no torch.OutOfMemoryError: of CUDA, cuBLAS, cuDNN, MPS, PyTorch's CPU allocator and
# ONNX Runtime's arena.
_MESSAGES = (
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "DefaultCPUAllocator: can't allocate memory",
    "Failed to allocate memory for requested buffer",
)
_ONNX_RUNTIME = "onnxruntime"  # its errors have no public base class


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that a device has no memory left."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    known = isinstance(error, RuntimeError) or type(error).__module__.split(".")[0] == _ONNX_RUNTIME
    return known and any(message in str(error) for message in _MESSAGES)


def release_memory() -> None:
    """Give memory that nothing refers to any more back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
