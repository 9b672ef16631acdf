"""Read values of a task's own settings by the types that its dataclass `Config` states.

`Config.model` becomes the table [model] of spot.toml and flags such as `--model.channels`; `Config.training` becomes
keys of [training] and flags such as `--learning-rate`.
"""

import json
import types
from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from spot.core.errors import SpotError
from spot.core.fields import shown

TABLES: Final = ("model", "training")
_MAX_TEXT: Final = 1000
_MAX_FLOAT: Final = 1e300
_MAX_INT: Final = 2**63
_ALLOWED: Final[Mapping[Any, str]] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: f"a text of at most {_MAX_TEXT} printable characters",
}
_TYPES: Final = "int, float, bool, str, Literal, a tuple[X, ...] of these, or one of these | None with the default None"


class ConfigError(SpotError):
    """Report a dataclass `Config` that cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Describe a field of the configuration, as a key of spot.toml and as a flag of the trainer."""

    table: str
    field: str
    kind: Any
    """The type, without `| None`."""
    default: Any

    @property
    def name(self) -> str:
        """Return the key within its table."""
        return self.field.replace("_", "-")

    @property
    def flag(self) -> str:
        """Return the flag, without the dashes."""
        return self.name if self.table == "training" else f"{self.table}.{self.name}"

    @property
    def allowed(self) -> str:
        item = get_args(self.kind)[0] if get_origin(self.kind) is tuple else self.kind
        allowed = _ALLOWED.get(item) or f"one of {', '.join(word(one) for one in get_args(item))}"
        return allowed if item is self.kind else f"a list, each item {allowed}"

    def read(self, value: object) -> Any:
        """Return a value of TOML, or the text of a flag, as the type of the field; a list in a text is JSON.

        Raise `ValueError` with what is allowed.
        """
        found = _read(self.kind, value)
        if found is MISSING and isinstance(value, str) and self.kind is not str:
            try:
                found = _read(self.kind, json.loads(value))
            except (ValueError, RecursionError):
                found = MISSING
        if found is MISSING:
            raise ValueError(f"{shown(value)} is not {self.allowed}")
        return found


def keys(config: type, flags: Collection[str] = ()) -> tuple[Key, ...]:
    """Return the fields of a task's `Config`. Raise `ConfigError` for one that cannot be a setting.

    `flags` are names that belong to the trainer.
    """
    found = []
    for table in _settable(config):
        where = f"Config.{table.name}"
        if table.name not in TABLES:
            raise ConfigError(f"{where} is not allowed: only Config.model and Config.training are")
        kind = get_type_hints(config)[table.name]
        settable, hints = _settable(kind), get_type_hints(kind)
        defaults = getattr(config(), table.name)
        for field in settable:
            key = _key(table.name, field.name, hints[field.name], getattr(defaults, field.name))
            if key.flag in flags:
                raise ConfigError(f"{where}.{field.name}: --{key.flag} is a flag of the trainer: choose another name")
            found.append(key)
    return tuple(found)


def build(config: type, values: Mapping[str, Any]) -> Any:
    """Return the configuration with the values by flag on top of its defaults."""
    built: Any = config()
    given: dict[str, dict[str, Any]] = {}
    for key in keys(config):
        if key.flag in values:
            given.setdefault(key.table, {})[key.field] = values[key.flag]
    return replace(built, **{table: replace(getattr(built, table), **changes) for table, changes in given.items()})


def flags_of(config: Any) -> dict[str, Any]:
    """Return the values of a configuration by flag, as JSON has them."""
    values = {key.flag: getattr(getattr(config, key.table), key.field) for key in keys(type(config))}
    return {flag: list(value) if isinstance(value, tuple) else value for flag, value in values.items()}


def word(value: object) -> str:
    """Return a value as a word of the trainer's command line."""
    return value if isinstance(value, str) else json.dumps(value)


def _settable(kind: Any) -> list["Field[Any]"]:
    """Return the fields that may be set. Raise `ConfigError` for one without a default."""
    if not is_dataclass(kind):
        raise ConfigError(f"{kind} is not a dataclass: decorate it with @dataclass(frozen=True, kw_only=True)")
    found = [field for field in fields(kind) if field.init]
    for field in found:
        if field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{kind.__name__}.{field.name} has no default: give it one")  # type: ignore[union-attr]
    return found


def _key(table: str, field: str, hint: Any, default: Any) -> Key:
    options = [one for one in get_args(hint) if one is not types.NoneType]
    optional = get_origin(hint) in (Union, types.UnionType) and len(options) == 1
    kind = options[0] if optional else hint
    item = get_args(kind)[0] if get_origin(kind) is tuple and get_args(kind)[1:] == (...,) else kind
    choices = get_args(item) if get_origin(item) is Literal else ()
    if item not in _ALLOWED and not (choices and {type(one) for one in choices} <= {*_ALLOWED}):
        raise ConfigError(f"Config.{table}.{field} has the type {hint}: allowed are {_TYPES}")
    key = Key(table=table, field=field, kind=kind, default=default)
    if not (optional and default is None) and _read(kind, default) is MISSING:
        raise ConfigError(f"Config.{table}.{field} has a wrong default: {shown(default)} is not {key.allowed}")
    return key


def _read(kind: Any, value: Any) -> Any:
    """Return the value as `kind`, `MISSING` if it is of another type."""
    if get_origin(kind) is tuple:
        items = [_read(get_args(kind)[0], item) for item in value] if isinstance(value, list | tuple) else [MISSING]
        return MISSING if MISSING in items else tuple(items)
    if get_origin(kind) is Literal:
        return next((one for one in get_args(kind) if one == value and type(one) is type(value)), MISSING)
    if kind is float and type(value) in (int, float) and abs(value) < _MAX_FLOAT:
        return float(value)
    if kind is float or type(value) is not kind or (kind is int and not -_MAX_INT <= value < _MAX_INT):
        return MISSING
    return value if kind is not str or (len(value) <= _MAX_TEXT and value.isprintable()) else MISSING
