"""The results: model, metrics, and last of all `completion.json`, which makes the run complete."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime

from safetensors.torch import save
from torch import Tensor

from bucket import layout
from bucket.manifest import Json
from bucket.store import ABSENT, Conflict, NotFound, Store, Written
from trainer.errors import TrainingError

PROBE = ".writable"


def read_completion(store: Store, run: str) -> dict[str, Json] | None:
    """What completed the run, None if it is not complete."""
    try:
        completion: dict[str, Json] = json.loads(store.read(layout.output(run, layout.COMPLETION)).data)
    except NotFound:
        return None
    return completion


def check_writable(store: Store, run: str) -> None:
    """Raise `Denied` now, and not after hours of training, if results could not be written."""
    name = layout.output(run, PROBE)
    with contextlib.suppress(Conflict):  # a start that was killed here left it
        store.write(name, b"", if_generation=ABSENT)
    store.delete(name)


def write_results(
    store: Store,
    run: str,
    weights: Mapping[str, Tensor],
    metrics: Mapping[str, Json],
    facts: Mapping[str, Json],
) -> None:
    """Write the results. Doing so again, after a kill at any point, gives the same objects.

    `metrics` depends on the training alone, not on interruptions; `facts` tells of this process.
    """
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    model = _put(store, layout.output(run, layout.MODEL), save(contiguous))
    scores = _put(store, layout.output(run, layout.METRICS), _json(metrics))
    completion = {
        "format": 1,
        "run": run,
        "time": datetime.now(UTC).isoformat(),
        **facts,
        "objects": {
            name: {"generation": written.generation, "size": written.size, "crc32c": written.crc32c}
            for name, written in ((layout.MODEL, model), (layout.METRICS, scores))
        },
    }
    try:
        store.write(layout.output(run, layout.COMPLETION), _json(completion), if_generation=ABSENT)
    except Conflict:
        raise TrainingError(f"another process completed run {run} while this one trained it") from None


def _put(store: Store, name: str, data: bytes) -> Written:
    """Create the object; take the place of one that a start left which did not get to the end."""
    generation = ABSENT
    while True:
        try:
            return store.write(name, data, if_generation=generation)
        except Conflict:
            try:
                generation = store.read(name).generation
            except NotFound:
                generation = ABSENT


def _json(values: Mapping[str, Json]) -> bytes:
    return json.dumps(values, indent=1, sort_keys=True).encode()
