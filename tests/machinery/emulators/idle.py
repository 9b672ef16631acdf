"""Provide jobs that run no process, and ways to end them."""

from __future__ import annotations

from signal import SIGTERM, Signals

from spot.emulators.custom_job import replicas_of
from spot.emulators.job_lifecycle import Spec
from spot.emulators.jobs import JobTable


class IdleProcess:
    """Run until a signal or the test ends it."""

    def __init__(self, on_sigterm: int | None) -> None:
        self._code: int | None = None
        self._on_sigterm = on_sigterm

    def poll(self) -> int | None:
        return self._code

    def interrupt(self, number: Signals) -> None:
        if self._code is None:
            self._code = self._on_sigterm if number is SIGTERM else -number

    def end(self, code: int) -> None:
        if self._code is None:
            self._code = code


class IdleLauncher:
    """Start idle processes. `on_sigterm` is their exit code on SIGTERM; None ignores the signal."""

    def __init__(self, *, on_sigterm: int | None = 143) -> None:
        self.on_sigterm = on_sigterm
        self.processes: dict[str, IdleProcess] = {}
        """The newest primary replica of each job."""
        self.replicas: dict[str, list[IdleProcess]] = {}
        """The newest of each job."""

    def start(self, spec: Spec, job_name: str) -> list[IdleProcess]:
        replicas = self.replicas[job_name] = [IdleProcess(self.on_sigterm) for _ in replicas_of(spec)]
        self.processes[job_name] = replicas[0]
        return replicas


def finish(jobs: JobTable, name: str, exit_code: int = 0) -> None:
    """End a running job as if its container had exited."""
    jobs.advance()
    replicas = jobs._find(name).replicas
    assert replicas, f"not running: {name}"
    for process in replicas:
        assert isinstance(process, IdleProcess)
        process.end(exit_code)
    jobs.advance()
