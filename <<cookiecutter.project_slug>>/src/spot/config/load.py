"""Read spot.toml and report every mistake at once, one line each."""

import importlib.util
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from spot.config.settings import Settings
from spot.core import typed
from spot.core.errors import SpotError
from spot.core.fields import one_line, shown
from spot.storage.text import read_text
from spot.trainer.runtime import flags
from spot.trainer.runtime.errors import UsageError

TABLES: Mapping[str, type[BaseModel]] = {
    field.alias or name: field.annotation
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
}


class SettingsError(SpotError):
    def __init__(self, lines: tuple[str, ...]) -> None:
        super().__init__("\n".join(lines))

    @property
    def lines(self) -> list[str]:
        return str(self).split("\n")


def load(path: Path) -> Settings:
    """Return the settings of the file. Raise `SpotError`."""
    try:
        text = read_text(path)
    except FileNotFoundError:
        raise _one(path, "no such file: run spot in the folder of the project, beside spot.toml") from None
    return parse(text, str(path), folder=path.parent, config=task_config(path.parent / "task" / "config.py"))


def task_config(path: Path) -> type | None:
    """Return the class `Config` in the file, None if there is no file. Raise `SettingsError`."""
    if not path.is_file():
        return None
    loaded, name = set(sys.modules), str(path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses read annotations there
    try:
        spec.loader.exec_module(module)
        config: type = module.Config
        typed.keys(config, flags.TAKEN)
    except Exception as error:
        raise _one(path, f"{type(error).__name__}: {one_line(error)}") from error
    if "torch" in set(sys.modules) - loaded:
        raise _one(path, "it imports torch, which submit does not need: move what needs torch to another file")
    return config


def parse(text: str, name: str, *, folder: Path | None = None, config: type | None = None) -> Settings:
    """Return the settings in `text`; messages start with `name`. Raise `SettingsError`."""
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise _one(name, "its values are nested too deep") from None
    except ValueError as error:
        reason, at, place = ascii(str(error))[1:-1].rpartition(" (at ")
        raise _one(name, f"not TOML: {reason[:150]}{at}{place[:150]}") from None
    return check({"folder": folder, "config": config, **document}, name)


def override(settings: Settings, changes: Mapping[str, Mapping[str, object]], words: Sequence[str] = ()) -> Settings:
    """Return the settings with changes by table and key, and flags of the trainer, on top. Raise `SettingsError`."""
    parts = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    names, values = parts[::2], parts[1::2]
    if len(names) != len(values) or not all(name.startswith("--") for name in names):
        raise _one("command line", f"-- {shown(' '.join(words))}: expected flags with values, as in -- --epochs 30")
    given: dict[str, dict[str, object]] = {"model": {}, "training": {}}
    for name, value in zip(names, values, strict=True):
        table = "model" if name.startswith("--model.") else "training"
        given[table][name.removeprefix("--").removeprefix("model.")] = value
    document = settings.model_dump(by_alias=True, exclude_unset=True)  # a default is no statement
    changed = {table: {**document.get(table, {}), **values} for table, values in {**changes, **given}.items()}
    return check({**document, **changed, "folder": settings.folder, "config": settings.config}, "command line")


def check(document: Mapping[str, object], name: str) -> Settings:
    """Return the settings in a parsed document. Raise `SettingsError`."""
    try:
        settings = Settings.model_validate({**{table: {} for table in TABLES}, **document})
    except RecursionError:
        raise _one(name, "its values are nested too deep") from None
    except ValidationError as error:
        found = error.errors(include_url=False)
        items = {one["loc"][:-1] for one in found if isinstance(one["loc"][-1], int)}  # a list without them is short
        lines = dict.fromkeys(line for one in found if one["loc"] not in items for line in _mistakes(one))
        raise SettingsError(tuple(f"{_printable(name)}: {line}" for line in lines)) from None
    try:
        flags.parse(settings.arguments(), {}, settings.config)  # flags that contradict each other
    except UsageError as error:
        raise _one(name, f"[training]: {ascii(str(error))[1:-1]}") from None
    return settings


def _mistakes(found: ErrorDetails) -> Iterator[str]:
    kind, location, value = found["type"], found["loc"], found["input"]
    cause = found.get("ctx", {}).get("error")
    if location in {("model",), ("training",)} and cause:
        yield from str(cause).split("\n")
    elif kind == "extra_forbidden":
        yield _unknown([str(part) for part in location])
    else:
        key, field = _field(location)
        allowed = str(cause) if isinstance(cause, ValueError) else str(field.description)
        if isinstance(value, str) and allowed.startswith(("a number", "a whole number", "true or false")):
            allowed += ", without quotes"
        yield f"{key} is missing: {allowed}" if kind == "missing" else f"{key} is {shown(value)}: {allowed}"


def _field(location: tuple[int | str, ...]) -> tuple[str, FieldInfo]:
    """Return the dotted key at `location`, which may go on with an index or a branch of a union, and its field."""
    table, *rest = map(str, location)
    if table not in TABLES or not rest:
        return table, Settings.model_fields["hardware" if table == "machine" else table]
    index = f"[{rest[1]}]" if rest[1:] and rest[1].isdecimal() else ""
    return f"{table}.{rest[0]}{index}", TABLES[table].model_fields[rest[0]]


def _unknown(location: list[str]) -> str:
    *tables, name = location
    prefix = "".join(f"{table}." for table in tables)
    known = list(TABLES[tables[0]].model_fields) if tables else ["name", *TABLES, "model", "training"]
    here = f"{prefix}{name if re.fullmatch(r'[A-Za-z0-9_-]{1,60}', name) else shown(name)}"
    nearest = [f"{prefix}{near}" for near in get_close_matches(name, known, n=1)]
    elsewhere = [f"{table}.{name}" for table, model in TABLES.items() if name in model.model_fields]
    for suggestion in nearest + elsewhere:
        return f"{here} is not a setting: did you mean {suggestion}?"
    return f"{here} is not a setting: known here are {', '.join(known)}"


def _one(name: Path | str, what: str) -> SettingsError:
    return SettingsError((f"{_printable(str(name))}: {what}",))


def _printable(name: str) -> str:
    return name if name.isprintable() else shown(name)
