"""Read manifests, which make checkpoints exist, and find the committed lineage of a run."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, groupby
from typing import Any

from spot.core import fields
from spot.storage import paths
from spot.storage.base import Damaged, NotFound, Store
from spot.storage.paths import Commit, Upload
from spot.storage.records import codec

FORMAT = 2
QUARANTINED = "the next start quarantines it"

Json = Any
"""A JSON value of bounded depth, with finite numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Describe one object of a checkpoint."""

    name: str
    size: fields.Size
    crc32c: fields.Crc32c
    generation: fields.Size


@dataclass(frozen=True, slots=True, kw_only=True)
class DataObject:
    """Describe an object of the training data; `generation` is 0 for a local file."""

    uri: str
    size: fields.Size
    crc32c: fields.Crc32c
    generation: fields.Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Describe a committed checkpoint."""

    run: fields.Id
    attempt: fields.Id
    start: fields.Count
    """Number of the start within the attempt, from 1."""
    token: fields.Count
    """Fencing token of the writer."""
    from_step: fields.Count
    """Step of the checkpoint that the writer resumed from; 0 for none."""
    from_token: fields.Count
    step: fields.Count
    total_steps: fields.Count
    epoch: fields.Count
    steps_per_second: fields.Quantity
    compute_seconds: fields.Quantity
    """Time in training and evaluations over all attempts, without lost work."""
    evaluation_seconds: fields.Quantity
    """The evaluations among `compute_seconds`."""
    longest_evaluation_seconds: fields.Quantity
    """0 before the first evaluation."""
    evaluations_left: fields.Count
    saving_seconds: fields.Quantity
    """Time that training paused for checkpoints, since this start."""
    save_seconds: fields.Quantity
    """Time until the last save was durable; 0 for the first save of this start."""
    interval_seconds: fields.Quantity
    """Training time until the next save is due."""
    metrics: dict[str, float | None]
    """Of the newest evaluation, empty before the first; None for a value that was not finite."""
    score: float | None
    """The metric that ranks checkpoints: higher is better."""
    time: datetime
    """When the snapshot was taken."""
    config: dict[str, Json]
    """Values that the result depends on: a resume with other values is refused."""
    data: tuple[DataObject, ...]
    shards: tuple[tuple[Part, ...], ...]
    """The parts that each rank wrote, in the order of the ranks."""

    @property
    def world(self) -> int:
        """Return the number of ranks that wrote the checkpoint."""
        return len(self.shards)

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(chain.from_iterable(self.shards))

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def commit(self) -> Commit:
        return Commit(step=self.step, token=self.token, from_step=self.from_step, from_token=self.from_token)

    @property
    def name(self) -> str:
        return paths.manifest(self.run, self.commit)

    def to_json(self) -> bytes:
        return codec.encode(self, FORMAT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Describe the parts that one of several ranks wrote, until a manifest names them."""

    parts: tuple[Part, ...]

    @classmethod
    def of(cls, store: Store, upload: Upload, rank: int) -> "Shard":
        """Return the record of a rank. Raises `NotFound` before it is written, `Damaged`, `NewerFormat`."""
        name = upload.shard(rank)
        found, _ = codec.read(cls, store, name, "the record of a shard", "save again")
        if not found.parts or [part.name for part in found.parts] != [
            upload.part(index, rank) for index in range(len(found.parts))
        ]:
            raise Damaged(f"{store.uri}/{name} names other parts than those of rank {rank}: save again")
        return found


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
    found, _ = codec.read(Manifest, store, name, "a manifest", QUARANTINED, FORMAT)
    if found.name != name:
        raise Damaged(f"{store.uri}/{name} holds the manifest {found.name}: {QUARANTINED}")
    return found


def newest(store: Store, run: str) -> Manifest | None:
    """Return the newest readable manifest, None before the first checkpoint."""
    for commit in commits(store, run):
        try:
            return read(store, run, commit)
        except (NotFound, Damaged):  # pruned since the listing, or about to be quarantined
            continue
    return None
