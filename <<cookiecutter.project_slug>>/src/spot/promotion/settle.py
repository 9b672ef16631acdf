"""Change which model is in use: by the gate, by a person, or back.

Each function reads, decides and changes one object by compare-and-swap. So it may be repeated, also after a crash, and
race with any other.
"""

from dataclasses import replace
from datetime import datetime

from spot.config.settings import GateSettings
from spot.core.errors import Exit, SpotError
from spot.core.evaluation import Evaluation
from spot.core.fields import one_line
from spot.promotion.rule import GateDecision, GateVerdict, decide
from spot.storage import paths
from spot.storage.base import Conflict, Damaged, NewerFormat, Store
from spot.storage.records import champion, completion, evaluation
from spot.storage.records.champion import Champion, PromotedBy, Promotion
from spot.storage.records.completion import Completion


class PromotionError(SpotError):
    """Report a model that cannot be promoted."""


def settle(store: Store, models: Store, run: str, gate: GateSettings, now: datetime) -> GateDecision | None:
    """Promote the model of a succeeded run if the gate allows it, and return the decision.

    Return None if there is nothing to decide: the run measured nothing, and there is no champion. A run that was
    promoted before is not promoted again, least of all after a rollback.
    """
    while True:
        known, generation = champion.read(store)
        if past := known.promotion_of(run):
            return GateDecision(verdict=GateVerdict.PROMOTE, reason=past.reason)
        try:
            complete = _complete(models, run)
            found = evaluation.read(models, complete)
        except (Damaged, NewerFormat, PromotionError) as error:
            return GateDecision(verdict=GateVerdict.ASK, reason=one_line(error))
        decision = decide(found, gate, known.run)
        if decision is None or decision.verdict is not GateVerdict.PROMOTE:
            return decision
        new = _promotion(models, complete, found, at=now, how=PromotedBy.GATE, by="supervisor", reason=decision.reason)
        try:
            champion.write(store, known, generation, new)
        except Conflict:  # the comparison may be with another model than the champion now
            continue
        return decision


def promote(store: Store, models: Store, run: str, now: datetime, *, by: str, reason: str) -> Champion:
    """Put the model of a run in use because a person says so. Change nothing if it is in use."""
    complete = _complete(models, run)
    found = evaluation.find(models, complete)
    new = _promotion(models, complete, found, at=now, how=PromotedBy.PERSON, by=by, reason=reason)
    while True:
        known, generation = champion.read(store)
        if known.run == run:
            return known
        try:
            return champion.write(store, known, generation, new)
        except Conflict:
            continue


def rollback(store: Store, models: Store, now: datetime, *, by: str, reason: str, to: str | None = None) -> Champion:
    """Put an earlier model back in use after a check that its files are still there.

    Change nothing if the newest promotion is this rollback: a workflow may be run again. Raise `PromotionError`, also
    if the champion changed meanwhile, because the person saw another one.
    """
    known, generation = champion.read(store)
    target = known.promotion_of(to) if to else known.previous()
    newest = known.now and (known.now.how, known.now.by, known.now.reason)
    if known.now and (known.run == to or (to is None and newest == (PromotedBy.ROLLBACK, by, reason))):
        return known
    if target is None:
        missing = f"{to} was never the champion" if to else f"there was no champion before {known.run or 'the first'}"
        raise PromotionError(missing, fix="spot champion lists the promotions")
    _check_files(models, target)
    new = replace(target, at=now, how=PromotedBy.ROLLBACK, by=by, reason=reason)
    try:
        return champion.write(store, known, generation, new)
    except Conflict as error:
        raise PromotionError(
            f"the champion is no longer {known.run}: nothing was changed", fix="spot champion", exit_code=Exit.AGAIN
        ) from error


def _complete(models: Store, run: str) -> Completion:
    found = completion.read(models, run)
    if found is None:
        raise PromotionError(f"run {run} has no model: {models.uri}/{run} has no completion record")
    return found


def _promotion(
    models: Store,
    complete: Completion,
    found: Evaluation | None,
    *,
    at: datetime,
    how: PromotedBy,
    by: str,
    reason: str,
) -> Promotion:
    return Promotion(
        number=0,  # given by the write
        run=complete.run,
        at=at,
        how=how,
        by=by,
        reason=reason,
        score=found.judged.score if found else None,
        uri=f"{models.uri}/{complete.run}",
        model=complete.model,
    )


def _check_files(models: Store, target: Promotion) -> None:
    """Raise `PromotionError` unless every file exists in its generation, with its size and checksum."""
    there = {entry.name: entry for entry in models.list(f"{target.run}/{paths.MODEL_FOLDER}")}
    for name, pinned in target.model.items():
        entry = there.get(paths.output(target.run, name))
        found = entry and (entry.generation, entry.size, pinned.crc32c if entry.crc32c is None else entry.crc32c)
        if found != (pinned.generation, pinned.size, pinned.crc32c):
            raise PromotionError(
                f"{target.uri}/{name} does not exist any more as it was promoted: generation {pinned.generation},"
                f" {pinned.size} bytes, CRC32C {pinned.crc32c:08x}",
                fix="choose another run with --to; spot champion lists them",
            )
