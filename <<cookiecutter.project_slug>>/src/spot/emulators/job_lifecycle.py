"""Move one job through its states, driven by the clock, by its processes, and by calls.

The texts of its errors are from Google's documentation, which states the code of a stockout only.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from signal import SIGKILL, SIGTERM, Signals
from typing import Any, Protocol

from spot.core.job import JobError, JobState
from spot.core.run import Provisioning
from spot.emulators.custom_job import EmulatedJob, replicas_of
from spot.supervisor.classify import Code

Spec = Mapping[str, Any]
"""The `jobSpec` of a CustomJob in JSON."""


class Process(Protocol):
    """Run in the place of a container, of which each replica of a job has one."""

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""

    def interrupt(self, number: Signals) -> None:
        """Send a signal; do nothing after the end."""


class Launcher(Protocol):
    def start(self, spec: Spec, job_name: str) -> Sequence[Process]:
        """Start the container of each replica of a job, the primary first; raise `OSError` if that fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """Set the delays of the emulator, in simulated time unless the name ends in `_s`."""

    queued: timedelta = timedelta(seconds=30)
    """From the create to the first search for a machine."""
    pending: timedelta = timedelta(minutes=5)
    """From the allocation of a machine to the start of the container."""
    error_delay: timedelta = timedelta(minutes=1)
    """From the end of a job to the first response with its error."""
    cancelling: timedelta = timedelta(seconds=30)
    """The minimum from a cancel to its effect."""
    grace_s: float = 15.0
    """Real seconds from SIGTERM, or from the end of a replica, to SIGKILL of the others, whatever the clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ending:
    """Hold the state that a job enters after the end of its process."""

    state: JobState
    error: JobError | None
    at: datetime
    """The earliest time."""
    zero_succeeds: bool = False
    """Whether the job succeeds if its primary replica exits with 0."""


@dataclass(slots=True, kw_only=True)
class JobLifecycle:
    """Hold a job with its machines and its processes."""

    job: EmulatedJob
    number: int
    behaviour: Behaviour
    launcher: Launcher
    monotonic: Callable[[], float]
    """Real seconds, for the grace period."""
    claimed_at: datetime | None = None
    """The time of the allocation of its machines."""
    replicas: Sequence[Process] = ()
    _failed: tuple[str, int] | None = None
    """The first replica that failed, and its exit code."""
    _kill_at: float | None = None
    _ending: _Ending | None = None

    @property
    def pool(self) -> tuple[str, Provisioning]:
        return self.job.region, self.job.request.provisioning

    @property
    def ending(self) -> bool:
        return self._ending is not None

    def shown(self, now: datetime) -> EmulatedJob:
        """Return the job as a response shows it: without its error until `error_delay` after its end."""
        if self.job.error is None or self.job.ended_at is None:
            return self.job
        has_come = self.job.ended_at + self.behaviour.error_delay <= now
        return self.job if has_come else replace(self.job, error=None)

    def step(self, now: datetime, looked_at: datetime, room: Callable[[datetime], bool]) -> bool:
        """Make the next transition if it is due, and return whether it was.

        `room` returns whether its machines were free at a time between `looked_at`, the previous step, and `now`.
        """
        if self.job.state.ended:
            return False
        if self.replicas:
            return self._follow(now)
        if self._ending is not None:
            return self._settle(self._ending, now)
        if self.claimed_at is not None:
            ready = self.claimed_at + self.behaviour.pending
            return ready <= now and self._start(ready)
        return self._wait(now, max(self._eligible_at, looked_at), room)

    def cancel(self, at: datetime, error: JobError) -> None:
        if self.job.state is not JobState.CANCELLING:
            self._become(JobState.CANCELLING)
            end = at + self.behaviour.cancelling
            self._stop(_Ending(state=JobState.CANCELLED, error=error, at=end), SIGTERM, at, self.replicas)

    def preempt(self, at: datetime, *, save: bool, replica: int | None = None) -> None:
        """Preempt one replica, or all. The job fails once the other replicas are gone too."""
        ending = _Ending(state=JobState.FAILED, error=stockout(self.job.region), at=at, zero_succeeds=True)
        chosen = self.replicas if replica is None else [self.replicas[replica]]
        self._stop(ending, SIGTERM if save else SIGKILL, at, chosen)

    def _stop(self, ending: _Ending, number: Signals, at: datetime, replicas: Sequence[Process]) -> None:
        self._ending = ending
        if not self.replicas:
            self.claimed_at = None
            return
        self._kill_at = self.monotonic() + self.behaviour.grace_s if number is SIGTERM else None
        for process in replicas:
            process.interrupt(number)
        self._reap(at)

    def _reap(self, at: datetime) -> bool:
        """Return whether all replicas are gone, and record their end, at `at` or before."""
        names, codes = replicas_of(self.job.request.spec), [process.poll() for process in self.replicas]
        failed = ((f"{pool}-{index}", code) for (pool, index), code in zip(names, codes, strict=True) if code)
        self._failed = self._failed or next(failed, None)
        if None in codes:
            if codes.count(None) < len(codes) and self._kill_at is None:
                self._kill_at = self.monotonic() + self.behaviour.grace_s
            return False
        self.replicas, self.claimed_at, self._kill_at = (), None, None
        if self._ending is None or (self._ending.zero_succeeds and codes[0] == 0):
            self._ending = _exited(None if codes[0] == 0 else self._failed, at)
        else:
            self._ending = replace(self._ending, at=max(self._ending.at, at))
        return True

    def _wait(self, now: datetime, since: datetime, room: Callable[[datetime], bool]) -> bool:
        wait = self.job.request.provisioning_timeout
        expires_at = None if wait is None else self.job.created_at + wait
        for at in (since, now) if since <= now else ():
            if (expires_at is None or at < expires_at) and room(at):
                self.claimed_at = at
                self._become(JobState.PENDING)
                return True
        if expires_at is not None and expires_at <= now:
            self._ending = _Ending(state=JobState.EXPIRED, error=None, at=expires_at)
            return True
        if self.job.state is JobState.QUEUED and self._eligible_at <= now:
            self._become(JobState.PENDING)
        return False

    @property
    def _eligible_at(self) -> datetime:
        return self.job.created_at + self.behaviour.queued

    def _start(self, at: datetime) -> bool:
        try:
            self.replicas = self.launcher.start(self.job.request.spec, self.job.name)
        except OSError as error:
            self._ending = _Ending(state=JobState.FAILED, error=internal(error), at=at)
            return True
        self.job = replace(self.job, state=JobState.RUNNING, started_at=at)
        return True

    def _follow(self, now: datetime) -> bool:
        if self._reap(now):
            return True
        if self._kill_at is not None and self.monotonic() >= self._kill_at:
            self._kill_at = None
            for process in self.replicas:
                process.interrupt(SIGKILL)
            return True
        timeout = self.job.request.timeout
        if self._ending is None and self.job.started_at is not None and self.job.started_at + timeout <= now:
            self.cancel(self.job.started_at + timeout, timed_out(timeout))
            return True
        return False

    def _settle(self, ending: _Ending, now: datetime) -> bool:
        if ending.at > now:
            return False
        self.claimed_at = self._ending = None
        self.job = replace(self.job, state=ending.state, ended_at=ending.at, error=ending.error)
        return True

    def _become(self, state: JobState) -> None:
        self.job = replace(self.job, state=state)


def _exited(failed: tuple[str, int] | None, at: datetime) -> _Ending:
    """Return the ending for containers that exit by themselves; an exit code is negative for a signal."""
    if failed is None:
        return _Ending(state=JobState.SUCCEEDED, error=None, at=at)
    replica, code = failed
    return _Ending(state=JobState.FAILED, error=exited(code if code >= 0 else 128 - code, replica), at=at)


def stockout(region: str) -> JobError:
    """Return the error for missing capacity; a preemption has the same text."""
    return JobError(
        code=Code.RESOURCE_EXHAUSTED,
        message=f"Resources are insufficient in region: {region}."
        " Try a different region or use a different accelerator.",
    )


def exited(status: int, replica: str = "workerpool0-0") -> JobError:
    return JobError(
        code=Code.INVALID_ARGUMENT,
        message=f"The replica {replica} exited with a non-zero status of {status}. Termination reason: Error.",
    )


def internal(detail: object) -> JobError:
    return JobError(code=Code.INTERNAL, message=f"Internal error occurred for the current attempt. {detail}")


def cancelled() -> JobError:
    return JobError(code=Code.CANCELLED, message="CANCELED")


def timed_out(timeout: timedelta) -> JobError:
    message = f"The job ran for longer than its timeout of {timeout.total_seconds():.0f}s."
    return JobError(code=Code.DEADLINE_EXCEEDED, message=message)


def arguments(spec: Spec) -> list[str]:
    return [*spec["workerPoolSpecs"][0]["containerSpec"].get("args", [])]


def cluster_specs(spec: Spec, hosts: Sequence[str]) -> list[str]:
    """Return CLUSTER_SPEC of each replica, the primary first; `hosts` are their addresses with ports."""
    names, cluster = replicas_of(spec), dict[str, list[str]]()
    for (pool, _), host in zip(names, hosts, strict=True):
        cluster.setdefault(pool, []).append(host)
    tasks = ({"type": pool, "index": index} for pool, index in names)
    return [json.dumps({"cluster": cluster, "environment": "cloud", "task": task}) for task in tasks]
