"""Train in the jobs of the emulator, in forks of a process that has imported torch."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from pathlib import Path

from spot.emulators.job_lifecycle import Spec, arguments
from tests.machinery.zygote import TrainerProcess, Zygote


@dataclass(frozen=True, slots=True)
class Container:
    """Run the container of a job as a forked trainer."""

    process: TrainerProcess

    def poll(self) -> int | None:
        self.process.zygote.receive(0.0)
        return self.process.code

    def interrupt(self, number: signal.Signals) -> None:
        self.process.kill(number)


@dataclass(frozen=True, slots=True)
class TrainerLauncher:
    """Start the containers of jobs as forks that train the task of `package`, whatever image the jobs name."""

    zygote: Zygote
    package: str
    folder: Path
    started: list[Container] = field(default_factory=list)

    def start(self, spec: Spec, job_name: str) -> list[Container]:  # noqa: ARG002  # of the protocol
        process = self.zygote.start(arguments(spec), package=self.package, folder=self.folder)
        self.started.append(Container(process))
        return self.started[-1:]
