"""Find the newest good checkpoint and read it; quarantine damaged checkpoints."""

import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

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
"""The most listings, repeated if listed checkpoints were deleted meanwhile."""
READS = 2
"""The most reads of a part. The second succeeds if the damage happened in transit."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """Hold a checkpoint in memory. `tensors` are views of the shared buffer, valid until the next save."""

    manifest: Manifest
    tensors: dict[str, Tensor]
    rest: bytes


def newest_good(
    store: Store,
    run: str,
    buffer: SharedBuffer,
    accept: Callable[[Manifest], None],
    load: Callable[[Restored], None] = lambda _: None,
) -> Restored | None:
    """Return the newest undamaged checkpoint, None if there never was one.

    `accept` raises for a checkpoint of another configuration, `load` raises `Damaged` for an invalid state. A damaged
    checkpoint is quarantined, so that training can commit its step again. A store that does not answer is no damage.
    Raise `StartAgain` if every checkpoint is damaged.
    """
    damaged = 0
    for _ in range(LISTINGS):
        vanished = False
        for commit in manifest.commits(store, run):
            try:
                found = manifest.read(store, run, commit)
                accept(found)
                tensors, rest = _read(store, found, buffer)
                restored = Restored(manifest=found, tensors=tensors, rest=rest)
                load(restored)
            except NotFound:
                vanished = True
            except Damaged as error:
                if _quarantine(store, run, commit, str(error)):
                    damaged += 1
                else:
                    vanished = True
            else:
                return restored
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


def _read(store: Store, found: Manifest, buffer: SharedBuffer) -> tuple[dict[str, Tensor], bytes]:
    named = {part.name: part.size for part in found.parts}
    there = {entry.name: entry for entry in store.list(paths.data(found.run))}
    sizes = {name: entry.size for name, entry in there.items()}
    if not 0 < len(named) == len(found.parts) or 0 in named.values() or not named.items() <= sizes.items():
        raise Damaged(f"the manifest of step {found.step} names no parts, or parts that {store.uri} does not have")
    view = buffer.view(found.size)[: found.size]
    starts = [sum(part.size for part in found.parts[:index]) for index in range(len(found.parts))]
    with ThreadPoolExecutor(STREAMS, thread_name_prefix="restore") as pool:
        views = [view[start : start + part.size] for start, part in zip(starts, found.parts, strict=True)]
        # A copied folder has other generations and the same content: the checksum decides.
        present = [there[part.name].generation for part in found.parts]
        list(pool.map(partial(_read_part, store), found.parts, present, views))
    return serialize.parse(view)


def _read_part(store: Store, part: Part, generation: int, view: memoryview) -> None:
    for _ in range(READS):
        try:
            store.read_into(part.name, view, generation=generation)
        except NotFound as error:
            raise Damaged(str(error)) from error
        if (checksum := crc32c(view)) == part.crc32c:
            return
    raise Damaged(f"{store.uri}/{part.name} has CRC32C {checksum:08x}, written as {part.crc32c:08x}")


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
