"""Wrap the stores, jobs and clock of a supervisor: one function may fail, delay or record every call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from spot.core.clock import Clock
from spot.core.job import JobSnapshot
from spot.core.run import Attempt, Observation, Run
from spot.google.vertex import JobClient
from spot.storage.base import Entry, Object, Store, Written, never
from spot.storage.records.markers import AttemptStarts
from spot.supervisor.training_status import TrainingStatus

Around = Callable[[str, Callable[[], Any]], Any]
"""Execute a call, or fail it. The first argument names the call."""
CHANGING = ("write ", "delete ", "create ", "cancel ")
"""Prefixes of the names of calls that change state."""


class When(StrEnum):
    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Describe a failure of one call, before or after its effect."""

    when: When
    error: BaseException


Plan = Callable[[int, str], Fault | None]
"""The fault of a call, by its number from 1 and its name."""


def undisturbed(_number: int, _what: str) -> None:
    """Inject no fault."""


def at(number: int, fault: Fault) -> Plan:
    return lambda found, _what: fault if found == number else None


class WatchedStore:
    def __init__(self, store: Store, around: Around) -> None:
        self.uri = store.uri
        self._store, self._around = store, around

    def write(
        self, name: str, data: bytes | memoryview, *, if_generation: int, cancelled: Callable[[], bool] = never
    ) -> Written:
        def effect() -> Written:
            return self._store.write(name, data, if_generation=if_generation, cancelled=cancelled)

        written: Written = self._around(f"write {name}", effect)
        return written

    def read(self, name: str) -> Object:
        found: Object = self._around(f"read {name}", lambda: self._store.read(name))
        return found

    def read_into(self, name: str, view: memoryview, *, generation: int) -> None:
        self._around(f"read {name}", lambda: self._store.read_into(name, view, generation=generation))

    def list(self, prefix: str) -> list[Entry]:
        entries: list[Entry] = self._around(f"list {prefix}", lambda: self._store.list(prefix))
        return entries

    def delete(self, name: str) -> None:
        self._around(f"delete {name}", lambda: self._store.delete(name))


class WatchedJobs:
    def __init__(self, jobs: JobClient, around: Around) -> None:
        self._jobs, self._around = jobs, around

    def create(self, run: Run, attempt: Attempt) -> JobSnapshot:
        created: JobSnapshot = self._around(f"create {attempt.region}", lambda: self._jobs.create(run, attempt))
        return created

    def get(self, run: Run, attempt: Attempt) -> JobSnapshot:
        found: JobSnapshot = self._around(f"get {attempt.job}", lambda: self._jobs.get(run, attempt))
        return found

    def find(self, run: Run, attempt: Attempt) -> list[JobSnapshot]:
        found: list[JobSnapshot] = self._around(f"find {attempt.id}", lambda: self._jobs.find(run, attempt))
        return found

    def cancel(self, name: str) -> None:
        self._around(f"cancel {name}", lambda: self._jobs.cancel(name))


class WatchedClock:
    """Pass each sleep through `around`; the time is that of `clock`."""

    def __init__(self, clock: Clock, pass_time: Callable[[timedelta], None], around: Around) -> None:
        self._pass_time, self._around = pass_time, around
        self.now, self.monotonic = clock.now, clock.monotonic

    def sleep(self, seconds: float) -> None:
        self._around("sleep", lambda: self._pass_time(timedelta(seconds=seconds)))


class WatchedEvidence:
    def __init__(self, evidence: TrainingStatus, around: Around) -> None:
        self._evidence, self._around = evidence, around

    def observe(self, run: Run) -> Observation:
        seen: Observation = self._around(f"observe {run.id}", lambda: self._evidence.observe(run))
        return seen

    def starts(self, run: Run, attempt: Attempt) -> AttemptStarts:
        found: AttemptStarts = self._around(f"starts {attempt.id}", lambda: self._evidence.starts(run, attempt))
        return found
