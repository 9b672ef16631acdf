"""Run the jobs of a rehearsal as containers of an image."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from signal import Signals

from spot.emulators.launcher import Spec, TrainerLauncher, arguments, variables
from spot.emulators.reaper import Reaper
from spot.emulators.trainer_process import TrainerProcess


class ContainerProcess(TrainerProcess):
    """Run a container through the command of the engine."""

    def __init__(self, engine: str, name: str, image: str, spec: Spec, given: Mapping[str, str]) -> None:
        self._engine, self._name = engine, name
        program = [engine, "run", "--rm", "--network", "host", "--name", name]
        program += [item for variable in given for item in ("--env", variable)]  # values stay out of process lists
        super().__init__(arguments(spec), {**os.environ, **given}, program=[*program, image])

    def interrupt(self, number: Signals) -> None:
        """Signal process 1 of the container, or the engine's command while there is no container yet."""
        if self.poll() is None:
            command = [self._engine, "kill", "--signal", number.name.removeprefix("SIG"), self._name]
            if subprocess.run(command, capture_output=True, check=False).returncode:
                super().interrupt(number)


class ContainerLauncher(TrainerLauncher):
    """Start containers of one image, whatever image the jobs name, with the variables of `environ`."""

    def __init__(self, image: str, reaper: Reaper, environ: Mapping[str, str], *, engine: str = "podman") -> None:
        super().__init__(reaper, environ)
        self._image, self._engine = image, engine
        self._count = 0

    def start(self, spec: Spec, job_name: str) -> TrainerProcess:
        self._count += 1
        name = f"rehearsal-{os.getpid()}-{job_name.rpartition('/')[2]}-{self._count}"
        given = {**self._environ, **variables(spec)}
        process = self.processes[job_name] = ContainerProcess(self._engine, name, self._image, spec, given)
        self._reaper.add(process.group)
        return process
