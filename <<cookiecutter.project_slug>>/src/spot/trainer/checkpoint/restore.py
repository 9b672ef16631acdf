"""Finding the newest good checkpoint and reading it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from torch import Tensor

from spot.storage import paths
from spot.storage.base import ABSENT, Conflict, Damaged, NotFound, Store
from spot.storage.checksum import crc32c
from spot.storage.paths import Commit
from spot.storage.records import manifest
from spot.storage.records.manifest import Manifest, Part
from spot.trainer.checkpoint import serialize
from spot.trainer.runtime.errors import StartAgain
from spot.trainer.uploader.buffer import SharedBuffer

STREAMS = 8
LISTINGS = 3
"""How often to list again because a predecessor pruned what was listed."""
READS = 2
"""A part that was damaged on its way, not in the store, is good at the second try."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A checkpoint in memory; `tensors` are views of the shared buffer, good until the next save."""

    manifest: Manifest
    tensors: dict[str, Tensor]
    rest: bytes


def newest_good(store: Store, run: str, buffer: SharedBuffer, accept: Callable[[Manifest], None]) -> Restored | None:
    """The newest checkpoint that is whole, None if there never was one.

    `accept` raises for a checkpoint of another configuration. A damaged checkpoint is set aside, loudly, so that
    training can commit its step again; only certain damage counts, never a store that does not answer. Raises
    `StartAgain` if there are checkpoints and all of them are damaged.
    """
    damaged = 0
    for _ in range(LISTINGS):
        vanished = False
        for commit in manifest.commits(store, run):
            try:
                found = manifest.read(store, run, commit)
                accept(found)
                tensors, rest = _read(store, found, buffer)
            except NotFound:
                vanished = True
            except Damaged as error:
                if _quarantine(store, run, commit, str(error)):
                    damaged += 1
                else:
                    vanished = True
            else:
                return Restored(manifest=found, tensors=tensors, rest=rest)
        if not vanished:
            break
    if damaged:
        raise StartAgain(
            f"all {damaged} checkpoints of run {run} in {store.uri} were damaged and are set aside: start again to"
            " begin from step 0"
        )
    return None


def quarantine_all(store: Store, run: str) -> None:
    """Begin anew: no later start resumes from what is there now."""
    for commit in manifest.listed(store, run):
        _quarantine(store, run, commit, "--resume never")


def _read(store: Store, found: Manifest, buffer: SharedBuffer) -> tuple[dict[str, Tensor], bytes]:
    if not found.parts or min(part.size for part in found.parts) <= 0:
        raise Damaged(f"the manifest of step {found.step} names no parts, or empty ones")
    view = buffer.view(found.size)[: found.size]
    starts = [sum(part.size for part in found.parts[:index]) for index in range(len(found.parts))]
    with ThreadPoolExecutor(STREAMS, thread_name_prefix="restore") as pool:
        views = [view[start : start + part.size] for start, part in zip(starts, found.parts, strict=True)]
        list(pool.map(lambda part, target: _read_part(store, part, target), found.parts, views))
    return serialize.parse(view)


def _read_part(store: Store, part: Part, view: memoryview) -> None:
    for _ in range(READS):
        try:
            store.read_into(part.name, view, generation=part.generation)
        except NotFound as error:
            raise Damaged(str(error)) from error
        if (checksum := crc32c(view)) == part.crc32c:
            return
    raise Damaged(f"{store.uri}/{part.name} has CRC32C {checksum:08x}, written as {part.crc32c:08x}")


def _quarantine(store: Store, run: str, commit: Commit, reason: str) -> bool:
    """Whether it was there to be set aside: a predecessor that still lives may have pruned it."""
    name = paths.manifest(run, commit)
    try:
        found = store.read(name)
    except NotFound:
        return False
    with contextlib.suppress(Conflict):  # somebody else is setting it aside as well
        store.write(paths.quarantine(run, commit.step, found.generation), found.data, if_generation=ABSENT)
    store.delete(name)
    _log.warning("step %d: checkpoint set aside: %s", commit.step, reason)
    return True
