"""Reconcile open runs: observe, decide, act, record. Idempotent, safe concurrently and after a crash.

- The intent is recorded before its call, by compare-and-swap: a supervisor that loses the race does nothing.
- A create without an answer is looked for by its labels. It is given up once no supervisor can still send it; a job
  that appears later is cancelled as a stray.
- A failed read changes nothing: the run waits for the next reconcile.
"""

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from spot.core.actions import Action, CancelAttempt, Close, GiveUp, Submit, Wait
from spot.core.clock import Clock
from spot.core.errors import Exit, PermissionDenied, SpotError, TemporarilyUnavailable
from spot.core.fields import one_line
from spot.core.history import Alarm, Cancel, Decision
from spot.core.run import Attempt, Observation, Outcome, Run, RunState
from spot.google.cloud_run import SupervisorJob
from spot.google.vertex import JobClient, RequestRejected
from spot.policy import termination
from spot.policy.alarms import new_alarms
from spot.policy.decide import decide
from spot.policy.slack import SETTLE
from spot.promotion.rule import GateDecision, recorded
from spot.storage.base import Conflict
from spot.storage.records import reconciles
from spot.storage.records.ledger import Ledger, Record, UnknownRun
from spot.storage.records.reconciles import Home, Reconcile
from spot.supervisor import observe
from spot.supervisor.classify import classify_refusal
from spot.supervisor.error_texts import grant
from spot.supervisor.training_status import TrainingStatus

