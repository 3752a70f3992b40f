"""Images that a caller gives to the Python interface, checked and converted to the form of the harness."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import Images, load_images

_FORMS = "a float tensor (N, 3, H, W) in [0, 1] or a NumPy array uint8 (N, H, W, 3)"


def given_images(images: object, name: str) -> Images:
    """``images`` as float32 (N, 3, H, W), RGB in [0, 1], detached, on their device.

    Args:
        images: a float tensor (N, 3, H, W) in [0, 1], or a NumPy array uint8 (N, H, W, 3).
        name: what the images are, for the message.

    Raises:
        ConfigError: another type, shape, dtype or range.
    """
    if isinstance(images, np.ndarray):
        return _from_array(images, name)
    if not isinstance(images, Tensor):
        raise ConfigError(f"{name} is a {type(images).__name__}, expected {_FORMS}")
    shape, dtype = tuple(images.shape), str(images.dtype).removeprefix("torch.")
    if images.ndim != 4 or images.shape[1] != 3:
        raise ConfigError(f"{name} has the shape {shape}, expected (N, 3, H, W); {_advice(shape)}")
    if not images.is_floating_point():
        raise ConfigError(f"{name} is {dtype}, expected float32 in [0, 1]; convert with images.float() / 255")
    images = images.detach().float()
    _check_range(images, name)
    return images


def _from_array(images: np.ndarray, name: str) -> Images:
    if images.dtype != np.uint8:
        raise ConfigError(
            f"{name} is an array of {images.dtype}, expected uint8 (N, H, W, 3); for numbers in [0, 1] give a tensor "
            "(N, 3, H, W), such as torch.from_numpy(images).permute(0, 3, 1, 2)"
        )
    if images.ndim != 4 or images.shape[3] != 3:
        raise ConfigError(f"{name} has the shape {images.shape}, expected uint8 (N, H, W, 3); {_advice(images.shape)}")
    _check_count(len(images), name)
    return load_images(images, np.arange(len(images)))


def _advice(shape: tuple[int, ...]) -> str:
    if len(shape) == 3:
        return "add the batch dimension with images[None]"
    last = len(shape) == 4 and shape[3] == 3
    return "move the channels with permute(0, 3, 1, 2)" if last else "give RGB images"


def _check_range(images: Images, name: str) -> None:
    _check_count(len(images), name)
    low, high = (float(each) for each in images.aminmax())
    if not torch.isfinite(images).all():
        raise ConfigError(f"{name} has NaN or infinite values, expected numbers in [0, 1]")
    if low < 0 or high > 1:
        advice = "divide by 255" if low >= 0 and high > 2 else "undo the normalisation; the recognizer does its own"
        raise ConfigError(f"{name} has values from {low:.3g} to {high:.3g}, expected [0, 1]; {advice}")


def _check_count(count: int, name: str) -> None:
    if not count:
        raise ConfigError(f"{name} has no images, expected {_FORMS}")
