"""The results: model, metrics, and last of all `completion.json`, which makes the run complete."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from safetensors.torch import save
from torch import Tensor

from spot.storage import paths
from spot.storage.base import ABSENT, Conflict, NotFound, Store, Written
from spot.storage.checksum import crc32c
from spot.storage.records.manifest import Json
from spot.trainer.runtime.errors import TrainingError

PROBE = ".writable"


def read_completion(store: Store, run: str) -> dict[str, Json] | None:
    """What completed the run, None if it is not complete."""
    try:
        completion: dict[str, Json] = json.loads(store.read(paths.output(run, paths.COMPLETION)).data)
    except NotFound:
        return None
    return completion


def check_writable(store: Store, run: str) -> None:
    """Raise `PermissionDenied` now, and not after hours of training, if results could not be written."""
    name = paths.output(run, PROBE)
    with contextlib.suppress(Conflict):  # a start that was killed here left it
        store.write(name, b"", if_generation=ABSENT)
    store.delete(name)


def write_results(
    store: Store,
    run: str,
    weights: Mapping[str, Tensor],
    metrics: Mapping[str, Json],
    facts: Mapping[str, Json],
    *,
    check_lease: Callable[[], None] | None,
) -> None:
    """Write the results, unless another start has: those may be in use by now, and stay as they are.

    Doing so again, after a kill at any point, gives the same objects. `metrics` depends on the training alone, not on
    interruptions; `facts` tells of this process. `check_lease` raises if another process has taken over; None: there is
    no lease.
    """
    if check_lease and read_completion(store, run) is not None:
        return
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    model = _put(store, paths.output(run, paths.MODEL), save(contiguous), check_lease)
    scores = _put(store, paths.output(run, paths.METRICS), _json(metrics), check_lease)
    completion = {
        "format": 1,
        "run": run,
        "time": datetime.now(UTC).isoformat(),
        **facts,
        "objects": {
            name: {"generation": written.generation, "size": written.size, "crc32c": written.crc32c}
            for name, written in ((paths.MODEL, model), (paths.METRICS, scores))
        },
    }
    name = paths.output(run, paths.COMPLETION)
    if check_lease:
        check_lease()
        _put(store, name, _json(completion), check_lease)
        return
    try:
        store.write(name, _json(completion), if_generation=ABSENT)
    except Conflict:
        raise TrainingError(f"another process completed run {run} while this one trained it") from None


def _put(store: Store, name: str, data: bytes, check_lease: Callable[[], None] | None) -> Written:
    """Create the object; take the place of one that a start left which did not get to the end.

    One that is the same stays: a completion that its writer has sent and that lands only now names that generation.
    The lease is looked at between the read and the write that rests on it: whoever takes the lease writes after that.
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
