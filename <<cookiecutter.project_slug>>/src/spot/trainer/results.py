"""Write the results: model, metrics, and last `completion.json`, which makes the run complete."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from spot.core.clock import Clock
from spot.storage import paths
from spot.storage.base import ABSENT, Conflict, NotFound, Store, Written
from spot.storage.checksum import crc32c
from spot.storage.records import completion
from spot.storage.records.manifest import Json
from spot.trainer.runtime.errors import TrainingError

if TYPE_CHECKING:
    from torch import Tensor

PROBE = ".writable"


def check_writable(store: Store, run: str) -> None:
    """Raise `PermissionDenied` before training if results could not be written after it."""
    name = paths.output(run, PROBE)
    with contextlib.suppress(Conflict):  # left by a start that was killed here
        store.write(name, b"", if_generation=ABSENT)
    store.delete(name)


def write_results(
    store: Store,
    run: str,
    weights: Mapping[str, Tensor],
    metrics: Mapping[str, Json],
    facts: Mapping[str, Json],
    *,
    clock: Clock,
    ended: float,
    check_lease: Callable[[], None] | None,
) -> None:
    """Write the results once. Results of an earlier completion may be in use and are kept.

    A repetition after a kill at any point gives the same objects. `metrics` depends on the training alone, `facts`
    also on this process. `ended` is when training ended, by the monotonic clock. `check_lease` raises if another
    process holds the lease; None without checkpoints.
    """
    from safetensors.torch import save  # loads torch, which the checks before training do without

    if check_lease and completion.is_complete(store, run):
        return
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    model = _put(store, paths.output(run, paths.MODEL), save(contiguous), check_lease)
    scores = _put(store, paths.output(run, paths.METRICS), _json(metrics), check_lease)
    timed = {**facts, "tail_seconds": round(clock.monotonic() - ended, 3)}
    record = completion.encode(run, clock.now(), timed, {paths.MODEL: model, paths.METRICS: scores})
    name = paths.output(run, paths.COMPLETION)
    if check_lease:
        check_lease()
        _put(store, name, record, check_lease)
        return
    try:
        store.write(name, record, if_generation=ABSENT)
    except Conflict:
        raise TrainingError(f"another process completed run {run} during this training; use another --run") from None


def _put(store: Store, name: str, data: bytes, check_lease: Callable[[], None] | None) -> Written:
    """Create the object, or overwrite what an unfinished start left.

    Keep an equal object: a completion record that is still on its way may name its generation. Check the lease between
    the read and the write that depends on it, so that a new holder writes last.
    """
    generation = ABSENT
    while True:
        try:
            return store.write(name, data, if_generation=generation)
        except Conflict:
            try:
                found = store.read(name)
            except NotFound:
                generation = ABSENT
            else:
                if found.data == data:
                    return Written(generation=found.generation, size=len(data), crc32c=crc32c(data))
                generation = found.generation
            if check_lease:
                check_lease()


def _json(values: Mapping[str, Json]) -> bytes:
    return json.dumps(values, indent=1, sort_keys=True).encode()
