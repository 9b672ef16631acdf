"""The manifest: what makes a checkpoint exist, and all that a supervisor needs to know of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from spot.storage import paths
from spot.storage.base import Damaged, NewerFormat, NotFound, Store
from spot.storage.paths import Commit

FORMAT = 1


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
    token: int
    """Of the writer's lease under which it was written."""
    from_step: int
    """The checkpoint that its writer began from; 0 if from nothing."""
    from_token: int
    step: int
    total_steps: int
    epoch: int
    steps_per_second: float
    compute_seconds: float
    """Time in training so far, over all attempts, without what was lost."""
    saving_seconds: float
    """How long training stood still for checkpoints, since this start."""
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
    def commit(self) -> Commit:
        return Commit(step=self.step, token=self.token, from_step=self.from_step, from_token=self.from_token)

    @property
    def name(self) -> str:
        """Of the object that it is."""
        return paths.manifest(self.run, self.commit)

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


def committed_lineage(commits: Iterable[Commit]) -> list[Commit]:
    """Those that count, newest first: what the newest writer committed, what that began from, and so on back.

    Decided by names alone. What a writer commits that has lost its lease does not count from the moment that its
    successor has committed anything, whenever its request lands.
    """
    counted: list[Commit] = []
    last_token, last_step = math.inf, math.inf
    by_token = sorted(commits, key=lambda commit: (commit.token, commit.step), reverse=True)
    for token, group in groupby(by_token, key=lambda commit: commit.token):
        own = [commit for commit in group if token <= last_token and commit.step <= last_step]
        if own:
            counted += own
            last_token, last_step = own[0].from_token, own[0].from_step
    return counted


def commits(store: Store, run: str) -> list[Commit]:
    """The committed checkpoints that count, newest first."""
    return committed_lineage(listed(store, run))


def listed(store: Store, run: str) -> list[Commit]:
    """All of a run's manifests, also those that do not count."""
    found = (paths.commit_of_manifest(entry.name) for entry in store.list(paths.manifests(run)))
    return [commit for commit in found if commit is not None]


def read(store: Store, run: str, commit: Commit) -> Manifest:
    """Raises `NotFound`, `Damaged` or `NewerFormat`."""
    name = paths.manifest(run, commit)
    return Manifest.from_json(store.read(name).data, f"{store.uri}/{name}")


def newest(store: Store, run: str) -> Manifest | None:
    """The newest readable manifest: where training stands. None before the first checkpoint."""
    for commit in commits(store, run):
        try:
            return read(store, run, commit)
        except (NotFound, Damaged):  # pruned since it was listed, or set aside by the next start
            continue
    return None
