"""Run the jobs of the probes at once, within their caps, and leave none behind."""

import logging
import secrets
import signal
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from spot.config.settings import Settings
from spot.core.clock import Clock
from spot.core.errors import PermissionDenied, SpotError, TemporarilyUnavailable
from spot.core.job import JobError, JobSnapshot, JobState
from spot.core.run import Outcome
from spot.google.vertex import JobNotFound, RequestRejected, VertexJobs
from spot.live.probes import Probe, ProbeJob, labels
from spot.storage.base import Store
from spot.storage.records import codec
from spot.supervisor.classify import classify_refusal
from spot.trainer.probe import ProbeReport

POLL_S = 5.0
LONGEST = timedelta(minutes=25)
ERROR_WAIT = timedelta(minutes=5)
"""Longest wait for the error of an ended job."""
DENIED = 403
REPORTS = "live"
"""Folder of the reports below the checkpoints: the training account may write there."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class ProbeJobs:
    """Create, watch and cancel jobs. Leaving the context cancels every job with the labels, whatever the reason."""

    settings: Settings
    image: str
    jobs: VertexJobs
    checkpoints: Store
    clock: Clock
    label_lag: timedelta | None = None
    """From the first create to a list by labels that shows its job."""
    _all: list[ProbeJob] = field(default_factory=list)
    _reports: dict[str, ProbeReport | None] = field(default_factory=dict)
    _folder: str = field(default_factory=lambda: f"{REPORTS}/{secrets.token_hex(4)}/")

    @property
    def region(self) -> str:
        return self.settings.cloud.regions[0]

    def __enter__(self) -> Self:
        """Cancel what an earlier call left that was killed."""
        self._sweep()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            # A list may not show the newest jobs yet, and a create that was interrupted may still take effect.
            self._sweep({one.job.name for one in self._all if one.job and not one.is_over})
            if any(one.is_unsure for one in self._all):
                self.clock.sleep(POLL_S)
                self._sweep()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def start(self, probes: Sequence[Probe]) -> None:
        """Create the jobs. A job that the quota refuses is created when other jobs have ended."""
        self._all = [ProbeJob(probe) for probe in probes]
        for one in self._all:
            self._create(one)
            self._note_label_lag()

    def wait(self) -> Mapping[str, ProbeJob]:
        """Return the probes that were over within `LONGEST`, by name."""
        end = self.clock.now() + LONGEST
        while not all(one.is_over for one in self._all) and self.clock.now() < end:
            self.clock.sleep(POLL_S)
            for one in self._all:
                if one.job and not one.is_over:
                    self._look(one, one.job, self.clock.now())
                elif not one.is_over:
                    self._create(one)
            self._note_label_lag()
            self._read_reports()
        return {one.probe.name: one for one in self._all if one.is_over}

    def _create(self, one: ProbeJob) -> None:
        probe, project = one.probe, self.settings.cloud.project
        request = probe.request(self.settings, self.image, f"{self.checkpoints.uri}/{self._folder[:-1]}")
        was_unsure, one.is_unsure = one.is_unsure, True
        try:
            known = self.jobs.find_jobs(project, self.region, request["labels"], probe.name) if was_unsure else []
            found = next((job for job in known if not job.state.ended), None)
            one.job = found or self.jobs.create_job(project, self.region, request, probe.name)
            _log.info("%s: %s", probe.name, one.job.name)
        except RequestRejected as error:
            outcome, others = classify_refusal(error.error), any(each.job and not each.is_over for each in self._all)
            if not (probe.runs and others and outcome in (Outcome.QUOTA, Outcome.NO_CAPACITY)):
                one.refusal, one.is_over = error.error, True
        except PermissionDenied as error:
            one.refusal, one.is_over = JobError(code=DENIED, message=error.message), True
        except TemporarilyUnavailable as error:
            _log.warning("%s: %s", probe.name, error)
            return
        one.is_unsure = False

    def _look(self, one: ProbeJob, job: JobSnapshot, now: datetime) -> None:
        probe = one.probe
        try:
            job = one.job = self.jobs.get_job(job.name, labels(self.settings, probe.name))
        except (TemporarilyUnavailable, JobNotFound) as error:
            _log.warning("%s: %s", probe.name, error)
            return
        if job.state.ended:
            since = now - (job.ended_at or job.created_at)
            if job.error and job.state is JobState.FAILED:
                one.error_lag = since
            one.is_over = job.error is not None or job.state is JobState.SUCCEEDED or since > ERROR_WAIT
        elif not one.is_cancelled and self._must_end(one, job, now):
            self.jobs.cancel(job.name)
            one.is_cancelled = True

    def _must_end(self, one: ProbeJob, job: JobSnapshot, now: datetime) -> bool:
        probe = one.probe
        if job.state in (JobState.QUEUED, JobState.PENDING) and now - job.created_at > probe.wait:
            one.waited_in = job.state
            return True
        return job.state is JobState.RUNNING and (not probe.runs or (probe.cancel and bool(one.reports)))

    def _note_label_lag(self) -> None:
        known = next((one.job for one in self._all if one.job), None)
        if known and self.label_lag is None and known.name in {one.name for one in self._listed()}:
            self.label_lag = max(self.clock.now() - known.created_at, timedelta())

    def _read_reports(self) -> None:
        names = [entry.name for entry in self.checkpoints.list(self._folder)]
        for name in set(names) - self._reports.keys():
            try:
                data = self.checkpoints.read(name).data
                self._reports[name] = codec.decode(ProbeReport, data, name, "a report of a probe", "it is ignored")
            except SpotError as error:
                _log.warning("%s", error)
                self._reports[name] = None
        for one in self._all:
            mine = f"{self._folder}{one.probe.name}/"
            one.reports = [found for name, found in sorted(self._reports.items()) if found and name.startswith(mine)]

    def _sweep(self, names: Collection[str] = ()) -> None:
        """Cancel these jobs and every job with the labels that has not ended, and delete all reports."""
        found = self._listed()
        for name in {*names, *(job.name for job in found if not job.state.ended)}:
            try:
                _log.info("cancel %s", name)
                self.jobs.cancel(name)
            except SpotError as error:
                _log.warning("%s: it ends within its time-out of at most 5 min", error)
        for entry in self.checkpoints.list(f"{REPORTS}/"):
            self.checkpoints.delete(entry.name)

    def _listed(self) -> list[JobSnapshot]:
        try:
            return self.jobs.find_jobs(self.settings.cloud.project, self.region, labels(self.settings), "probes")
        except TemporarilyUnavailable as error:
            _log.warning("%s", error)
            return []
