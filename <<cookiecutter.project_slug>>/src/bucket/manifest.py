"""The manifest: what makes a checkpoint exist, and all that a supervisor needs to know of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from bucket import layout
from bucket.store import Damaged, NotFound, Store, StoreError

FORMAT = 1


class NewerFormat(StoreError):
    """The manifest was written by a newer program. It is not damaged, and nothing may take its place."""


Json = Any
"""A value of JSON; a precise recursive type buys nothing where `_checked` looks at every field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One object of a checkpoint, in the order of its bytes."""

    name: str
    size: int
    crc32c: int
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataObject:
    """One object that the training data was read from; `generation` is 0 for a local file."""

    uri: str
    size: int
    crc32c: int
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A committed checkpoint."""

    run: str
    attempt: str
    start: int
    """Which start of the process within the attempt, from 1."""
    step: int
    total_steps: int
    epoch: int
    steps_per_second: float
    compute_seconds: float
    """Time in training so far, over all attempts, without what was lost."""
    metrics: dict[str, float | None]
    """The newest evaluation's, empty before the first; None for what was not finite."""
    score: float | None
    """The one of them that tells which checkpoint is best, higher is better."""
    time: str
    """When the snapshot was taken, ISO 8601, UTC."""
    config: dict[str, Json]
    """What the result depends on: a resume with other values is refused."""
    data: tuple[DataObject, ...]
    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.parts)

    @property
    def fingerprint(self) -> tuple[object, ...]:
        """What is equal in two manifests of the same state, whoever wrote them and when."""
        return self.step, self.config, self.data, tuple((part.size, part.crc32c) for part in self.parts)

    def to_json(self) -> bytes:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True).encode()

    @classmethod
    def from_json(cls, text: bytes, name: str) -> Manifest:
        """Raises `Damaged`, naming `name`, if this is not a whole manifest."""
        try:
            return cls.from_values(json.loads(text), name)
        except ValueError as error:
            raise Damaged(f"{name} is not a manifest: {error}") from error

    @classmethod
    def from_values(cls, values: dict[str, Json], name: str) -> Manifest:
        """The same from parsed JSON."""
        try:
            if (found := int(values.pop("format"))) > FORMAT:
                raise NewerFormat(f"{name} has format {found}, this program reads up to {FORMAT}: use a newer image")
            values["parts"] = tuple(Part(**_checked(Part, part)) for part in values["parts"])
            values["data"] = tuple(DataObject(**_checked(DataObject, item)) for item in values["data"])
            return cls(**_checked(cls, values))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Damaged(f"{name} is not a manifest: {error}") from error


_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "dict[str, float | None]": (dict,),
    "dict[str, Json]": (dict,),
    "tuple[DataObject, ...]": (tuple,),
    "tuple[Part, ...]": (tuple,),
}


def _checked(kind: type, values: dict[str, Json]) -> dict[str, Json]:
    for field, annotation in kind.__annotations__.items():
        if not isinstance(values[field], _TYPES[annotation]) or isinstance(values[field], bool):
            raise TypeError(f"{field} is {values[field]!r}")
    return values


def steps(store: Store, run: str) -> list[int]:
    """The steps of the committed checkpoints, newest first."""
    found = (layout.step_of_manifest(entry.name) for entry in store.list(layout.manifests(run)))
    return sorted((step for step in found if step is not None), reverse=True)


def read(store: Store, run: str, step: int) -> Manifest:
    """Raises `NotFound`, `Damaged` or `NewerFormat`."""
    name = layout.manifest(run, step)
    return Manifest.from_json(store.read(name).data, f"{store.uri}/{name}")


def newest(store: Store, run: str) -> Manifest | None:
    """The newest readable manifest: where training stands. None before the first checkpoint."""
    for step in steps(store, run):
        try:
            return read(store, run, step)
        except (NotFound, Damaged):  # pruned since it was listed, or set aside by the next start
            continue
    return None
