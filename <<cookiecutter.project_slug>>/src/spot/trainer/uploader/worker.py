"""Upload checkpoints from shared memory while training continues.

Runs as a process because a thread would compete with the training loop for the interpreter. Loads no torch, ignores
the signals that end the trainer, and dies with the trainer.
"""

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from spot.core.errors import PermissionDenied, SpotError, TemporarilyUnavailable
from spot.storage import paths
from spot.storage.base import ABSENT, GIVE_UP_S, Cancelled, Conflict, Damaged, NotFound, Store
from spot.storage.factory import open_store
from spot.storage.paths import Commit, Upload
from spot.storage.records import codec, lease, manifest
from spot.storage.records.manifest import Manifest, Part, Shard
from spot.trainer.runtime.log import configure
from spot.trainer.runtime.signals import die_with, leave_signals_to_the_parent
from spot.trainer.uploader.buffer import SharedBuffer
from spot.trainer.uploader.lease_keeper import LeaseKeeper
from spot.trainer.uploader.messages import (
    Command,
    Durable,
    Event,
    Failed,
    Fault,
    KeepLease,
    Mirror,
    Mirrored,
    OfferLease,
    Released,
    Save,
    Withdraw,
)

PART_SIZE = 32 << 20
"""The target; `part_size` chooses the size."""
SMALLEST_PART = 4 << 20
STREAMS = 8
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 1.0
"""Between two looks for the records of other ranks."""
NICENESS = 5

_log = logging.getLogger(__name__)


class _Job:
    """Track one save. Its manifest is committed unless the save was withdrawn while it read the buffer."""

    def __init__(self, order: Save) -> None:
        self.order = order
        self._lock = threading.Lock()
        self._withdrawn = False
        self._past_reading = False

    def withdrawn(self) -> bool:
        return self._withdrawn

    def withdraw(self) -> None:
        with self._lock:
            self._withdrawn = not self._past_reading

    def finish_reading(self) -> None:
        """Release the buffer; from here on the save is committed. Raise `Cancelled` if it was withdrawn."""
        with self._lock:
            if self._withdrawn:
                raise Cancelled
            self._past_reading = True


