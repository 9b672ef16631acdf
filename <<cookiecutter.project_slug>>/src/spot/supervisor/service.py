"""Carry out the verbs on runs: one function per verb, plain values in, one frozen result out.

The command line and the workflows call these functions and render their results.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from spot.config.settings import Settings
from spot.core.clock import Clock
from spot.core.errors import Exit, SpotError, TemporarilyUnavailable
from spot.core.history import CancelRequest
from spot.core.run import Observation, Run, RunState
from spot.google import cloud_run, console_urls
from spot.google.vertex import VertexJobs
from spot.promotion import settle
from spot.promotion.mirror import mirror
from spot.storage.base import Conflict, Store
from spot.storage.factory import open_store
from spot.storage.records import champion, dataset
from spot.storage.records.champion import Champion
from spot.storage.records.ledger import READERS, Ledger
from spot.storage.records.reconciles import Home, Reconciles
from spot.supervisor import data_checks, pinned
from spot.supervisor.data_checks import FoundData
from spot.supervisor.reconcile import RunResult, Supervisor, ended
from spot.supervisor.submit import SubmitError, SubmitPlan
from spot.supervisor.training_status import GIVE_UP_S, BucketStatus, TrainingStatus, succeeded

if TYPE_CHECKING:
    from spot.trainer.results.consolidate import Consolidated

WRITE_TRIES = 5

Publish = Callable[[Run, Observation, Store, Store, datetime], object]
"""Publishes the reports of a closed run, given the stores of the ledger and of the models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsResult:
    runs: tuple[RunResult, ...]
    mirror_problem: str | None = None
    """Why the champion is not shown elsewhere, as the settings ask for."""

    @property
    def exit_code(self) -> Exit:
        """Return FAILED for a failed or cancelled run or an alarm, USAGE if a person must act, AGAIN if one is open."""
        states = {one.run.state for one in self.runs if one.run}
        if states & {RunState.FAILED, RunState.CANCELLED} or any(one.alarms for one in self.runs):
            return Exit.FAILED
        if any(one.needs_operator for one in self.runs):
            return Exit.USAGE
        return Exit.AGAIN if RunState.OPEN in states or any(one.problem for one in self.runs) else Exit.DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitResult:
    plan: SubmitPlan
    reconciled: RunResult

    @property
    def exit_code(self) -> Exit:
        """Return DONE for an open run: the next reconcile continues it."""
        code = RunsResult(runs=(replace(self.reconciled, alarms=()),)).exit_code
        return Exit.DONE if code is Exit.AGAIN else code


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLinks:
    """Hold where the log of an attempt is, and the command that follows it; None before there is a job."""

    run: str
    attempt: str | None
    logs: str | None = None
    console: str | None = None
    follow: str | None = None
    may_appear: bool = False
    """Whether the attempt may still get a job."""

    @property
    def exit_code(self) -> Exit:
        """Return AGAIN while there is no job yet, USAGE if there never will be one."""
        return Exit.DONE if self.logs else (Exit.AGAIN if self.may_appear else Exit.USAGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsResult:
    """Hold the succeeded runs with what they measured, and the champion."""

    runs: tuple[RunResult, ...]
    champion: Champion
    skipped: tuple[str, ...]
    """Why other runs cannot be read."""


def ledger_of(settings: Settings) -> Ledger:
    return Ledger(open_store(settings.root, give_up_s=GIVE_UP_S))


def models_of(settings: Settings) -> Store:
    return open_store(f"{settings.root}/models", give_up_s=GIVE_UP_S)


def status_reader(settings: Settings) -> BucketStatus:
    return BucketStatus(settings.root)


def supervisor_of(settings: Settings, clock: Clock, publish: Publish, home: Home = Home.LOCAL) -> Supervisor:
    """Return the supervisor of the project. `publish` keeps the report of each run that is closed."""
    ledger, models = ledger_of(settings), models_of(settings)
    return Supervisor(
        ledger=ledger,
        jobs=VertexJobs(give_up_s=GIVE_UP_S),
        status=status_reader(settings),
        clock=clock,
        home=home,
        publish=lambda run, seen, now: publish(run, seen, ledger.store, models, now),
        settle=lambda run, now: settle.settle(ledger.store, models, run.id, settings.gate, now),
        mirror=lambda: mirror(ledger.store, settings),
        check=lambda run: pinned.check(run, settings),
        job=settings.cloud.supervisor_job,
    )


def submit(supervisor: Supervisor, plan: SubmitPlan) -> SubmitResult:
    """Record the planned run and reconcile it once. Raises `SpotError` if it could not be recorded."""
    run_id = plan.run.id
    try:
        if plan.data:
            dataset.write(supervisor.ledger.store, plan.data.dataset)
        supervisor.ledger.create(plan.run)
    except TemporarilyUnavailable as error:
        raise TemporarilyUnavailable(
            f"{error}; whether run {run_id} was recorded is unknown",
            fix=f"submit again with --run {run_id}, which cannot start a second run",
        ) from error
    finally:
        cloud_run.switch(supervisor.job, on=True)
    return SubmitResult(plan=plan, reconciled=_reconciled(supervisor, [run_id])[0])


def reconcile(supervisor: Supervisor, run_id: str | None = None) -> RunsResult:
    """Advance every open run, or one. Raises `SpotError` if the runs cannot be listed or found."""
    found = _reconciled(supervisor, watched(supervisor.ledger, run_id))
    return RunsResult(runs=found, mirror_problem=supervisor.mirror())


def watched(ledger: Ledger, run_id: str | None) -> Sequence[str]:
    """Return the id of one run, or of every open run. Raises `SpotError` if it cannot be found."""
    return ledger.open_ids() if run_id is None else [ledger.find(run_id).run.id]


def watch(supervisor: Supervisor, run_ids: Sequence[str], before: RunsResult | None) -> RunsResult:
    """Advance the runs that had not ended `before`, and keep the results of the ended runs."""
    closed = {one.run_id: one for one in before.runs if not one.is_open} if before else {}
    still_open = _reconciled(supervisor, [run_id for run_id in run_ids if run_id not in closed])
    found = closed | {one.run_id: one for one in still_open}
    return RunsResult(runs=tuple(found[run_id] for run_id in run_ids), mirror_problem=supervisor.mirror())


def status(ledger: Ledger, reader: TrainingStatus, known: Reconciles, run_id: str | None) -> RunsResult:
    """Return how the open runs stand, or one run, with the last of the `known` reconciles. Changes nothing."""
    if run_id is not None:
        found = [RunResult(run_id=run_id, run=ledger.find(run_id).run)]
    else:
        found = [_found(ledger, RunResult(run_id=one)) for one in ledger.open_ids()]
    return RunsResult(runs=tuple(replace(_seen(one, reader), reconciled=known.runs.get(one.run_id)) for one in found))


def cancel(supervisor: Supervisor, run_id: str, by: str) -> RunsResult:
    """Record that `by` wants the run to end, and reconcile it. Repeating it changes nothing."""
    if (run := _request_cancel(supervisor, run_id, by)).state is not RunState.OPEN:
        return RunsResult(runs=(RunResult(run_id=run_id, run=run, waiting_for=ended(run)),))
    return RunsResult(runs=_reconciled(supervisor, [run_id]))


def logs(ledger: Ledger, run_id: str, attempt_id: str | None = None) -> LogLinks:
    """Return where the log of an attempt is; without an id, of the newest attempt with a job."""
    run = ledger.find(run_id).run
    attempts = [attempt for attempt in run.attempts if attempt_id in {None, attempt.id}]
    if attempt_id and not attempts:
        known = ", ".join(attempt.id for attempt in run.attempts) or "no attempts yet"
        raise SubmitError(f"run {run.id} has no attempt {attempt_id}: it has {known}")
    newest = next((attempt for attempt in reversed(attempts) if attempt.job), None)
    if newest is None or newest.job is None:
        is_active = not attempt_id or attempts[-1] in run.active_attempts
        return LogLinks(run=run.id, attempt=attempt_id, may_appear=run.state is RunState.OPEN and is_active)
    return LogLinks(
        run=run.id,
        attempt=newest.id,
        logs=console_urls.logs(newest.job),
        console=console_urls.console(newest.job),
        follow=console_urls.follow(newest.job, run.spec.project),
    )


def export(settings: Settings, run_id: str, step: int | None, folder: Path) -> "Consolidated":
    """Write the newest checkpoint of a run, or that of `step`, as one folder of safetensors files."""
    try:
        from spot.trainer.results.consolidate import consolidate
    except ImportError as error:
        raise SpotError(f"an export needs PyTorch ({error})", fix="pip install '.[train]'") from error
    run = ledger_of(settings).find(run_id).run
    return consolidate(open_store(f"{settings.root}/checkpoints", give_up_s=GIVE_UP_S), run.id, step, folder)


def data(settings: Settings, now: datetime) -> FoundData | None:
    """Return the data that a submit would pin now, with those of the last run; None for the sample in the image."""
    found = data_checks.find(settings)
    return found and data_checks.compared(found, settings.root, succeeded(ledger_of(settings), now))


def current_champion(settings: Settings) -> Champion:
    return champion.read(ledger_of(settings).store)[0]


def promote(settings: Settings, run_id: str, now: datetime, *, by: str, reason: str) -> Champion:
    """Put the model of a succeeded run in use. Raises `SpotError` for a run without a model."""
    ledger = ledger_of(settings)
    if (state := ledger.find(run_id).run.state) is not RunState.SUCCEEDED:
        raise settle.PromotionError(f"run {run_id} is {state}: only the model of a succeeded run is promoted")
    found = settle.promote(ledger.store, models_of(settings), run_id, now, by=by, reason=reason)
    mirror(ledger.store, settings)
    return found


def rollback(settings: Settings, to: str | None, now: datetime, *, by: str, reason: str) -> Champion:
    """Put the previous champion, or an earlier one, in use again. Raises `SpotError` if its model is gone."""
    store = ledger_of(settings).store
    found = settle.rollback(store, models_of(settings), now, by=by, reason=reason, to=to)
    mirror(store, settings)
    return found


def models(settings: Settings, since: datetime, now: datetime) -> ModelsResult:
    """Return the succeeded runs submitted since then, newest first."""
    ledger, reader = ledger_of(settings), status_reader(settings)
    closed, skipped = ledger.submitted_since(since, now)
    succeeded = [run for run in reversed(closed) if run.state is RunState.SUCCEEDED]
    with ThreadPoolExecutor(READERS) as pool:
        seen = pool.map(lambda run: _seen(RunResult(run_id=run.id, run=run), reader), succeeded)
    return ModelsResult(runs=tuple(seen), champion=champion.read(ledger.store)[0], skipped=tuple(skipped))


def _request_cancel(supervisor: Supervisor, run_id: str, by: str) -> Run:
    for _ in range(WRITE_TRIES):
        record = supervisor.ledger.find(run_id)
        if record.run.state is not RunState.OPEN or record.run.cancel_request:
            return record.run
        request = CancelRequest(at=supervisor.clock.now(), by=by)
        try:
            return supervisor.ledger.write(record, replace(record.run, cancel_request=request)).run
        except Conflict:  # a supervisor wrote in between
            continue
    raise SubmitError(f"run {run_id} was not cancelled: its record changed {WRITE_TRIES} times", exit_code=Exit.AGAIN)


def _reconciled(supervisor: Supervisor, run_ids: Sequence[str]) -> tuple[RunResult, ...]:
    results = tuple(_found(supervisor.ledger, one) for one in supervisor.reconcile(run_ids))
    is_open, is_backup = any(one.is_open for one in results), supervisor.home is Home.GITHUB
    cloud_run.follow(supervisor.job, supervisor.ledger.open_ids, is_open=is_open, is_backup=is_backup)
    return results


def _found(ledger: Ledger, result: RunResult) -> RunResult:
    """Return `result` with its run, which another supervisor may have filed meanwhile."""
    if result.run is not None or result.problem:
        return result
    try:
        run = ledger.find(result.run_id).run
    except SpotError as error:
        return result.failed(error)
    return replace(result, run=run, waiting_for=ended(run) if run.state is not RunState.OPEN else result.waiting_for)


def _seen(result: RunResult, reader: TrainingStatus) -> RunResult:
    if result.run is None:
        return result
    try:
        return replace(result, seen=reader.observe(result.run))
    except SpotError as error:
        return result.failed(error)
