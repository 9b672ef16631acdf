"""Encode the records of the bucket, and decode them without trust: write access to the bucket is not authority.

A decoded record has the types, patterns and bounds of its annotations, finite numbers, and times from 2000 to 2200 in
UTC. Anything else is `Damaged`. Unknown keys are ignored.
"""

import dataclasses
import json
import logging
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

from spot.core.fields import shown
from spot.storage.base import ABSENT, Conflict, Damaged, NewerFormat, NotFound, Store

FORMAT = 1
"""Of every record without a format of its own."""
DEEPEST = 20
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
LONGEST = timedelta(days=3660)
REASON = 200
TRIES = 5

_Record = TypeVar("_Record")
_log = logging.getLogger(__name__)


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
            return cast(_Record, _record(kind, values))
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:REASON]
        raise Damaged(f"{name} is not {what} ({reason}): {fix}") from error
    raise NewerFormat(f"{name} has format {found}, this program reads up to {newest}: use a newer version of spot")


def read(
    kind: type[_Record], store: Store, name: str, what: str, fix: str, newest: int = FORMAT
) -> tuple[_Record, int]:
    """Return a record and its generation. Raises `NotFound`, `Damaged` or `NewerFormat`."""
    found = store.read(name)
    return decode(kind, found.data, f"{store.uri}/{name}", what, fix, newest), found.generation


def read_or_new(kind: type[_Record], store: Store, name: str, what: str, fix: str) -> tuple[_Record, int]:
    """Return a record and its generation. A damaged record counts as a missing one, and is overwritten."""
    try:
        found = store.read(name)
    except NotFound:
        return kind(), ABSENT
    try:
        return decode(kind, found.data, f"{store.uri}/{name}", what, fix), found.generation
    except Damaged as error:
        _log.warning("%s", error)
        return kind(), found.generation


def update(
    kind: type[_Record], store: Store, name: str, what: str, fix: str, change: Callable[[_Record], _Record]
) -> _Record:
    """Replace a record, new if it is missing or damaged, by what `change` makes of it. Raises `SpotError`."""
    for _ in range(TRIES):
        known, generation = read_or_new(kind, store, name, what, fix)
        try:
            store.write(name, encode(changed := change(known)), if_generation=generation)
        except Conflict:
            continue
        return changed
    raise Conflict(f"{store.uri}/{name}: another process writes it")


def loads(data: bytes) -> Any:
    """Return the value of a JSON text with bounded depth, finite numbers and valid Unicode. Raises `ValueError`."""
    try:
        value = json.loads(data, parse_int=_integer, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    _check([value], DEEPEST + 1)
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
    for inner in (*value, *value.values()) if isinstance(value, dict) else value:
        if isinstance(inner, list | dict):
            _check(inner, depth - 1)
        elif isinstance(inner, str) and not inner.isascii():
            inner.encode()  # raises for half of a surrogate pair, which no file or terminal takes


@cache
def _decoder(hint: Any) -> Callable[[Any], Any]:
    """Return what makes the type of an annotation of a value of JSON, or raises `ValueError` or `TypeError`."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        of_any, allowed = _decoder(inner[0]), hint.__metadata__[0]
        return lambda value: _within(of_any(value), allowed)
    if origin is UnionType or NoneType in inner:
        of_some = _decoder(next(one for one in inner if one is not NoneType))
        return lambda value: None if value is None else of_some(value)
    if origin is tuple:
        of_item = _decoder(inner[0])
        return lambda value: tuple(map(of_item, _as(list, value)))
    if origin in (dict, Mapping):
        of_key, of_value = map(_decoder, inner)
        return lambda value: {of_key(key): of_value(item) for key, item in _as(dict, value).items()}
    if dataclasses.is_dataclass(hint):
        return partial(_record, cast(type, hint))
    if hint is float:
        return lambda value: float(value) if type(value) is int else _as(float, value)
    if hasattr(hint, "__members__"):  # an Enum
        return cast(Callable[[Any], Any], hint)
    return {Any: lambda value: value, datetime: _moment, timedelta: _duration}.get(hint, partial(_as, hint))


def _as(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(shown(value))
    return value


def _record(kind: type, value: Any) -> Any:
    values, found = _as(dict, value), {}
    for name, (decoder, is_required) in _fields(kind).items():
        if name in values:
            try:
                found[name] = decoder(values[name])
            except (ValueError, TypeError) as error:
                raise ValueError(f"{name}: {error}") from error
        elif is_required:
            raise ValueError(f"{name} is missing")
    return kind(**found)


@cache
def _fields(kind: type) -> Mapping[str, tuple[Callable[[Any], Any], bool]]:
    """Return the decoder of each field, and whether a record must have it."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        field.name: (
            _decoder(hints[field.name]),
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(kind)
    }


def _within(value: Any, allowed: Any) -> Any:
    if isinstance(allowed, re.Pattern):
        is_allowed = allowed.fullmatch(value) is not None
    else:
        number = value.total_seconds() if isinstance(value, timedelta) else value
        is_allowed = allowed.least <= number <= allowed.most
    if not is_allowed:
        raise ValueError(shown(value))
    return value


def _moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(_as(str, value))
    if moment.tzinfo is None:
        raise ValueError(f"{shown(value)} has no offset from UTC")
    if not EARLIEST <= moment <= LATEST:
        raise ValueError(f"{shown(value)} is not between 2000 and 2200")
    return moment.astimezone(UTC)


def _duration(value: Any) -> timedelta:
    if type(value) not in {int, float} or not 0 <= value <= LONGEST.total_seconds():
        raise TypeError(shown(value))
    return timedelta(seconds=value)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: durations in seconds, times in ISO 8601."""
    match value:
        case str() | int() | float() | None:
            return value
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case tuple() | list():
            return [_plain(item) for item in value]
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
    return {name: _plain(getattr(value, name)) for name in _fields(cast(type, type(value)))}