CREATE_WITHIN = timedelta(minutes=2)
"""An intent older than this is no longer sent by the supervisor that recorded it."""
MOST_TURNS = 100  # more mean that the policy and the cloud chase each other
SETTLE_EVERY_S = 5.0  # between two looks at an attempt that is ending, see `SETTLE`

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    run_id: str
    run: Run | None = None
    """The record afterwards; None if it could not be read."""
    seen: Observation | None = None
    actions: tuple[Decision, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    """What this reconcile recorded as broken."""
    reconciled: Reconcile | None = None
    """The reconcile before."""
    waiting_for: str = ""
    """Why the reconcile did no more."""
    problem: str | None = None
    """The error that stopped it, if any."""
    needs_operator: bool = False
    """Whether the problem lasts until a person acts."""

    @property
    def is_open(self) -> bool:
        """Return whether the run is open, as far as is known."""
        return self.run is None or self.run.state is RunState.OPEN

    def failed(self, error: SpotError) -> "RunResult":
        return replace(self, problem=one_line(error), needs_operator=error.exit_code is Exit.USAGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervisor:
    """Hold everything that a reconcile works with. No state survives between two of them."""

    ledger: Ledger
    jobs: JobClient
    status: TrainingStatus
    clock: Clock
    home: Home = Home.LOCAL
    publish: Callable[[Run, Observation, datetime], object] = lambda run, seen, now: None  # noqa: ARG005
    """Publish the report of a closed run; idempotent. Called before the run is filed, so that no crash skips it."""
    settle: Callable[[Run, datetime], GateDecision | None] = lambda run, now: None  # noqa: ARG005
    """Promote the model of a succeeded run if the gate allows it; idempotent. None if there is nothing to decide."""
    mirror: Callable[[], str | None] = lambda: None
    """Show the champion elsewhere; return why that failed. Idempotent."""
    check: Callable[[Run], object] = lambda run: None  # noqa: ARG005
    """Raise `SpotError` for a run that the settings do not allow, before any request for it."""
    job: SupervisorJob | None = None

    def reconcile(self, run_ids: Sequence[str] | None = None) -> list[RunResult]:
        """Advance these runs, or every open run. Raises `SpotError` if they cannot be listed."""
        run_ids = self.ledger.open_ids() if run_ids is None else run_ids
        before = reconciles.read(self.ledger.store).runs if run_ids else {}
        results = [self.reconcile_run(run_id, before.get(run_id)) for run_id in run_ids]
        if open_ids := [one.run_id for one in results if one.is_open]:
            reconciles.write(self.ledger.store, open_ids, self.clock.now(), self.home)
        return results

    def reconcile_run(self, run_id: str, before: Reconcile | None = None) -> RunResult:
        return _RunReconcile(self, run_id, before).run()


class _RunReconcile:
    def __init__(self, supervisor: Supervisor, run_id: str, before: Reconcile | None) -> None:
        self._to = supervisor
        self._id = run_id
        self._before = before
        self._began = supervisor.clock.now()
        self._record: Record | None = None
        self._seen: Observation | None = None
        self._known = 0
        """The decisions of earlier reconciles."""
        self._alarms: list[Alarm] = []

    def run(self) -> RunResult:
        try:
            result = self._result(self._advance())
            error = _needs_operator(result.run) if result.run and result.is_open else None
            return result.failed(error) if error else result
        except Conflict:
            return replace(self._result("another supervisor is reconciling it"), run=None)  # the record has changed
        except UnknownRun:  # filed since it was listed
            return self._result("another supervisor filed it")
        except SpotError as error:
            record = self._record
            if record and record.run.state is RunState.OPEN and error.exit_code is not Exit.USAGE:
                with contextlib.suppress(SpotError):
                    self._write(record, self._alarmed(record.run, None))
            result = self._result("a successful read").failed(error)
            _log.warning("%s: %s", self._id, result.problem)
            return result
        except Exception as error:  # no run may stop the supervision of the others
            _log.exception("%s", self._id)
            return self._result("a person").failed(SpotError(f"{type(error).__name__}: {error}"))

    def _advance(self) -> str:
        """Act until the policy waits, and return what it waits for."""
        to = self._to
        record = self._keep(to.ledger.read(self._id))
        self._known = len(record.run.decisions)
        to.check(record.run)
        for _ in range(MOST_TURNS):
            if record.run.state is not RunState.OPEN:
                return self._file(record)
            run, self._seen = observe.observe(record.run, to.jobs, to.status, to.clock.now())
            run = self._alarmed(run, self._seen)
            action = decide(run, self._seen, to.clock.now())
            if not isinstance(action, Wait):
                _log.info("%s: %s", run.id, describe(action))
                record = self._act(record, run, action)
                continue
            record = self._write(record, run)
            if not any(is_settling(active, to.clock.now()) for active in run.active_attempts):
                _log.info("%s: %s", run.id, describe(action))
                return action.reason
            to.clock.sleep(SETTLE_EVERY_S)
        return f"the next reconcile, after {MOST_TURNS} turns in this one"

    def _alarmed(self, run: Run, seen: Observation | None) -> Run:
        """Return the run with what is broken now. The interval is that between the starts of two reconciles."""
        gap = self._began - (self._before.at if self._before else run.submitted_at)
        found = new_alarms(run, seen, self._to.clock.now(), gap)
        for alarm in found:
            _log.error("%s: %s", run.id, alarm)
        self._alarms += found
        return replace(run, alarms=(*run.alarms, *found))

    def _file(self, record: Record) -> str:
        """Publish the report of a closed run and move its record, unless a stray job may still appear."""
        to, record = self._to, self._settle(record)
        run = record.run
        observe.cancel_strays(run, to.jobs, to.clock.now())
        if observe.may_have_strays(run, to.clock.now()):
            return f"{ended(run)}; a job whose create was given up may still appear"
        seen = self._seen or to.status.observe(run)
        try:
            to.publish(run, seen, to.clock.now())
        except Exception:  # a report is no reason to keep a closed run open
            _log.exception("%s: the report was not published", run.id)
        to.ledger.file(record)
        return ended(run)

    def _settle(self, record: Record) -> Record:
        """Decide once whether the model of a succeeded run is promoted. A stray job must not delay it."""
        run, now = record.run, self._to.clock.now()
        if run.state is not RunState.SUCCEEDED or recorded(run) or not (found := self._to.settle(run, now)):
            return record
        _log.info("%s: %s: %s", run.id, found.verdict, found.reason)
        decision = Decision(at=now, action=found.verdict, reason=found.reason)
        return self._write(record, replace(run, decisions=(*run.decisions, decision)))

    def _act(self, record: Record, run: Run, action: Action) -> Record:
        now = self._to.clock.now()
        decision = Decision(at=now, action=describe(action).partition(":")[0], reason=action.reason)
        run = replace(run, decisions=(*run.decisions, decision))
        match action:
            case Submit():
                attempt = action.attempt(run, now, self._seen.step if self._seen else 0)
                record = self._write(record, replace(run, attempts=(*run.attempts, attempt)))
                record = self._create(record, attempt)
            case CancelAttempt():
                [active] = [one for one in run.active_attempts if one.id == action.attempt]
                record = self._write(record, run.with_attempt(replace(active, cancel=Cancel(at=now, why=action.why))))
                observe.request_cancel(run, str(active.job), self._to.jobs)
            case GiveUp():
                [active] = [one for one in run.active_attempts if one.id == action.attempt]
                ended_now = observe.given_up(active, action.reason, self._seen or Observation(), now)
                record = self._write(record, run.with_attempt(ended_now))
            case Close():
                record = self._write(record, replace(run, state=action.state, ended_at=now))
        return record

    def _create(self, record: Record, attempt: Attempt) -> Record:
        if self._to.clock.now() - attempt.intended_at > CREATE_WITHIN:  # this process slept; the create may be given up
            return record
        try:
            snapshot = self._to.jobs.create(record.run, attempt)
        except TemporarilyUnavailable as error:  # it may have taken effect: the next turn looks for the job
            _log.warning("%s: %s", self._id, error)
            return record
        except RequestRejected as error:
            outcome = classify_refusal(error.error)
            if outcome is Outcome.PERMISSION:
                self._withdraw(record)
                raise PermissionDenied(error.message, fix=grant(error.message, record.run.spec)) from error
            refused = replace(attempt, outcome=outcome, error=error.error, ended_at=self._to.clock.now())
            return self._write(record, record.run.with_attempt(refused))
        except PermissionDenied as error:
            self._withdraw(record)
            raise PermissionDenied(error.message, fix=error.fix or grant(error.message, record.run.spec)) from error
        return self._write(record, record.run.with_attempt(replace(attempt, job=snapshot.name, state=snapshot.state)))

    def _withdraw(self, record: Record) -> None:
        """Take back an intent that certainly had no effect."""
        run = record.run
        self._write(record, replace(run, attempts=run.attempts[:-1], decisions=run.decisions[:-1]))

    def _write(self, record: Record, run: Run) -> Record:
        observe.note_preemptions(self._to.ledger.store, self._to.status, record.run, run, self._to.clock.now())
        return self._keep(self._to.ledger.write(record, run))

    def _keep(self, record: Record) -> Record:
        self._record = record
        return record

    def _result(self, waiting_for: str) -> RunResult:
        return RunResult(
            run_id=self._id,
            run=self._record.run if self._record else None,
            seen=self._seen,
            actions=self._record.run.decisions[self._known :] if self._record else (),
            alarms=tuple(self._alarms),
            reconciled=self._before,
            waiting_for=waiting_for,
        )


def _needs_operator(run: Run) -> SpotError | None:
    """Return why the run does not go on without a person, None if it does."""
    for newest in reversed(run.attempts):
        if newest.outcome is Outcome.PERMISSION and newest.error:
            text = f"{newest.id} in {newest.region} lacks a permission: {newest.error.message}"
            return PermissionDenied(text, fix=grant(newest.error.message, run.spec))
        if newest.outcome or newest.started_at:
            break
    problem = termination.stuck(run)
    return (
        SpotError(problem, fix=f"spot logs {run.id}, then mend the cause or spot cancel {run.id}") if problem else None
    )


def is_settling(active: Attempt, now: datetime) -> bool:
    """Return whether the end of `active`, or its error, is near enough to wait for in this reconcile."""
    cancelled_at = active.cancel.at if active.cancel else None
    since = active.ended_at if active.state.ended else cancelled_at
    return since is not None and since <= now < since + SETTLE


def ended(run: Run) -> str:
    return f"nothing: the run has ended ({run.state})"


def describe(action: Action) -> str:
    match action:
        case Submit():
            return f"submit {action.provisioning} in {action.region}: {action.reason}"
        case CancelAttempt():
            return f"cancel {action.attempt} ({action.why}): {action.reason}"
        case GiveUp():
            return f"give up {action.attempt}: {action.reason}"
        case Close():
            return f"close as {action.state}: {action.reason}"
        case Wait():
            return f"wait: {action.reason}"
