"""Read and encode `evaluation.json`, which the trainer writes before the completion record that names it."""

import logging

from spot.core.evaluation import Evaluation, Measurement
from spot.storage import paths
from spot.storage.base import Damaged, NewerFormat, NotFound, Store
from spot.storage.records import codec
from spot.storage.records.completion import Completion

FIX = "spot promote decides without it"
ROUNDING = 1e-6
"""Relative error of sums that a device adds up in its own order."""

_log = logging.getLogger(__name__)


def read(models: Store, complete: Completion) -> Evaluation | None:
    """Return the evaluation that a completion names, None if it names none. Raises `Damaged` or `NewerFormat`."""
    pinned = complete.objects.get(paths.EVALUATION)
    if pinned is None:
        return None
    name = paths.output(complete.run, paths.EVALUATION)
    where = f"{models.uri}/{name}"
    try:
        evaluation, generation = codec.read(Evaluation, models, name, "an evaluation", FIX)
    except NotFound as error:
        raise Damaged(f"{where} does not exist any more: {FIX}") from error
    if generation != pinned.generation:
        raise Damaged(f"{where} was overwritten after the run was complete: {FIX}")
    if reason := _contradiction(evaluation, complete.run):
        raise Damaged(f"{where} contradicts itself ({reason}): {FIX}")
    return evaluation


def find(models: Store, complete: Completion) -> Evaluation | None:
    """Return the evaluation that a completion names; none if it cannot be read."""
    try:
        return read(models, complete)
    except (Damaged, NewerFormat) as error:
        _log.warning("%s", error)
        return None


def _contradiction(found: Evaluation, run: str) -> str | None:
    if found.run != run:
        return f"it is of run {found.run}"
    if not found.measurements or found.judged.slice:
        return "its first measurement is not of all samples"
    if found.champion is None and any(one.paired for one in found.measurements):
        return "it compares with no champion"
    wrong = next((one for one in found.measurements if not _is_possible(one)), None)
    return f"no samples give these sums of {wrong.metric}" if wrong else None


def _is_possible(found: Measurement) -> bool:
    """Return whether samples with these sums exist: a sum of squares depends on the mean and on the spread."""
    if found.paired is None or found.gain is None:
        return True
    mean, spread, squares = abs(found.gain), found.paired.spread, found.paired.squares / found.samples
    more = 1 + ROUNDING
    return mean <= spread * more and mean**2 <= squares * more and squares <= spread**2 * more
