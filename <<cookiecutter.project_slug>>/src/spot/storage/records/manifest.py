"""Read manifests, which make checkpoints exist, and find the committed lineage of a run."""

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
"""A JSON value. `_checked` checks each field, so that a recursive type has no use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Describe one object of a checkpoint."""

    name: str
    size: int
    crc32c: int
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataObject:
    """Describe an object of the training data; `generation` is 0 for a local file."""

    uri: str
    size: int
    crc32c: int
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Describe a committed checkpoint."""

    run: str
    attempt: str
    start: int
    """Number of the start within the attempt, from 1."""
    token: int
    """Fencing token of the writer."""
    from_step: int
    """Step of the checkpoint that the writer resumed from; 0 for none."""
    from_token: int
    step: int
    total_steps: int
    epoch: int
    steps_per_second: float
    compute_seconds: float
    """Time in training and evaluations over all attempts, without lost work."""
    evaluation_seconds: float
    """The evaluations among `compute_seconds`."""
    longest_evaluation_seconds: float
    """0 before the first evaluation."""
    evaluations_left: int
    saving_seconds: float
    """Time that training paused for checkpoints, since this start."""
    save_seconds: float
    """Time until the last save was durable; 0 for the first save of this start."""
    metrics: dict[str, float | None]
    """Of the newest evaluation, empty before the first; None for a value that was not finite."""
    score: float | None
    """The metric that ranks checkpoints: higher is better."""
    time: str
    """When the snapshot was taken, ISO 8601, UTC."""
    config: dict[str, Json]
    """Values that the result depends on: a resume with other values is refused."""
    data: tuple[DataObject, ...]
    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        """Return the bytes of all parts."""
        return sum(part.size for part in self.parts)

    @property
    def commit(self) -> Commit:
        return Commit(step=self.step, token=self.token, from_step=self.from_step, from_token=self.from_token)

    @property
    def name(self) -> str:
        """Return the name of the object."""
        return paths.manifest(self.run, self.commit)

    def to_json(self) -> bytes:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True).encode()

    @classmethod
    def from_json(cls, text: bytes, name: str) -> Manifest:
        """Return the manifest in a record. Raises `Damaged` or `NewerFormat` with `name`."""
        try:
            return cls.from_values(json.loads(text), name)
        except ValueError as error:
            raise Damaged(f"{name} is not a manifest ({error}): the next start quarantines it") from error

    @classmethod
    def from_values(cls, values: dict[str, Json], name: str) -> Manifest:
        """Return the manifest in parsed JSON. Raises the same errors."""
        try:
            if (found := int(values.pop("format"))) > FORMAT:
                raise NewerFormat(f"{name} has format {found}, this program reads up to {FORMAT}: use a newer image")
            values["parts"] = tuple(Part(**_checked(Part, part)) for part in values["parts"])
            values["data"] = tuple(DataObject(**_checked(DataObject, item)) for item in values["data"])
            return cls(**_checked(cls, values))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Damaged(f"{name} is not a manifest ({error}): the next start quarantines it") from error


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
    """Return the commits of the newest writer, of the writer it resumed from, and so on, newest first.

    Names alone decide. Once a new holder of the lease has committed, later commits of the former holder are ignored,
    whenever its requests arrive.
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
    """Return the committed lineage of a run, newest first."""
    return committed_lineage(listed(store, run))


def listed(store: Store, run: str) -> list[Commit]:
    """Return all commits of a run, also outside the lineage."""
    found = (paths.commit_of_manifest(entry.name) for entry in store.list(paths.manifests(run)))
    return [commit for commit in found if commit is not None]


def read(store: Store, run: str, commit: Commit) -> Manifest:
    """Return the manifest of a commit. Raises `NotFound`, `Damaged` or `NewerFormat`."""
    name = paths.manifest(run, commit)
    return Manifest.from_json(store.read(name).data, f"{store.uri}/{name}")


def newest(store: Store, run: str) -> Manifest | None:
    """Return the newest readable manifest, None before the first checkpoint."""
    for commit in commits(store, run):
        try:
            return read(store, run, commit)
        except (NotFound, Damaged):  # pruned since the listing, or about to be quarantined
            continue
    return None
