"""Write the results: the files of the model, metrics, and last `completion.json`, which makes the run complete."""

import contextlib
import hashlib
import json
import mmap
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from spot.core.clock import Clock
from spot.storage import paths
from spot.storage.base import ABSENT, Conflict, NotFound, Store, Written
from spot.storage.checksum import crc32c
from spot.storage.fetch import fetch
from spot.storage.records import codec, completion
from spot.storage.records.completion import Completion
from spot.storage.records.manifest import Json
from spot.trainer.runtime.errors import TrainingError

PROBE = ".writable"

CheckLease = Callable[[], None]
"""Raises if another process holds the lease."""


def check_writable(store: Store, run: str) -> None:
    """Raise `PermissionDenied` before training if results could not be written after it."""
    name = paths.output(run, PROBE)
    with contextlib.suppress(Conflict):  # left by a start that was killed here
        store.write(name, b"", if_generation=ABSENT)
    store.delete(name)


def write_results(
    store: Store,
    run: str,
    folder: Path,
    metrics: Mapping[str, Json],
    facts: Mapping[str, Json],
    evaluation: bytes | None = None,
    *,
    clock: Clock,
    ended: float,
    check_lease: CheckLease | None,
) -> None:
    """Write every file of `folder` as the model, once. Results of an earlier completion may be in use and are kept.

    A repetition after a kill at any point gives the same objects. `metrics` and `evaluation` depend on the training
    alone, the `facts` of the completion also on this process. `ended` is when training ended, by the monotonic clock.
    `check_lease` is None without checkpoints.
    """
    if check_lease and completion.find(store, run):
        return
    files = {
        f"{paths.MODEL_FOLDER}{path.relative_to(folder).as_posix()}": path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    if not files:
        raise TrainingError(f"run {run} exported no file: write the model into the folder of session.export()")
    for entry in store.list(paths.output(run, paths.MODEL_FOLDER)):
        if entry.name.removeprefix(paths.output(run, "")) not in files:  # left by an unfinished start
            if check_lease:
                check_lease()
            store.delete(entry.name)
    objects = {name: _put(store, paths.output(run, name), _mapped(path), check_lease) for name, path in files.items()}
    reports = {paths.METRICS: json.dumps(metrics, indent=1, sort_keys=True).encode()}
    reports |= {paths.EVALUATION: evaluation} if evaluation else {}
    for name, data in reports.items():
        objects[name] = _put(store, paths.output(run, name), data, check_lease)
    tail_s = round(clock.monotonic() - ended, 3)
    record = codec.encode(Completion(run=run, time=clock.now(), objects=objects, tail_seconds=tail_s, **facts))
    name = paths.output(run, paths.COMPLETION)
    if check_lease:
        check_lease()
        _put(store, name, record, check_lease)
        return
    try:
        store.write(name, record, if_generation=ABSENT)
    except Conflict:
        raise TrainingError(f"another process completed run {run} during this training; use another --run") from None


def _put(store: Store, name: str, data: bytes | memoryview, check_lease: CheckLease | None) -> Written:
    """Create the object, or overwrite what an unfinished start left, and add its SHA-256.

    Keep an equal object: a completion record that is still on its way may name its generation. Check the lease between
    the read and the write that depends on it, so that a new holder writes last.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    while True:
        found = next((entry for entry in store.list(name) if entry.name == name), None)
        try:
            if found and found.size == len(data):
                checksum = found.crc32c
                if checksum is None:  # of a local store
                    with tempfile.TemporaryFile() as file:
                        checksum = fetch(store, name, found.size, found.generation, file)
                if checksum == crc32c(data):
                    return Written(generation=found.generation, size=found.size, crc32c=checksum, sha256=sha256)
            if found and check_lease:
                check_lease()
            written = store.write(name, data, if_generation=found.generation if found else ABSENT)
            return replace(written, sha256=sha256)
        except (Conflict, NotFound):  # another process wrote or deleted it since the listing
            continue


def _mapped(path: Path) -> memoryview:
    """Return the content of a file without reading it: the system loads and drops pages as they are used."""
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b"")
