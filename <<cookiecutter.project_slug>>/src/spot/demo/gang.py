"""Run the replicas of a rehearsed job on machines of their own, as one process: the primary replica."""

import contextlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spot.emulators.job_lifecycle import Spec, cluster_specs
from spot.emulators.machines import EmulatedMachine

LEAVE_S = 20.0
"""The longest real time from the end of the primary to that of the others, which notice it."""


@dataclass(frozen=True, slots=True)
class Gang:
    """Hold the machines of a job, the primary first."""

    machines: Sequence[EmulatedMachine]

    def start(self, spec: Spec, command: Sequence[str], environ: Mapping[str, str], log: Path, *pass_fds: int) -> None:
        """Run a Python module on each machine. The primary inherits `pass_fds`."""
        cluster = cluster_specs(spec, [machine.host for machine in self.machines])
        for machine, given in zip(self.machines, cluster, strict=True):
            machine.run(
                [sys.executable, "-m", *command],
                {**environ, "CLUSTER_SPEC": given},
                log,
                pass_fds if machine is self.machines[0] else (),
            )

    @property
    def exitcode(self) -> int | None:
        return self.machines[0].poll()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the replicas have ended, or the primary for `timeout` seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.machines[0].wait(timeout)
            for machine in self.machines[1:]:
                machine.wait(LEAVE_S)
