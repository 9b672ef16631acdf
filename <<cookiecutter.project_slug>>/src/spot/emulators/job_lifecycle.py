"""The life of one job: a state machine driven by the clock, by its process, and by what is done to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from signal import SIGKILL, SIGTERM, Signals

from spot.core.job import JobError, JobState
from spot.core.run import Provisioning
from spot.emulators import messages
from spot.emulators.custom_job import Job
from spot.emulators.launcher import Launcher, Process


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How this Vertex AI behaves; times are simulated unless they say otherwise."""

    queued: timedelta = timedelta(seconds=30)
    """From the create until a machine is looked for."""
    pending: timedelta = timedelta(minutes=5)
    """From the moment there is a machine until the container runs on it."""
    waits_in: JobState = JobState.PENDING
    """The state of a job that waits for a machine: QUEUED or PENDING."""
    stockout_after: timedelta | None = None
    """How long a job waits for a machine until it fails; None is for ever."""
    error_delay: timedelta = timedelta(minutes=1)
    """From the end of a job until its error is shown."""
    cancelling: timedelta = timedelta(seconds=30)
    """From a cancel until it has taken effect, at least."""
    grace_s: float = 15.0
    """Real seconds from SIGTERM to SIGKILL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ending:
    """What becomes of a job as soon as its process is gone."""

    state: JobState
    """PENDING: it is restarted."""
    error: JobError | None
    at: datetime
    """Not before this."""
    zero_succeeds: bool = False
    """Whether the job succeeds all the same if its process exits with 0."""


@dataclass(slots=True, kw_only=True)
class Life:
    """A job, and what goes on behind it."""

    job: Job
    number: int
    behaviour: Behaviour
    launcher: Launcher
    monotonic: Callable[[], float]
    """Real seconds, for the grace."""
    claimed_at: datetime | None = None
    """Since when it has a machine."""
    process: Process | None = None
    _waiting_since: datetime
    _eligible_at: datetime
    """When a machine is looked for."""
    _kill_at: float | None = None
    _ending: _Ending | None = None

    @classmethod
    def begin(
        cls, job: Job, number: int, behaviour: Behaviour, launcher: Launcher, monotonic: Callable[[], float]
    ) -> Life:
        return cls(
            job=job,
            number=number,
            behaviour=behaviour,
            launcher=launcher,
            monotonic=monotonic,
            _waiting_since=job.created_at,
            _eligible_at=job.created_at + behaviour.queued,
        )

    @property
    def pool(self) -> tuple[str, Provisioning]:
        """Whose machines it uses."""
        return self.job.region, self.job.request.provisioning

    @property
    def leaves(self) -> bool:
        """Whether its end, or the end of this start, is only a matter of time."""
        return self._ending is not None

    def shown(self, now: datetime) -> Job:
        """The job as an answer shows it: its error comes to light only some time after its end."""
        if self.job.error is None or self.job.ended_at is None:
            return self.job
        shown_at = self.job.ended_at + self.behaviour.error_delay
        return replace(self.job, updated_at=shown_at) if shown_at <= now else replace(self.job, error=None)

    def step(self, now: datetime, looked_at: datetime, room: Callable[[datetime], bool]) -> bool:
        """Take the next step if it is due; whether it was.

        `room` tells whether there was a machine for it at a time from `looked_at`, the step before, to `now`.
        """
        if self.job.state.ended:
            return False
        if self.process is not None:
            return self._follow(self.process, now)
        if self._ending is not None:
            return self._settle(self._ending, now)
        if self.claimed_at is not None:
            ready = self.claimed_at + self.behaviour.pending
            return ready <= now and self._start(ready)
        return self._wait(now, max(self._eligible_at, looked_at), room)

    def cancel(self, at: datetime, error: JobError) -> None:
        if self.job.state is not JobState.CANCELLING:
            self._become(JobState.CANCELLING, at)
            end = at + self.behaviour.cancelling
            self._stop(_Ending(state=JobState.CANCELLED, error=error, at=end), SIGTERM, at)

    def preempt(self, at: datetime, *, save: bool) -> None:
        """What is stopped without having been asked to can still succeed."""
        error = messages.stockout(self.job.region)
        ending = _Ending(state=JobState.FAILED, error=error, at=at, zero_succeeds=True)
        self._stop(ending, SIGTERM if save else SIGKILL, at)

    def fail(self, at: datetime, error: JobError) -> None:
        self._stop(_Ending(state=JobState.FAILED, error=error, at=at), SIGKILL, at)

    def restart(self, at: datetime) -> None:
        self._stop(_Ending(state=JobState.PENDING, error=None, at=at), SIGKILL, at)

    def finish(self, at: datetime, code: int) -> None:
        """As if its process had exited by itself."""
        self._stop(_exited(code, at), SIGKILL, at)

    def _stop(self, ending: _Ending, number: Signals, at: datetime) -> None:
        self._ending = ending
        if self.process is None:
            self.claimed_at = None
            return
        self._kill_at = self.monotonic() + self.behaviour.grace_s if number is SIGTERM else None
        self.process.interrupt(number)
        if (code := self.process.poll()) is not None:
            self._gone(code, at)

    def _gone(self, code: int, at: datetime) -> None:
        """Its process is, at the latest since `at`."""
        self.process = self.claimed_at = self._kill_at = None
        if self._ending is None or (self._ending.zero_succeeds and code == 0):
            self._ending = _exited(code, at)
        else:
            self._ending = replace(self._ending, at=max(self._ending.at, at))

    def _wait(self, now: datetime, since: datetime, room: Callable[[datetime], bool]) -> bool:
        limit = self._patience()
        for at in (since, now) if since <= now else ():
            if (limit is None or at < limit.at) and room(at):
                self.claimed_at = at
                self._become(JobState.PENDING, at)
                return True
        if limit is not None and limit.at <= now:
            self._ending = limit
            return True
        leaves_queue = self.job.state is JobState.QUEUED and self.behaviour.waits_in is JobState.PENDING
        if leaves_queue and self._eligible_at <= now:
            self._become(JobState.PENDING, self._eligible_at)
        return False

    def _patience(self) -> _Ending | None:
        """How and when the wait for a machine ends without one."""
        ends: list[_Ending] = []
        if (wait := self.job.request.provisioning_timeout) is not None:
            ends.append(_Ending(state=JobState.EXPIRED, error=None, at=self._waiting_since + wait))
        if (wait := self.behaviour.stockout_after) is not None:
            error = messages.stockout(self.job.region)
            ends.append(_Ending(state=JobState.FAILED, error=error, at=self._waiting_since + wait))
        return min(ends, key=lambda end: end.at, default=None)

    def _start(self, at: datetime) -> bool:
        try:
            self.process = self.launcher.start(self.job.request.spec, self.job.name)
        except OSError as error:
            said = messages.internal()
            self._ending = _Ending(state=JobState.FAILED, error=replace(said, message=f"{said.message} {error}"), at=at)
            return True
        self.job = replace(self.job, started_at=self.job.started_at or at, starts=self.job.starts + 1)
        self._become(JobState.RUNNING, at)
        return True

    def _follow(self, process: Process, now: datetime) -> bool:
        code = process.poll()
        if code is not None:
            self._gone(code, now)
            return True
        if self._kill_at is not None and self.monotonic() >= self._kill_at:
            self._kill_at = None
            process.interrupt(SIGKILL)
            return True
        timeout = self.job.request.timeout
        if self._ending is None and self.job.started_at is not None and self.job.started_at + timeout <= now:
            self.cancel(self.job.started_at + timeout, messages.timed_out(timeout))
            return True
        return False

    def _settle(self, ending: _Ending, now: datetime) -> bool:
        if ending.at > now:
            return False
        self._become(ending.state, ending.at)
        self.claimed_at = self._ending = None
        if ending.state is JobState.PENDING:
            self._waiting_since = self._eligible_at = ending.at
        else:
            self.job = replace(self.job, ended_at=ending.at, error=ending.error)
        return True

    def _become(self, state: JobState, at: datetime) -> None:
        self.job = replace(self.job, state=state, updated_at=at)


def _exited(code: int, at: datetime) -> _Ending:
    """What a container that exits by itself makes of its job; `code` is negative for a signal."""
    status = code if code >= 0 else 128 - code
    if status == 0:
        return _Ending(state=JobState.SUCCEEDED, error=None, at=at)
    return _Ending(state=JobState.FAILED, error=messages.exited(status), at=at)
