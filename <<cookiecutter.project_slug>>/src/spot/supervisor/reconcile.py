"""One pass over the open runs: observe, decide, act, record. Safe at any time, twice, at once, and after a crash.

- The intent is recorded before the call it announces, by compare-and-swap: whoever loses the race does nothing.
- A create that was recorded and not answered is looked for by its labels. It is given up only when nobody can be
  about to send it any more, and a job that turns up later all the same is cancelled as a stray.
- What could not be read changes nothing: the run waits for the next pass.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from spot.core.actions import Action, CancelAttempt, Close, Submit, Wait
from spot.core.run import Attempt, Cancel, Decision, Observation, Run, RunState
from spot.google.vertex import Denied, Jobs, Refused, Unavailable, VertexError
from spot.policy.decide import decide
from spot.policy.slack import SETTLE
from spot.report.publish import publish
from spot.storage.base import Conflict, Damaged, StoreError
from spot.storage.base import Denied as StoreDenied
from spot.storage.records.ledger import Ledger, LedgerError, Record, UnknownRun
from spot.supervisor.classify import classify_refusal
from spot.supervisor.observe import cancel_strays, may_have_strays, observe
from spot.supervisor.training_status import Evidence

CREATE_WITHIN = timedelta(minutes=2)
"""An intent older than this is not sent any more by the one who recorded it."""
MOST_TURNS = 100
"""A pass that would go on for more has gone astray."""
SETTLE_EVERY_S = 5.0
"""Between two looks at what ends, see `SETTLE`."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassResult:
    """What a pass did for one run."""

    run_id: str
    run: Run | None
    """As the pass left it; None if its record could not be read."""
    seen: Observation | None
    actions: tuple[Decision, ...]
    """What this pass did."""
    waiting_for: str
    """Why it did no more."""
    problem: str | None = None
    """What kept it from going on, if something did."""
    needs_operator: bool = False
    """Whether that lasts until somebody acts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervisor:
    """All that a pass works with. It keeps nothing between two passes."""

    ledger: Ledger
    jobs: Jobs
    evidence: Evidence
    clock: Callable[[], datetime]
    sleep: Callable[[float], None]

    def reconcile(self) -> list[PassResult]:
        """Take every open run as far as it goes now. Raises `StoreError` if they cannot be listed."""
        return [self.reconcile_run(run_id) for run_id in self.ledger.open_ids()]

    def reconcile_run(self, run_id: str) -> PassResult:
        """Take one run as far as it goes now."""
        return _Pass(self, run_id).go()


class _Pass:
    def __init__(self, supervisor: Supervisor, run_id: str) -> None:
        self._to = supervisor
        self._id = run_id
        self._record: Record | None = None
        self._seen: Observation | None = None
        self._actions: list[Decision] = []

    def go(self) -> PassResult:
        try:
            return self._passed(next_=self._advance())
        except Conflict:
            return self._passed(next_="another supervisor is at work on it")
        except UnknownRun:  # filed since it was listed
            return self._passed(next_="it was filed by another supervisor")
        except (LedgerError, Denied, StoreDenied, Damaged) as error:
            return self._stuck(error, needs_operator=True)
        except (VertexError, StoreError) as error:
            return self._stuck(error, needs_operator=False)

    def _advance(self) -> str:
        """Act until there is nothing to do now; why there is not."""
        to = self._to
        record = self._hold(to.ledger.read(self._id))
        for _ in range(MOST_TURNS):
            if record.run.state is not RunState.OPEN:
                cancel_strays(record.run, to.jobs, to.clock())
                if may_have_strays(record.run, to.clock()):
                    return f"it has ended: {record.run.state}; a job of it that was given up may still turn up"
                publish(record.run, self._seen or to.evidence.observe(record.run), to.ledger.store, to.clock())
                to.ledger.file(record)
                return f"it has ended: {record.run.state}"
            run, self._seen = observe(record.run, to.jobs, to.evidence, to.clock())
            action = decide(run, self._seen, to.clock())
            if not isinstance(action, Wait):
                _log.info("%s: %s", run.id, describe(action))
                record = self._act(record, run, action)
                continue
            record = self._write(record, run)
            if not any(settles(active, to.clock()) for active in run.active_attempts):
                _log.info("%s: %s", run.id, describe(action))
                return action.reason
            to.sleep(SETTLE_EVERY_S)
        return f"{MOST_TURNS} turns in one pass, the next one goes on"

    def _act(self, record: Record, run: Run, action: Action) -> Record:
        """Record what is about to be done, then do it."""
        now = self._to.clock()
        decision = Decision(at=now, action=describe(action).partition(":")[0], reason=action.reason)
        run = replace(run, decisions=(*run.decisions, decision))
        match action:
            case Submit():
                attempt = Attempt(
                    id=f"a{len(run.attempts) + 1}",
                    provisioning=action.provisioning,
                    region=action.region,
                    intended_at=now,
                    timeout=action.timeout,
                    from_step=self._seen.progress.step if self._seen and self._seen.progress else 0,
                    replaces=action.replaces,
                )
                record = self._write(record, replace(run, attempts=(*run.attempts, attempt)))
                self._actions.append(decision)
                record = self._create(record, attempt)
            case CancelAttempt():
                [active] = [one for one in run.active_attempts if one.id == action.attempt]
                record = self._write(record, run.with_attempt(replace(active, cancel=Cancel(at=now, why=action.why))))
                self._actions.append(decision)
                self._to.jobs.cancel(str(active.job))
            case Close():
                record = self._write(record, replace(run, state=action.state, ended_at=now))
                self._actions.append(decision)
        return record

    def _create(self, record: Record, attempt: Attempt) -> Record:
        if self._to.clock() - attempt.intended_at > CREATE_WITHIN:  # this process slept; others may have given it up
            return record
        try:
            sighting = self._to.jobs.create(record.run, attempt)
        except Unavailable as error:  # it may have taken effect: the next turn looks for it
            _log.warning("%s", error)
            return record
        except Refused as error:
            return self._refused(record, attempt, error)
        except Denied:
            self._withdraw(record)
            raise
        return self._write(record, record.run.with_attempt(replace(attempt, job=sighting.name, state=sighting.state)))

    def _refused(self, record: Record, attempt: Attempt, refusal: Refused) -> Record:
        outcome = classify_refusal(refusal.error)
        ended = replace(attempt, outcome=outcome, error=refusal.error, ended_at=self._to.clock())
        return self._write(record, record.run.with_attempt(ended))

    def _withdraw(self, record: Record) -> None:
        """Take back an intent that certainly had no effect."""
        run = record.run
        self._actions.pop()
        self._write(record, replace(run, attempts=run.attempts[:-1], decisions=run.decisions[:-1]))

    def _write(self, record: Record, run: Run) -> Record:
        return self._hold(self._to.ledger.write(record, run))

    def _hold(self, record: Record) -> Record:
        self._record = record
        return record

    def _stuck(self, error: Exception, *, needs_operator: bool) -> PassResult:
        line = " ".join(str(error).split())
        _log.warning("%s: %s", self._id, line)
        return self._passed(next_="nothing is done until that is known", problem=line, needs_operator=needs_operator)

    def _passed(self, *, next_: str, problem: str | None = None, needs_operator: bool = False) -> PassResult:
        return PassResult(
            run_id=self._id,
            run=self._record.run if self._record else None,
            seen=self._seen,
            actions=tuple(self._actions),
            waiting_for=next_,
            problem=problem,
            needs_operator=needs_operator,
        )


def settles(active: Attempt, now: datetime) -> bool:
    """Whether a pass waits for the end of `active`, or for its reason, so that what follows need not wait a tick."""
    if active.state.ended:
        return active.ended_at is not None and now < active.ended_at + SETTLE
    return active.cancel is not None and now < active.cancel.at + SETTLE


def describe(action: Action) -> str:
    """An action and its reason, on one line."""
    match action:
        case Submit():
            return f"submit {action.provisioning} in {action.region}: {action.reason}"
        case CancelAttempt():
            return f"cancel {action.attempt} ({action.why}): {action.reason}"
        case Close():
            return f"close as {action.state}: {action.reason}"
        case Wait():
            return f"wait: {action.reason}"
