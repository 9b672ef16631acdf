"""Keep the jobs of the Vertex AI emulator, and allocate and preempt their machines. No HTTP."""

import contextlib
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from spot.core.clock import Clock
from spot.core.job import JobState
from spot.core.run import Provisioning
from spot.emulators.capacity import EmulatedCapacity
from spot.emulators.custom_job import EmulatedJob, InvalidJob, parse
from spot.emulators.job_lifecycle import Behaviour, JobLifecycle, Launcher, cancelled

MAX_PAGE = 100
_FIRST_ID = 10**18
_CONDITION = re.compile(r'labels\.([a-z0-9_-]+)="([a-z0-9_-]*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Hold a page of a list, newest job first."""

    jobs: tuple[EmulatedJob, ...]
    next_token: str
    """Empty on the last page."""


class UnknownJob(Exception):
    """Report the name of a job that does not exist."""


class WrongState(Exception):
    """Report a change that the state of the job does not allow."""


class JobTable:
    """Hold all jobs. Every method first advances them to the clock's time, and is safe in any thread."""

    def __init__(
        self,
        capacity: EmulatedCapacity,
        launcher: Launcher,
        clock: Clock,
        behaviour: Behaviour | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._capacity, self._launcher, self._clock = capacity, launcher, clock
        self._behaviour = behaviour or Behaviour()
        self._monotonic = monotonic
        self._lock = threading.RLock()
        self._jobs: dict[str, JobLifecycle] = {}
        self._open: dict[str, JobLifecycle] = {}
        self._looked_at = clock.now()

    def create(self, project: str, location: str, body: object) -> EmulatedJob:
        """Create a CustomJob given in JSON; raise `InvalidJob`, or the error of the capacity for its region."""
        request = parse(body)
        with self._lock:
            now = self._advance()
            self._capacity.limit(location, request.provisioning, now)
            number = len(self._jobs) + 1
            name = _name(project, location, str(_FIRST_ID + number))
            job = JobLifecycle(
                job=EmulatedJob(name=name, region=location, request=request, state=JobState.QUEUED, created_at=now),
                number=number,
                behaviour=self._behaviour,
                launcher=self._launcher,
                monotonic=self._monotonic,
            )
            self._jobs[name] = self._open[name] = job
            return job.shown(now)

    def get(self, name: str) -> EmulatedJob:
        """Return a job; raise `UnknownJob` if there is none."""
        with self._lock:
            now = self._advance()
            return self._find(name).shown(now)

    def list(self, project: str, location: str, where: str = "", page_size: int = 0, page_token: str = "") -> Page:
        """Return a page of the jobs with the labels that the filter `where` names.

        Raise `InvalidJob` for an invalid filter or page token.
        """
        labels = _parse_filter(where)
        if page_token and not page_token.isdecimal():
            raise InvalidJob(f"The page token is not valid: {page_token!r}")
        before, parent = int(page_token or _FIRST_ID), _name(project, location, "")
        with self._lock:
            now = self._advance()
            found = [
                job
                for name, job in reversed(self._jobs.items())
                if name.startswith(parent) and job.number < before and labels <= job.job.request.labels.items()
            ]
            page = found[: page_size if 0 < page_size < MAX_PAGE else MAX_PAGE]
            token = str(page[-1].number) if len(found) > len(page) else ""
            return Page(jobs=tuple(job.shown(now) for job in page), next_token=token)

    def cancel(self, name: str) -> None:
        """Cancel a job; raise `UnknownJob`, or `WrongState` if it has ended."""
        with self._changing(name, "cancelled") as (job, now):
            job.cancel(now, cancelled())

    def preempt(self, name: str, *, save: bool, replica: int | None = None) -> None:
        """Preempt one replica of a running job, or all: SIGTERM and the grace period if `save`, else SIGKILL.

        Raise `WrongState`.
        """
        with self._changing(name, "preempted", JobState.RUNNING) as (job, now):
            job.preempt(now, save=save, replica=replica)

    def advance(self) -> None:
        with self._lock:
            self._advance()

    @contextlib.contextmanager
    def _changing(self, name: str, change: str, *states: JobState) -> Iterator[tuple[JobLifecycle, datetime]]:
        with self._lock:
            now = self._advance()
            job = self._find(name)
            state = job.job.state
            if state.ended or (states and state not in states):
                raise WrongState(f"The CustomJob is {state.name} and cannot be {change}: {name}")
            yield job, now
            self._advance()

    def _find(self, name: str) -> JobLifecycle:
        parts = name.split("/")
        job = self._jobs.get(_name(parts[1], parts[3], parts[5])) if len(parts) == 6 else None
        if job is None:
            raise UnknownJob(f"The CustomJob does not exist: {name}")
        return job

    def _advance(self) -> datetime:
        now = self._clock.now()
        self._preempt_surplus(now)
        for name, job in [*self._open.items()]:
            while job.step(now, self._looked_at, partial(self._room, job)):
                pass
            if job.job.state.ended:
                del self._open[name]
        self._looked_at = now
        return now

    def _room(self, asking: JobLifecycle, at: datetime) -> bool:
        holders = (job for job in self._open.values() if job.pool == asking.pool and job.claimed_at is not None)
        held = sum(job.job.request.machines for job in holders)
        return held + asking.job.request.machines <= self._capacity.limit(*asking.pool, at)

    def _preempt_surplus(self, now: datetime) -> None:
        """Preempt the newest spot jobs of each region that exceed its capacity."""
        for region in {job.job.region for job in self._open.values() if job.pool[1] is Provisioning.SPOT}:
            held = [
                (job.claimed_at, job.number, job)
                for job in self._open.values()
                if job.pool == (region, Provisioning.SPOT) and job.claimed_at is not None and not job.ending
            ]
            surplus = sum(job.job.request.machines for *_, job in held)
            surplus -= self._capacity.limit(region, Provisioning.SPOT, now)
            for _, _, job in sorted(held, key=lambda item: item[:2], reverse=True):
                if surplus > 0 and job.replicas:
                    job.preempt(now, save=True)
                elif surplus > 0:
                    job.claimed_at = None
                surplus -= job.job.request.machines


def _parse_filter(text: str) -> set[tuple[str, str]]:
    """Return the labels and values of a filter: conditions on labels, joined by AND."""
    found = [(part, _CONDITION.fullmatch(part)) for part in text.split(" AND ")] if text else []
    for part, match in found:
        if not match:
            raise InvalidJob(f"The provided filter is not valid: {part!r}")
    return {(match[1], match[2]) for _, match in found if match}


def _name(project: str, location: str, job: str) -> str:
    """Return the name of a job: Vertex AI writes the number of the project, whatever the request has."""
    number = project if project.isdecimal() else str(10**11 + zlib.crc32(project.encode()))
    return f"projects/{number}/locations/{location}/customJobs/{job}"