class Worker:
    """Execute the trainer's commands, with one thread per save and `STREAMS` threads for its parts."""

    def __init__(self, store: Store, buffer: SharedBuffer, channel: "Connection[Event, Command]", keep: int) -> None:
        self._store = store
        self._buffer = buffer
        self._channel = channel
        self._keep = keep
        self._sending = threading.Lock()
        self._pruning = threading.Lock()
        self._job: _Job | None = None
        self._lease_keeper: LeaseKeeper | None = None
        self._copying = threading.Lock()
        self._mirrored: dict[str, int] = {}

    def serve(self) -> None:
        """Execute commands until the trainer closes its end."""
        while True:
            match command := self._channel.recv():
                case Save():
                    self._job = _Job(command)
                    self._start(self._save, self._job)
                case Withdraw():
                    if self._job and self._job.order.save == command.save:
                        self._job.withdraw()
                        self._job = None  # no longer waits for other ranks
                    self._send(Released(save=command.save))
                case Mirror():
                    self._start(self._mirror, command)
                case KeepLease() if not self._lease_keeper:
                    # A look that fails is made again soon; none may keep the next sign of life waiting.
                    store = open_store(self._store.uri, give_up_s=command.timing.heartbeat_s)
                    self._lease_keeper = LeaseKeeper(store, command)
                    self._start(self._lease_keeper.serve, self._send)
                case OfferLease() if self._lease_keeper:
                    self._lease_keeper.offer(command.successor)

    def _start(self, target: object, argument: object) -> None:
        threading.Thread(target=target, args=(argument,), daemon=True).start()  # type: ignore[arg-type]

    def _send(self, message: Event) -> None:
        with self._sending:
            self._channel.send(message)

    def _save(self, job: _Job) -> None:
        order, began = job.order, time.monotonic()
        step = order.manifest.step
        try:
            committed = self._commit(job)
        except Cancelled:
            _log.info("step %d: upload withdrawn for a newer one", step)
            return
        except Exception as error:  # the trainer must learn of every failure
            fault = _fault(error)
            if fault is Fault.BUG:
                _log.exception("the uploader failed")
            self._send(Failed(save=order.save, step=step, fault=fault, reason=str(error)))
            return
        self._send(Durable(save=order.save, step=step, seconds=time.monotonic() - began))
        if order.prune and not order.rank:
            with self._pruning:
                self._prune(committed)

    def _commit(self, job: _Job) -> Manifest:
        order, draft, size = job.order, job.order.manifest, job.order.size
        view, length = self._buffer.view(size), part_size(size)
        upload = Upload(
            run=draft.run,
            step=draft.step,
            token=draft.token,
            attempt=draft.attempt,
            start=draft.start,
            save=order.save,
            world=order.world,
        )
        pool = ThreadPoolExecutor(STREAMS, thread_name_prefix="part")
        try:
            starts = range(0, size, length)
            names = (upload.part(index, order.rank) for index in range(len(starts)))
            views = (view[start : min(start + length, size)] for start in starts)
            parts = tuple(pool.map(partial(self._write_part, job), names, views))
        except BaseException:
            job.withdraw()  # stops the remaining streams
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        job.finish_reading()
        if order.rank:
            self._store.write(upload.shard(order.rank), codec.encode(Shard(parts=parts)), if_generation=ABSENT)
            return draft
        complete = replace(draft, shards=(parts, *self._other_shards(job, upload)))
        with contextlib.suppress(Conflict):  # an earlier uploader committed this step and died
            self._store.write(complete.name, complete.to_json(), if_generation=ABSENT)
        return complete

    def _write_part(self, job: _Job, name: str, view: memoryview) -> Part:
        written = self._store.write(name, view, if_generation=ABSENT, cancelled=job.withdrawn)
        return Part(name=name, size=written.size, crc32c=written.crc32c, generation=written.generation)

    def _other_shards(self, job: _Job, upload: Upload) -> list[tuple[Part, ...]]:
        """Wait for the records of the other ranks. Raise `TemporarilyUnavailable` if one is missing for too long."""
        missing, end, pause = set(range(1, upload.world)), time.monotonic() + GIVE_UP_S, FIRST_PAUSE_S
        while True:
            there = {entry.name for entry in self._store.list(upload.shards)} if missing else set()
            missing = {rank for rank in missing if upload.shard(rank) not in there}
            if not missing:
                break
            if self._job is not job:
                raise Cancelled
            if time.monotonic() > end:
                raise TemporarilyUnavailable(f"rank {min(missing)} has not uploaded its part after {GIVE_UP_S:.0f} s")
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_S)
        with ThreadPoolExecutor(STREAMS, thread_name_prefix="shard") as pool:
            found = pool.map(partial(Shard.of, self._store, upload), range(1, upload.world))
            return [shard.parts for shard in found]

    def _prune(self, newest: Manifest) -> None:
        """Delete what retention does not keep: manifests first, then parts, including parts of torn uploads."""
        try:
            parts = self._store.list(paths.data(newest.run))
            listed = manifest.listed(self._store, newest.run)
            counting = manifest.committed_lineage(listed)
            known: dict[Commit, Manifest] = {}
            for commit in counting:
                with contextlib.suppress(Damaged):  # it must not block the deletion of other checkpoints
                    known[commit] = manifest.read(self._store, newest.run, commit)
            # Read after the listings: a later holder writes objects that are not listed.
            held = lease.read(self._store, newest.run)
            if held is None or held.holder != lease.process_name(newest.attempt, newest.start):
                return
            scores = {commit: found.score for commit, found in known.items()}
            for commit in (set(listed) - set(counting)) | set(expired(scores, self._keep)):
                self._store.delete(paths.manifest(newest.run, commit))
                known.pop(commit, None)
            kept = {part.name for found in known.values() for part in found.parts}
            for entry in parts:
                step = paths.step_of_data(entry.name)
                if entry.name not in kept and step is not None and step <= newest.step:
                    self._store.delete(entry.name)
        except SpotError as error:
            _log.warning("old checkpoints were not deleted, the next save tries again: %s", error)

    def _mirror(self, order: Mirror) -> None:
        try:
            with self._copying:
                data = Path(order.path).read_bytes()
                generation = self._mirrored.get(order.path, ABSENT)
                written = open_store(order.directory).write(order.name, data, if_generation=generation)
                self._mirrored[order.path] = written.generation
        except (SpotError, OSError, ValueError) as error:
            _log.warning("%s was not copied: %s", order.name, error)
        self._send(Mirrored(path=order.path))


def expired(scores: Mapping[Commit, float | None], keep: int) -> list[Commit]:
    """Return the checkpoints to delete, oldest first: all but the `keep` newest and the best by held-out score.

    `scores` maps each checkpoint to its score (higher is better), None before the first evaluation.
    """
    newest = sorted(scores)[-keep:]
    scored = {commit: score for commit, score in scores.items() if score is not None}
    best = max(scored, key=lambda commit: (scored[commit], -commit.step), default=None)
    return sorted(set(scores) - set(newest) - {best})


def part_size(size: int) -> int:
    """Return a size that makes the number of parts a multiple of the streams: each round takes equally long."""
    rounds = max(1, round(size / (STREAMS * PART_SIZE)))
    return max(SMALLEST_PART, -(-size // (rounds * STREAMS)))


def _fault(error: Exception) -> Fault:
    match error:
        case PermissionDenied():
            return Fault.DENIED
        case TemporarilyUnavailable() | Damaged() | NotFound() | Conflict():
            return Fault.TRANSIENT
        case _:
            return Fault.BUG


def main() -> None:
    """Run `python -m spot.trainer.uploader.worker BUFFER_FD CHANNEL_FD PARENT_PID KEEP STORE_URI`."""
    buffer_fd, channel_fd, parent, keep = (int(argument) for argument in sys.argv[1:5])
    leave_signals_to_the_parent()
    die_with(parent)
    configure(int(os.environ.get("RANK", "0")))  # the trainer has checked it
    channel: Connection[Event, Command] = Connection(channel_fd)
    store = open_store(sys.argv[5])
    os.nice(NICENESS)  # training has priority over uploads
    with contextlib.suppress(EOFError, OSError):  # the trainer has exited
        Worker(store, SharedBuffer(buffer_fd), channel, keep).serve()
    os._exit(0)  # without waiting for threads in a request


if __name__ == "__main__":
    main()
