"""Encode the records of the bucket, and decode them without trust: write access to the bucket is not authority.

A decoded record has the types, patterns and bounds of its annotations, finite numbers, and times from 2000 to 2200 in
UTC. Anything else is `Damaged`. Unknown keys are ignored.
"""

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

from spot.core.fields import shown
from spot.storage.base import Damaged, NewerFormat

FORMAT = 1
"""Of every record without a format of its own."""
DEEPEST = 20
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
LONGEST = timedelta(days=3660)
REASON = 200

_Record = TypeVar("_Record")


def encode(record: object, newest: int = FORMAT) -> bytes:
    """Return a dataclass as the JSON of its object in the bucket."""
    return json.dumps({"format": newest, **_plain(record)}, indent=1, allow_nan=False).encode()


def decode(kind: type[_Record], data: bytes, name: str, what: str, fix: str, newest: int = FORMAT) -> _Record:
    """Return the record in an object. Raises `Damaged` or `NewerFormat` with the name of the object.

    `what` says what the record is, as in "a lease", and `fix` how an operator repairs it.
    """
    try:
        values = loads(data)
        found = values.get("format") if isinstance(values, dict) else None
        if type(found) is not int or found < 1:
            raise ValueError(f"format is {shown(found)}")
        if found <= newest:
            return cast(_Record, _value(kind, values))
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:REASON]
        raise Damaged(f"{name} is not {what} ({reason}): {fix}") from error
    raise NewerFormat(f"{name} has format {found}, this program reads up to {newest}: use a newer version of spot")


def loads(data: bytes) -> Any:
    """Return the value of a JSON text with bounded depth, finite numbers and valid Unicode. Raises `ValueError`."""
    try:
        value = json.loads(data, parse_int=_integer, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    _check(value, DEEPEST)
    return value


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > 19 or abs(value := int(text)) >= 2**63:
        raise ValueError(f"a number has {len(text)} digits")
    return value


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError("a number is not finite")
    return value


def _check(value: Any, depth: int) -> None:
    if depth < 0:
        raise ValueError("it is nested too deep")
    if isinstance(value, str):
        value.encode()  # raises for half of a surrogate pair, which no file or terminal takes
    elif isinstance(value, list | dict):
        for inner in (*value, *value.values()) if isinstance(value, dict) else value:
            _check(inner, depth - 1)


def _value(hint: Any, value: Any) -> Any:
    """Return `value` of JSON as the type of an annotation. Raises `ValueError` or `TypeError`."""
    origin, inner = _parts(hint)
    if origin is Annotated:
        return _within(_value(inner[0], value), hint.__metadata__[0])
    if origin is UnionType or NoneType in inner:
        return None if value is None else _value(next(one for one in inner if one is not NoneType), value)
    if origin is tuple and isinstance(value, list):
        return tuple(_value(inner[0], item) for item in value)
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {_value(inner[0], key): _value(inner[1], item) for key, item in value.items()}
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return cast(type, hint)(**_fields(cast(type, hint), value))
    if hint is datetime and isinstance(value, str):
        return _moment(value)
    if hint is timedelta and type(value) in {int, float} and 0 <= value <= LONGEST.total_seconds():
        return timedelta(seconds=value)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is hint:
        return value
    if hasattr(hint, "__members__"):  # an Enum
        return hint(value)
    raise TypeError(shown(value))


def _fields(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for field in dataclasses.fields(kind):
        if field.name in values:
            try:
                found[field.name] = _value(_hints(kind)[field.name], values[field.name])
            except (ValueError, TypeError) as error:
                raise ValueError(f"{field.name}: {error}") from error
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{field.name} is missing")
    return found


def _within(value: Any, allowed: Any) -> Any:
    if isinstance(allowed, re.Pattern):
        is_allowed = allowed.fullmatch(value) is not None
    else:
        number = value.total_seconds() if isinstance(value, timedelta) else value
        is_allowed = allowed.least <= number <= allowed.most
    if not is_allowed:
        raise ValueError(shown(value))
    return value


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{shown(text)} has no offset from UTC")
    if not EARLIEST <= moment <= LATEST:
        raise ValueError(f"{shown(text)} is not between 2000 and 2200")
    return moment.astimezone(UTC)


@cache
def _parts(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    return get_origin(hint), get_args(hint)


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: durations in seconds, times in ISO 8601."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    match value:
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case tuple() | list():
            return [_plain(item) for item in value]
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
    return value
