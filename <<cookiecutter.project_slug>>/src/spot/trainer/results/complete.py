"""Complete a run: write the files of its model, its metrics and its completion record."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from spot.core.evaluation import Evaluation
from spot.storage.records import codec
from spot.storage.records.manifest import Json
from spot.trainer.context import Start
from spot.trainer.results.write import write_results
from spot.trainer.state import TrainingState, finite

_log = logging.getLogger(__name__)


def complete(
    start: Start,
    state: TrainingState,
    folder: Path,
    evaluation: Evaluation | None,
    *,
    config: Mapping[str, Json],
    samples_digest: Sequence[str],
    ended: float,
    check_lease: Callable[[], None],
) -> None:
    """Write the results of a finished training. `ended` is when it ended, by the monotonic clock."""
    flags, counters = start.flags, state.counters
    first = state.metrics[0].name if state.metrics else None
    metrics: dict[str, Json] = {
        "steps": state.step,
        "total_steps": state.total_steps,
        "metric": first,
        "shipped": finite(state.shipped),
        "best": {"step": counters.best_step, first: counters.best} if first else {},
        "samples_digest": samples_digest,
        "history": [finite(entry) for entry in counters.history],
    }
    if counters.reseeded_at:
        metrics["reseeded_at"] = [*counters.reseeded_at]
    facts: dict[str, Json] = {
        "attempt": flags.attempt,
        "commit": os.environ.get("TRAINER_COMMIT", "unknown"),
        "compute_seconds": round(state.compute_seconds, 3),
        "config": config,
    }
    write_results(
        start.outputs,
        flags.run,
        folder,
        metrics,
        facts,
        codec.encode(evaluation) if evaluation else None,
        clock=start.runtime.clock,
        ended=ended,
        check_lease=check_lease if start.saving else None,
    )
    start.done = True
    if first and first not in state.shipped:
        _log.warning("step %d was not evaluated: evaluate once more when session.finished", state.step)
    _log.info(
        "run %s is complete: %s after %d steps, %s/%s",
        flags.run,
        f"{first} {state.shipped[first]:.4f}" if first in state.shipped else "no metric",
        state.step,
        start.outputs.uri,
        flags.run,
    )
