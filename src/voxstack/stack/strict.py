"""Read JSON and options strictly, and turn every mistake into one line with a JSON path."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from voxstack.core.errors import ConfigError, suggest

__all__ = ["StrictModel", "parse_json", "validated"]

MOST_LEVELS = 100
"""Objects and lists inside one another; what nests deeper was made to exhaust its reader."""

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
MISSING_KEY = ("missing", "missing_argument")

NAMES: dict[type, str] = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a text",
}
"""What values are that are no object; else it is their type."""

T = TypeVar("T")


class StrictModel(BaseModel):
    """A frozen object of JSON that holds its own keys, of their own types, and nothing else."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


def parse_json(text: str | bytes, *, where: str) -> Any:
    """Return what JSON says; refuse broken JSON and keys that stand twice in one object."""

    def number(digits: str) -> float:
        if not math.isfinite(value := float(digits)):
            raise ValueError(f"{digits} is not a number that JSON can hold")
        return value

    try:
        found = json.loads(text, object_pairs_hook=_object, parse_constant=number, parse_float=number)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"not JSON: {error}", where=where) from error
    for path, value in _walked(found, where=where):
        if isinstance(value, _Doubled):
            raise ConfigError(
                f"key '{value.key}' stands twice in this object; keep one", where=f"{where}: {path}"
            )
    return found


class _Doubled(dict[str, Any]):
    """An object of which one key stood twice."""

    key: str


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    counts = Counter(key for key, _ in pairs)
    doubled = _Doubled(found)
    doubled.key = counts.most_common(1)[0][0]
    return doubled


def _walked(value: Any, *, where: str) -> Iterator[tuple[str, Any]]:
    """Yield every value with its path, level by level, so that depth costs no recursion."""
    level: list[tuple[str, Any]] = [("$", value)]
    for _ in range(MOST_LEVELS):
        yield from level
        level = [child for path, parent in level for child in _children(path, parent)]
    if level:
        raise ConfigError(f"nests more than {MOST_LEVELS} levels deep; want fewer", where=where)


def _children(path: str, parent: Any) -> list[tuple[str, Any]]:
    if isinstance(parent, dict):
        return [(f"{path}.{key}", child) for key, child in cast("dict[str, Any]", parent).items()]
    if isinstance(parent, list):
        return [(f"{path}[{place}]", child) for place, child in enumerate(cast("list[Any]", parent))]
    return []


def validated(kind: type[T], value: Any, *, path: str = "$") -> T:
    """Return `value` as a `kind` (a pydantic model or a dataclass), strictly; raise ConfigError.

    Example:
        >>> from voxstack.stack.config import AudioConfig
        >>> validated(AudioConfig, {"sample_rte": 24000})
        Traceback (most recent call last):
        voxstack.core.errors.ConfigError: $.sample_rte: unknown key 'sample_rte'; did you mean 'sample_rate'?
    """
    if not isinstance(value, Mapping):
        raise ConfigError(f"got {_named(value)}, want an object", where=path)
    try:
        # Strict, and as JSON: "160" is no number, but a list may fill a tuple.
        data = to_json(dict(cast("Mapping[str, Any]", value)), inf_nan_mode="constants")
        return _adapter(kind).validate_json(data)
    except PydanticSerializationError as error:
        half = (
            "half a character (a lone surrogate), which no text can be sent with; send its other half with it"
        )
        what = half if "surrogates" in str(error) else f"what JSON cannot: {error}"
        raise ConfigError(f"holds {what}", where=path) from None
    except ValidationError as error:
        raise _first_error(error, kind, path) from None


@cache
def _adapter(kind: type[T]) -> TypeAdapter[T]:
    """Forbid unknown options of a dataclass without making blocks depend on pydantic."""
    if not issubclass(kind, BaseModel) and "__pydantic_config__" not in vars(kind):
        kind.__pydantic_config__ = STRICT  # type: ignore[attr-defined]
    return TypeAdapter(kind)


def _first_error(error: ValidationError, kind: type[Any], path: str) -> ConfigError:
    # Another format explains everything else, an unknown key explains a missing one ("sample_rte").
    fault = min(error.errors(), key=lambda one: (one["loc"] != ("format",), one["type"] not in UNKNOWN_KEY))
    where = path + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"])
    last = str(fault["loc"][-1]) if fault["loc"] else ""
    if fault["type"] in UNKNOWN_KEY:
        return ConfigError(
            f"unknown key '{last}'{suggest(last, _keys(kind, fault['loc'][:-1]))}", where=where
        )
    if fault["type"] in MISSING_KEY:
        return ConfigError(f"'{last}' is missing", where=where)
    if fault["type"] == "value_error":
        return ConfigError(str(fault.get("ctx", {}).get("error")), where=where)
    value = fault["input"]
    got = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return ConfigError(
        f"got {got if len(got) < 60 else got[:57] + '...'}; {fault['msg'][0].lower()}{fault['msg'][1:]}",
        where=where,
    )


def _keys(kind: type[Any], loc: Iterable[int | str]) -> list[str]:
    """Return the keys that were possible at `loc` inside `kind`, as the JSON Schema tells them."""
    schema = _adapter(kind).json_schema()
    node: dict[str, Any] = schema
    for part in loc:
        node = _resolved(node, schema)
        if isinstance(part, int):
            node = _object_or_empty(node.get("items"))
        else:
            node = node.get("properties", {}).get(part) or _object_or_empty(node.get("additionalProperties"))
    return list(_resolved(node, schema).get("properties", {}))


def _named(value: object) -> str:
    """Return what a value is, as JSON calls it."""
    return NAMES.get(type(value), f"a {type(value).__name__}")


def _object_or_empty(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _resolved(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    for option in node.get("anyOf", ()):
        if option.get("type") != "null":
            node = option
            break
    reference = node.get("$ref")
    return schema["$defs"][reference.rsplit("/", 1)[1]] if reference else node
