"""Find the newest good checkpoint and read it; quarantine damaged checkpoints."""

import contextlib
import logging
import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from spot.storage import paths
from spot.storage.base import ABSENT, Conflict, Damaged, NotFound, Store
from spot.storage.checksum import crc32c
from spot.storage.paths import Commit
from spot.storage.records import manifest
from spot.storage.records.manifest import Manifest
from spot.trainer.checkpoint import serialize
from spot.trainer.checkpoint.boxes import Box, Saved, build, build_like, local_box, owner, shape_of
from spot.trainer.distributed.group import ALONE, Group
from spot.trainer.runtime.errors import StartAgain
from spot.trainer.uploader.buffer import SharedBuffer

STREAMS = 8
LISTINGS = 3
"""The most listings, repeated if listed checkpoints were deleted meanwhile."""
READS = 2
"""The most reads of a part. The second succeeds if the damage happened in transit."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """Hold a checkpoint in memory. `tensors` may be views of the shared buffer, valid until the next save."""

    manifest: Manifest
    tensors: dict[str, Tensor]
    rest: bytes
    """All other values, as rank 0 saved them."""
    own: bytes
    """Those of this rank, if the checkpoint is of as many ranks."""


def newest_good(
    store: Store,
    run: str,
    buffer: SharedBuffer,
    accept: Callable[[Manifest], None],
    load: Callable[[Restored], None] = lambda _: None,
    *,
    like: Callable[[str], Tensor | None] = lambda _: None,
    group: Group = ALONE,
) -> Restored | None:
    """Return the newest checkpoint that is undamaged on every rank, None if there never was one.

    `accept` raises for a checkpoint of another configuration, `load` raises `Damaged` for an invalid state. `like`
    returns the sharded tensor that a tensor of this name is restored for. A damaged checkpoint is quarantined, so that
    training can commit its step again. A store that does not answer is no damage. Raise `StartAgain` if every
    checkpoint is damaged.
    """
    damaged = 0
    for _ in range(LISTINGS):
        vanished = False
        listed = [asdict(commit) for commit in manifest.commits(store, run)] if group.rank == 0 else None
        for commit in [Commit(**fields) for fields in group.broadcast(listed)]:
            try:
                with _together(group):
                    found = manifest.read(store, run, commit)
                    accept(found)
                with _together(group):
                    restored = read(store, found, buffer, like, group)
                    load(restored)
                return restored
            except NotFound:
                reason = ""
            except Damaged as error:
                reason = str(error)
            existed = bool(group.rank == 0 and reason and _quarantine(store, run, commit, reason))
            if group.broadcast(existed):
                damaged += 1
            else:
                vanished = True
        if not vanished:
            break
    if damaged:
        raise StartAgain(
            f"all {damaged} checkpoints of run {run} in {store.uri} were damaged and are quarantined: the next start"
            " begins at step 0"
        )
    return None


def quarantine_all(store: Store, run: str) -> None:
    """Quarantine every checkpoint, so that no later start resumes from it."""
    for commit in manifest.listed(store, run):
        _quarantine(store, run, commit, "--resume never")


def read(
    store: Store,
    found: Manifest,
    buffer: SharedBuffer,
    like: Callable[[str], Tensor | None] = lambda _: None,
    group: Group = ALONE,
) -> Restored:
    """Read what this rank needs of a checkpoint, whatever the number of ranks that wrote it. Raise `Damaged`.

    The ranks of a machine share the memory, and each of them reads some of the parts.
    """
    resized = found.world != group.world
    own = 0 if resized else group.rank
    parts = _Parts(store, found, buffer, group)
    if group.world == 1:
        parts.need([(0, found.size)])
    saved = parts.boxes()
    rest = serialize.state_name(0)
    with _together(group):
        wanted = {
            name: _wanted(pieces, like(name))
            for name, pieces in saved.items()
            if resized or name == rest or owner(name) in (None, own)
        }
    parts.need(
        parts.span(piece, common)
        for name, (_, box) in wanted.items()
        for piece in saved[name]
        if (common := piece.box.overlap(box))
    )
    tensors = {
        name: build(saved[name], box) if sharded is None else build_like(saved[name], sharded)
        for name, (sharded, box) in wanted.items()
    }
    states = [tensors.get(serialize.state_name(rank)) for rank in (0, own)]
    rests = [bytes(state.numpy()) for state in states if state is not None and state.dtype == torch.uint8]
    if len(rests) < len(states):
        raise Damaged(f"the checkpoint of step {found.step} lacks the state of a rank")
    return Restored(manifest=found, tensors=tensors, rest=rests[0], own=rests[1])


def _wanted(pieces: list[Saved], like: Tensor | None) -> tuple[Tensor | None, Box]:
    """Return the sharded tensor to restore, if any, and the box that this rank needs of it."""
    shape = shape_of(pieces)
    return (like, local_box(like)) if like is not None and like.shape == shape else (None, Box.whole(shape))


class _Parts:
    """Read the parts of a checkpoint into memory, each once a byte of it is needed. Others take no memory.

    Every rank makes the same calls, and all of them raise the first `Damaged` of any rank.
    """

    def __init__(self, store: Store, found: Manifest, buffer: SharedBuffer, group: Group) -> None:
        self._store, self._parts, self._group = store, found.parts, group
        self._starts = list(accumulate((part.size for part in self._parts), initial=0))
        ends = list(accumulate((sum(part.size for part in shard) for shard in found.shards), initial=0))
        self._shards = list(pairwise(ends))
        with _together(group):
            self._generations = self._listed(found)
        self._view, self._readers = _memory(found.size, buffer, group)
        self._base = torch.frombuffer(self._view, dtype=torch.uint8).data_ptr()
        self._present: set[int] = set()

    def need(self, spans: Iterable[tuple[int, int]]) -> None:
        """Read the parts that hold these bytes."""
        own = {
            index
            for start, end in spans
            for index in range(bisect_right(self._starts, start) - 1, bisect_left(self._starts, end))
        }
        wanted = self._group.gather(sorted(own - self._present))
        indices = sorted(set().union(*(wanted[rank] for rank in self._readers)))
        place = self._readers.index(self._group.rank)
        with _together(self._group), ThreadPoolExecutor(STREAMS, thread_name_prefix="restore") as pool:
            list(pool.map(self._read, indices[place :: len(self._readers)]))
        self._present |= set(indices)

    def _listed(self, found: Manifest) -> list[int]:
        """Return the generations of the parts. A copied folder has others and the same content."""
        named = {part.name: part.size for part in found.parts}
        there = {entry.name: entry for entry in self._store.list(paths.data(found.run))}
        sizes = {name: entry.size for name, entry in there.items()}
        if (
            not (found.shards and all(found.shards))
            or len(named) < len(found.parts)
            or 0 in named.values()
            or not named.items() <= sizes.items()
        ):
            raise Damaged(
                f"the manifest of step {found.step} names no parts, or parts that {self._store.uri} does not have"
            )
        return [there[part.name].generation for part in self._parts]

    def boxes(self) -> dict[str, list[Saved]]:
        """Return the saved boxes of each tensor, as views of the buffer. Only headers are read."""
        self.need((start, start + 8) for start, _ in self._shards)
        views = [self._view[start:end] for start, end in self._shards]
        sizes = [min(serialize.header_size(view), view.nbytes) for view in views]
        self.need((start, start + size) for (start, _), size in zip(self._shards, sizes, strict=True))
        found: dict[str, list[Saved]] = {}
        for view in views:
            for name, saved in serialize.parse_boxes(view).items():
                found.setdefault(name, []).append(saved)
        return found

    def span(self, saved: Saved, needed: Box) -> tuple[int, int]:
        """Return where the buffer has the rows of `needed`, a box within the saved box."""
        start = saved.values.data_ptr() - self._base
        if not saved.box.shape:
            return start, start + saved.values.nbytes
        rows, row_size = needed.within(saved.box)[0], saved.values.nbytes // saved.box.shape[0]
        return start + rows.start * row_size, start + rows.stop * row_size

    def _read(self, index: int) -> None:
        part, start = self._parts[index], self._starts[index]
        view = self._view[start : start + part.size]
        for _ in range(READS):
            try:
                self._store.read_into(part.name, view, generation=self._generations[index])
            except NotFound as error:
                raise Damaged(str(error)) from error
            if (checksum := crc32c(view)) == part.crc32c:
                return
        raise Damaged(f"{self._store.uri}/{part.name} has CRC32C {checksum:08x}, written as {part.crc32c:08x}")


@contextlib.contextmanager
def _together(group: Group) -> Iterator[None]:
    """Raise on every rank the first `Damaged` of any rank, or else the first `NotFound`."""
    damaged = missing = ""
    try:
        yield
    except Damaged as error:
        damaged = str(error)
    except NotFound as error:
        missing = str(error)
    for kind, reasons in zip((Damaged, NotFound), zip(*group.gather([damaged, missing]), strict=True), strict=True):
        if first := next(filter(None, reasons), None):
            raise kind(first)


def _memory(size: int, buffer: SharedBuffer, group: Group) -> tuple[memoryview, list[int]]:
    """Return memory for a checkpoint, and the ranks that share it: those of a machine whose kernel allows it.

    Many ranks do not use the buffer: their saves are smaller, and no GPU must register memory for all shards.
    """
    if group.world == 1:
        return buffer.view(size)[:size], [group.rank]
    own = SharedBuffer()
    places = group.gather([group.node, f"/proc/{os.getpid()}/fd/{own.fd}"])
    readers = [rank for rank, (node, _) in enumerate(places) if node == group.node]
    opened = -1
    with contextlib.suppress(OSError):
        opened = os.open(places[readers[0]][1], os.O_RDWR)
    shared = group.gather(opened >= 0)
    if not all(shared[rank] for rank in readers):
        readers = [group.rank]
    view = (own if readers == [group.rank] else SharedBuffer(opened)).view(size)[:size]
    for fd in {own.fd, opened} - {-1}:  # the memory lives as long as its views
        os.close(fd)
    return view, readers


def _quarantine(store: Store, run: str, commit: Commit, reason: str) -> bool:
    """Move the manifest, and return whether it existed: a previous process may have deleted it."""
    name = paths.manifest(run, commit)
    try:
        found = store.read(name)
    except NotFound:
        return False
    with contextlib.suppress(Conflict):  # another process quarantines it as well
        store.write(paths.quarantine(run, commit.step, found.generation), found.data, if_generation=ABSENT)
    store.delete(name)
    _log.warning("step %d: checkpoint quarantined: %s", commit.step, reason)
    return True
