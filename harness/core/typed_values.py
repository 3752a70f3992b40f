"""Validation of plain config values against type hints, and type hints in words.

pydantic validates in strict mode: texts are no numbers, numbers are no booleans, and NaN and infinity are rejected.
Lists are accepted as tuples, which YAML cannot write. Classes of objects accept no plain value.
"""

from __future__ import annotations

import dataclasses
import json
import operator
import types
import typing
from collections.abc import Callable, Collection, Mapping
from functools import cache, reduce
from typing import Annotated, Any, Literal, Union

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import SchemaError
from typing_extensions import is_typeddict

_STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
_SCALARS = (int, float, str, bool, type(None))


def is_plain(value: Any) -> bool:
    """Whether ``value`` consists of numbers, texts, booleans, nulls, lists and mappings only."""
    if isinstance(value, Mapping):
        return all(is_plain(each) for each in value.values())
    return all(is_plain(each) for each in value) if isinstance(value, list | tuple) else isinstance(value, _SCALARS)


def accepts(hint: Any, value: Any) -> bool:
    """Whether the plain ``value`` fits ``hint``; a hint that pydantic does not know accepts everything."""
    adapter = _adapter(hint)
    return adapter is None or any(_valid(adapter, each) for each in (value, _tuples(value)))


def _valid(adapter: TypeAdapter[Any], value: Any) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


@cache
def _adapter(hint: Any) -> TypeAdapter[Any] | None:
    try:
        return TypeAdapter(_opaque(hint), config=_STRICT)
    except (PydanticUserError, SchemaError, TypeError):
        return None


def _opaque(hint: Any) -> Any:
    """``hint`` with each class of objects replaced by an empty class, so that pydantic does not inspect it."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return Annotated[(_opaque(parts[0]), *parts[1:])]
    if origin in (Union, types.UnionType):
        return reduce(operator.or_, map(_opaque, parts))
    if origin in (None, Literal, Callable, type) or origin is Callable:
        known = not isinstance(hint, type) or hint in (Any, object) or issubclass(hint, (*_SCALARS, Collection))
        return hint if known else type(hint.__name__, (), {})
    return origin[tuple(_opaque(each) for each in parts)]


def expected(hint: Any) -> str:
    """What ``hint`` accepts, such as "a number above 0 or null"."""
    return _words(schema(hint))


def schema(hint: Any) -> dict[str, Any]:
    """The JSON schema of ``hint``; {} where pydantic knows none."""
    adapter = _adapter(hint)
    return {} if adapter is None else adapter.json_schema(schema_generator=_Named)


class _Named(GenerateJsonSchema):
    """Classes of objects by their names."""

    def is_instance_schema(self, schema: Any) -> dict[str, Any]:
        return {"class": schema["cls"].__name__}

    def callable_schema(self, schema: Any) -> dict[str, Any]:
        return {"class": "a callable"}


def _words(schema: Mapping[str, Any]) -> str:
    if "description" in schema:
        return str(schema["description"])
    if "anyOf" in schema:
        parts = [each for each in schema["anyOf"] if "class" not in each]
        shown = parts if any(each != {"type": "null"} for each in parts) else schema["anyOf"]
        return " or ".join(map(_words, shown))
    if "enum" in schema or "const" in schema:
        return " or ".join(map(str, schema.get("enum", [schema.get("const")])))
    if "class" in schema:
        return str(schema["class"])
    return _KINDS.get(schema.get("type", ""), _other)(schema)


def _number(schema: Mapping[str, Any]) -> str:
    kind = "an integer" if schema["type"] == "integer" else "a number"
    kind = f"a multiple of {schema['multipleOf']}" if "multipleOf" in schema else kind
    if schema.keys() >= {"minimum", "maximum"}:
        return f"{kind} from {schema['minimum']} to {schema['maximum']}"
    known = [f"{words} {schema[name]}" for name, words in _BOUNDS.items() if name in schema]
    return " ".join([kind, " and ".join(known)]).strip()


def _list(schema: Mapping[str, Any]) -> str:
    entries = schema.get("prefixItems") or [schema.get("items", {})]
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    size = f"{least} of" if least == most else f"{least} or more of" if least else ""
    return " ".join(["a list of", size, f"[{', '.join(map(_words, entries))}]"]).replace("  ", " ")


def _mapping(schema: Mapping[str, Any]) -> str:
    values = schema.get("additionalProperties")
    return f"a mapping to {_words(values)}" if isinstance(values, dict) and values else "a mapping"


def _other(schema: Mapping[str, Any]) -> str:
    return str(schema.get("type", "anything"))


_BOUNDS = {
    "exclusiveMinimum": "above",
    "minimum": "of at least",
    "exclusiveMaximum": "below",
    "maximum": "at most",
}
_KINDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "integer": _number,
    "number": _number,
    "array": _list,
    "string": lambda _: "text",
    "boolean": lambda _: "true or false",
    "null": lambda _: "null",
    "object": _mapping,
}


def shown(value: Any) -> str:
    """``value`` as a user types it."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


@cache
def hints_of(maker: Any) -> dict[str, Any]:
    """Field or argument -> its annotation, of a dataclass or another callable; {} if it cannot be resolved."""
    made = maker if dataclasses.is_dataclass(maker) or not isinstance(maker, type) else getattr(maker, "__init__")  # noqa: B009
    try:
        return typing.get_type_hints(made, include_extras=True)
    except (NameError, TypeError, AttributeError):  # a foreign annotation
        return {}


def keys_of(hint: Any) -> dict[str, Any]:
    """Key -> its annotation, of a hint that is a ``TypedDict`` or null; {} of any other."""
    kinds = [each for each in (hint, *typing.get_args(hint)) if is_typeddict(each)]
    return typing.get_type_hints(kinds[0], include_extras=True) if kinds else {}
