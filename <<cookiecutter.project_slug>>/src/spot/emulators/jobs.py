"""All jobs of the Vertex AI stand-in: which there are, which get a machine, and which lose theirs. No HTTP."""

from __future__ import annotations

import contextlib
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from signal import SIGKILL

from spot.core.job import JobError, JobState
from spot.core.run import Provisioning
from spot.emulators import job_filter, messages
from spot.emulators.capacity import Capacity
from spot.emulators.clock import Clock
from spot.emulators.custom_job import InvalidJob, Job, parse
from spot.emulators.job_lifecycle import Behaviour, Life
from spot.emulators.launcher import Launcher

MAX_PAGE = 100
CLOSE_S = 10.0
_FIRST_ID = 10**18


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list, newest job first."""

    jobs: tuple[Job, ...]
    next_token: str
    """Empty on the last one."""


class UnknownJob(Exception):
    """No such job."""


class WrongState(Exception):
    """What is asked for cannot be done to a job in its state."""


class Jobs:
    """Every method first brings all jobs up to the clock's time, and may be called from any thread."""

    def __init__(
        self,
        capacity: Capacity,
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
        self._lives: dict[str, Life] = {}
        self._open: dict[str, Life] = {}
        self._looked_at = clock.now()

    def create(self, project: str, location: str, body: object) -> Job:
        """`body` is a CustomJob in JSON. Raises InvalidJob, and what the capacity raises for a strange region."""
        request = parse(body)
        with self._lock:
            now = self._advance()
            self._capacity.free(location, request.provisioning, now)
            number = len(self._lives) + 1
            name = _name(project, location, str(_FIRST_ID + number))
            job = Job(
                name=name, region=location, request=request, state=JobState.QUEUED, created_at=now, updated_at=now
            )
            life = Life.begin(job, number, self._behaviour, self._launcher, self._monotonic)
            self._lives[name] = self._open[name] = life
            return life.shown(now)

    def get(self, name: str) -> Job:
        """Raises UnknownJob."""
        with self._lock:
            now = self._advance()
            return self._find(name).shown(now)

    def list(self, project: str, location: str, where: str = "", page_size: int = 0, page_token: str = "") -> Page:
        """`where` is a filter. Raises InvalidJob for one that cannot be read, and for such a token."""
        matches = job_filter.parse(where)
        if page_token and not page_token.isdecimal():
            raise InvalidJob(f"The page token is not valid: {page_token!r}")
        before, parent = int(page_token or _FIRST_ID), _name(project, location, "")
        with self._lock:
            now = self._advance()
            active_attempts = [
                life for name, life in self._lives.items() if name.startswith(parent) and life.number < before
            ]
            found = [life for life in reversed(active_attempts) if matches(life.job)]
            page = found[: page_size if 0 < page_size < MAX_PAGE else MAX_PAGE]
            token = str(page[-1].number) if len(found) > len(page) else ""
            return Page(jobs=tuple(life.shown(now) for life in page), next_token=token)

    def cancel(self, name: str) -> None:
        """Raises UnknownJob, and WrongState for a job that has ended."""
        with self._changing(name, "cancelled") as (life, now):
            life.cancel(now, messages.cancelled())

    def preempt(self, name: str, *, save: bool) -> None:
        """Take the machine of a running job away, with a grace to save in or without. Raises WrongState."""
        with self._changing(name, "preempted", JobState.RUNNING) as (life, now):
            life.preempt(now, save=save)

    def fail(self, name: str, code: int, message: str) -> None:
        """Kill it, and have it fail with this error. Raises WrongState for a job that is not running or waiting."""
        with self._changing(name, "failed", JobState.QUEUED, JobState.PENDING, JobState.RUNNING) as (life, now):
            life.fail(now, JobError(code=code, message=message))

    def restart_inside(self, name: str) -> None:
        """Lose the machine of a running job, which then waits for another one. Raises WrongState."""
        with self._changing(name, "restarted", JobState.RUNNING) as (life, now):
            life.restart(now)

    def finish(self, name: str, exit_code: int = 0) -> None:
        """End a running job as if its container had exited by itself. Raises WrongState."""
        with self._changing(name, "finished", JobState.RUNNING) as (life, now):
            life.finish(now, exit_code)

    def advance(self) -> None:
        """Bring every job up to the clock's time."""
        with self._lock:
            self._advance()

    def close(self) -> None:
        """Kill what runs, and wait until it is gone."""
        with self._lock:
            left = [life.process for life in self._open.values() if life.process]
        for process in left:
            process.interrupt(SIGKILL)
        end = time.monotonic() + CLOSE_S
        while any(process.poll() is None for process in left) and time.monotonic() < end:
            time.sleep(0.01)

    @contextlib.contextmanager
    def _changing(self, name: str, what: str, *states: JobState) -> Iterator[tuple[Life, datetime]]:
        with self._lock:
            now = self._advance()
            life = self._find(name)
            state = life.job.state
            if state.ended or (states and state not in states):
                raise WrongState(f"The CustomJob is {state.name} and cannot be {what}: {name}")
            yield life, now
            self._advance()

    def _find(self, name: str) -> Life:
        parts = name.split("/")
        life = self._lives.get(_name(parts[1], parts[3], parts[5])) if len(parts) == 6 else None
        if life is None:
            raise UnknownJob(f"The CustomJob does not exist: {name}")
        return life

    def _advance(self) -> datetime:
        now = self._clock.now()
        self._take_back(now)
        for name, life in [*self._open.items()]:
            while life.step(now, self._looked_at, partial(self._room, life.pool)):
                pass
            if life.job.state.ended:
                del self._open[name]
        self._looked_at = now
        return now

    def _room(self, pool: tuple[str, Provisioning], at: datetime) -> bool:
        held = sum(life.pool == pool and life.claimed_at is not None for life in self._open.values())
        return held < self._capacity.free(*pool, at)

    def _take_back(self, now: datetime) -> None:
        """Where there is less spot capacity than is in use, the youngest lose theirs."""
        for region in {life.job.region for life in self._open.values() if life.pool[1] is Provisioning.SPOT}:
            held = [
                (life.claimed_at, life.number, life)
                for life in self._open.values()
                if life.pool == (region, Provisioning.SPOT) and life.claimed_at is not None and not life.leaves
            ]
            surplus = max(len(held) - self._capacity.free(region, Provisioning.SPOT, now), 0)
            for _, _, life in sorted(held, key=lambda one: one[:2], reverse=True)[:surplus]:
                if life.process is None:
                    life.claimed_at = None
                else:
                    life.preempt(now, save=True)


def _name(project: str, location: str, job: str) -> str:
    """Vertex AI names jobs by the number of the project, however it was called in the request."""
    number = project if project.isdecimal() else str(10**11 + zlib.crc32(project.encode()))
    return f"projects/{number}/locations/{location}/customJobs/{job}"
