"""Checks that a part (an attack, a defense, a recognizer, ...) keeps its contract; one error lists all breaches.

The contracts are the Protocols of ``contracts`` and its neighbours, so nothing is listed twice. A part is checked
before anything runs, and so are its results: those of an attack, embeddings, scores.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import get_protocol_members, is_protocol

from frbench.harness.core.contracts import Attack, AttackResult, Images
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import FaceSet, ImageStack, PairSet, TestSet, UserSet

_ABSENT = object()
_PLAIN = (bool, str, int, float)
_UNIT = 1e-2  # tolerance of the length of a unit embedding, for half precision


def check_part(part: object, contracts: Sequence[type], where: str) -> None:
    """Raises FrbenchError: ``part`` (an object or a class) keeps none of the ``contracts``. Lists all breaches.

    Also checks the parts inside a dataclass, by the Protocols that its fields are annotated with.
    """
    found = {contract: list(_breaches(part, contract)) for contract in contracts}
    if found:
        nearest = min(found, key=lambda contract: len(found[contract]))
        if found[nearest]:
            raise FrbenchError(
                f"{where}: {_named(part)} does not keep the contract of {_article(nearest.__name__)}: "
                f"{'; '.join(found[nearest])}; see {nearest.__name__} in {nearest.__module__}"
            )
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        for name, value, inside in _inside(part):
            check_part(value, inside, f"{where}.{name}")


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'AEIOU' else 'a'} {noun}"


def _named(part: object) -> str:
    """The class of ``part`` with the file that it is in."""
    kind = part if isinstance(part, type) else type(part)
    try:
        return f"{kind.__module__}.{kind.__qualname__} ({inspect.getfile(kind)})"
    except (TypeError, OSError):
        return f"{kind.__module__}.{kind.__qualname__}"


def _breaches(part: object, contract: type) -> Iterator[str]:
    kind = part if isinstance(part, type) else type(part)
    settings = getattr(kind, "__dataclass_params__", None)
    if settings is None and not hasattr(kind, "fingerprint") and not hasattr(kind, "stands_for"):
        yield "it is not a dataclass, expected @dataclass(frozen=True)"
    elif settings is not None and not settings.frozen:
        yield "its dataclass can be changed, expected @dataclass(frozen=True)"
    members = [name for base in reversed(contract.__mro__) for name in vars(base)]
    for name in dict.fromkeys(each for each in members if each in get_protocol_members(contract)):
        declared = inspect.getattr_static(contract, name)
        found = inspect.getattr_static(part, name, _ABSENT)
        if found is _ABSENT and isinstance(part, type) and name in getattr(part, "__dataclass_fields__", {}):
            continue  # a field without a default: the object will have it
        if isinstance(declared, property):
            yield from _of_attribute(name, found, typing.get_type_hints(declared.fget).get("return", Any))
        else:
            yield from _of_method(name, found, declared, part)


def _of_attribute(name: str, found: object, wanted: Any) -> Iterator[str]:
    described = wanted.__name__ if wanted in _PLAIN else ""
    if found is _ABSENT:
        yield f"it has no attribute {name}{f' ({described})' if described else ''}"
    elif inspect.isfunction(found):
        yield f"{name} is a method, expected {described or 'an attribute'} (add @property)"
    elif wanted in _PLAIN and not hasattr(found, "__get__") and not _is(found, wanted):
        yield f"{name} is {found!r}, expected {described}"


def _is(value: object, wanted: type) -> bool:
    return isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))


def _of_method(name: str, found: object, declared: Any, part: object) -> Iterator[str]:
    expected = [each for each in inspect.signature(declared).parameters if each != "self"]
    if found is _ABSENT:
        yield f"it has no method {name}({', '.join(expected)})"
        return
    method = getattr(part, name)
    if not callable(method):
        yield f"{name} is {method!r}, expected a method with ({', '.join(expected)})"
        return
    own = isinstance(part, type) and inspect.isfunction(found)  # an unbound method also takes the object itself
    try:
        signature = inspect.signature(method)
        signature.bind(*([None] * own), *expected)
    except ValueError:  # of something built in, which has no signature to read
        return
    except TypeError:
        taken = list(signature.parameters)[own:]
        yield f"{name} takes ({', '.join(taken)}), expected ({', '.join(expected)})"


def _inside(part: Any) -> Iterator[tuple[str, object, tuple[type, ...]]]:
    """Name, value and contracts of each part that a dataclass holds, alone or in a mapping or list."""
    try:
        hints = typing.get_type_hints(type(part))
    except NameError:  # annotations that only a type checker can resolve
        return
    for field in dataclasses.fields(part):
        value, contracts = getattr(part, field.name), tuple(_contracts(hints[field.name]))
        if isinstance(value, Mapping):
            yield from ((f"{field.name}.{key}", each, contracts) for key, each in value.items() if each is not None)
        elif isinstance(value, list | tuple):
            yield from ((f"{field.name}.{i}", each, contracts) for i, each in enumerate(value) if each is not None)
        elif value is not None:
            yield field.name, value, contracts


def _contracts(hint: Any) -> Iterator[type]:
    """The Protocols of ours in an annotation, however deep inside unions, mappings and lists."""
    if isinstance(hint, type) and is_protocol(hint):
        yield hint
    for each in typing.get_args(hint):
        yield from _contracts(each)


def check_result(attack: Attack, result: object, probe: Images) -> None:
    """Raises FrbenchError: what ``attack`` returned for ``probe`` (N, 3, H, W) is no ``AttackResult`` of that shape."""
    wrong = []
    if not isinstance(result, AttackResult):
        wrong.append(f"a {type(result).__name__}, expected an AttackResult(images, achieved, iterations)")
    else:
        count = (len(probe),)
        wrong += _differs("images", result.images, tuple(probe.shape), (torch.float32,), probe.device)
        wrong += _differs("achieved", result.achieved, count, (torch.bool,), probe.device)
        wrong += _differs("iterations", result.iterations, count, (torch.int64, torch.int32), probe.device)
    if wrong:
        raise FrbenchError(f"attack: {_named(attack)} returned {'; '.join(wrong)}")


def _differs(
    name: str, found: object, shape: tuple[int, ...], dtypes: tuple[torch.dtype, ...], device: torch.device
) -> list[str]:
    expected = f"{str(dtypes[0]).removeprefix('torch.')} {shape} on {device}"
    if not isinstance(found, Tensor):
        return [f"{name} as {type(found).__name__}, expected a tensor {expected}"]
    if tuple(found.shape) == shape and found.dtype in dtypes and found.device == device:
        return []
    came = f"{str(found.dtype).removeprefix('torch.')} {tuple(found.shape)} on {found.device}"
    return [f"{name} {came}, expected {expected}"]


def check_embeddings(recognizer: object, found: object, images: Images, lengths: bool) -> None:
    """Raises FrbenchError: not a float tensor (N, D) or, with ``lengths``, not of unit length."""
    fine = isinstance(found, Tensor) and found.ndim == 2 and len(found) == len(images) and found.is_floating_point()
    if not isinstance(found, Tensor) or not fine:
        raise FrbenchError(
            f"recognizer: {_named(recognizer)} returned {_shown(found)} for {len(images)} images, expected embeddings "
            f"float32 ({len(images)}, D)"
        )
    if lengths and not bool(((found.detach().norm(dim=1) - 1).abs() < _UNIT).all()):
        low, high = (float(each) for each in found.detach().norm(dim=1).aminmax())
        raise FrbenchError(
            f"recognizer: {_named(recognizer)} returned embeddings of length {low:.3g} to {high:.3g}, expected unit "
            "length, such as torch.nn.functional.normalize(features)"
        )


def check_scores(part: object, found: object, count: int, where: str) -> None:
    """Raises FrbenchError: not one floating-point score for each of ``count`` pairs."""
    if not isinstance(found, Tensor) or tuple(found.shape) != (count,) or not found.is_floating_point():
        raise FrbenchError(
            f"{where}: {_named(part)} returned {_shown(found)} for {count} pairs, expected scores float32 ({count},)"
        )


def check_pairs(dataset: object, pairs: object) -> None:
    """Raises FrbenchError: what ``dataset`` opened to is no ``PairSet`` whose arrays fit together."""
    if not isinstance(pairs, PairSet):
        raise FrbenchError(f"dataset: {_named(dataset)} opened to {_shown(pairs)}, expected a PairSet")
    count, images = len(pairs.probe), len(pairs.images)
    rows = dict.fromkeys(("probe", "reference", "decoy"), ("iu", count, images))
    others = {"same": ("b", count, None), "fold": ("iu", count, None), "identity": ("iu", images, None)}
    wrong = _of_stack(pairs.images)
    for name, (kinds, length, below) in (rows | others | {"attacked": ("iu", None, count)}).items():
        wrong += _of_array(name, getattr(pairs, name), kinds, length, below)
    if wrong:
        raise FrbenchError(f"dataset: {_named(dataset)} opened to a PairSet with {'; '.join(wrong)}")


def check_users(dataset: object, users: object) -> None:
    """Raises FrbenchError: what ``dataset`` opened to is no ``UserSet`` whose arrays fit together."""
    if not isinstance(users, UserSet):
        raise FrbenchError(f"dataset: {_named(dataset)} opened to {_shown(users)}, expected a UserSet")
    photos, people = len(users.images), len(users.people) or None
    wrong = _of_stack(users.images) + _of_stack(users.targets, "targets")
    wrong += _of_array("identity", users.identity, "iu", photos, people)
    wrong += _of_array("target", users.target, "iu", photos, len(users.targets))
    if wrong:
        raise FrbenchError(f"dataset: {_named(dataset)} opened to a UserSet with {'; '.join(wrong)}")


def check_test_set(dataset: object, opened: object) -> TestSet:
    """What ``dataset`` opened to. Raises FrbenchError: it is not a ``PairSet`` or ``UserSet`` of fitting arrays."""
    if isinstance(opened, PairSet):
        check_pairs(dataset, opened)
        return opened
    if isinstance(opened, UserSet):
        check_users(dataset, opened)
        return opened
    raise FrbenchError(f"dataset: {_named(dataset)} opened to {_shown(opened)}, expected a PairSet or a UserSet")


def check_faces(source: object, faces: object) -> None:
    """Raises FrbenchError: what ``source`` opened to is no ``FaceSet`` whose arrays fit together."""
    if not isinstance(faces, FaceSet):
        raise FrbenchError(f"identities: {_named(source)} opened to {_shown(faces)}, expected a FaceSet")
    people = len(faces.people)
    wrong = _of_stack(faces.images) + _of_array("identity", faces.identity, "iu", len(faces.images), people)
    if wrong:
        raise FrbenchError(f"identities: {_named(source)} opened to a FaceSet with {'; '.join(wrong)}")


def _of_stack(images: ImageStack, name: str = "images") -> list[str]:
    if images.dtype == np.uint8 and len(images.shape) == 4 and images.shape[3] == 3:
        return []
    return [f"{name} {images.dtype} {tuple(images.shape)}, expected uint8 (M, H, W, 3)"]


def _of_array(name: str, found: object, kinds: str, length: int | None, below: int | None) -> list[str]:
    """What is wrong with an array of ``length`` whose dtype is one of ``kinds`` and whose values are ``below``."""
    expected = f"{'bool' if kinds == 'b' else 'int64'} ({'A' if length is None else length},)"
    if not isinstance(found, np.ndarray):
        return [f"{name} as {type(found).__name__}, expected an array {expected}"]
    if found.dtype.kind not in kinds or found.ndim != 1 or length not in (None, len(found)):
        return [f"{name} {found.dtype} {found.shape}, expected {expected}"]
    if below is not None and len(found) and not (found.min() >= 0 and found.max() < below):
        return [f"{name} from {found.min()} to {found.max()}, expected 0 to {below - 1}"]
    return []


def _shown(found: object) -> str:
    if isinstance(found, Tensor):
        return f"{str(found.dtype).removeprefix('torch.')} {tuple(found.shape)}"
    return f"a {type(found).__name__}"
