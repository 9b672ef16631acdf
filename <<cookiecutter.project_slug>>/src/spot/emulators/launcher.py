"""How the container of a job is started: as the trainer, as a real container, or not at all."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from signal import SIGTERM, Signals
from typing import Any, Protocol

from spot.emulators.reaper import Reaper
from spot.emulators.trainer_process import TRAINER, TrainerProcess

Spec = Mapping[str, Any]
"""The `jobSpec` of a CustomJob in JSON."""


class Process(Protocol):
    """What runs in a job."""

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None if it still runs."""
        ...

    def interrupt(self, number: Signals) -> None:
        """Send a signal; nothing happens if it has ended."""
        ...


class Launcher(Protocol):
    def start(self, spec: Spec, job_name: str) -> Process:
        """Raises OSError if it cannot be started."""
        ...


class NoProcess:
    """Runs until it is told how to end."""

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


class NoLauncher:
    """Jobs in which nothing runs. `on_sigterm` is how they exit on SIGTERM; None: they do not heed it."""

    def __init__(self, *, on_sigterm: int | None = 143) -> None:
        self.on_sigterm = on_sigterm
        self.processes: dict[str, NoProcess] = {}
        """The newest of each job."""

    def start(self, spec: Spec, job_name: str) -> NoProcess:  # noqa: ARG002  # a Launcher
        process = self.processes[job_name] = NoProcess(self.on_sigterm)
        return process


class TrainerLauncher:
    """Jobs run the trainer of this project, in a process group of its own."""

    def __init__(self, environ: Mapping[str, str], will: Reaper, *, program: Sequence[str] = TRAINER) -> None:
        self._environ, self._will, self._program = environ, will, program
        self.processes: dict[str, TrainerProcess] = {}
        """The newest of each job."""

    def start(self, spec: Spec, job_name: str) -> TrainerProcess:
        for name in [name for name, earlier in self.processes.items() if earlier.poll() is not None]:
            self._will.forget(name)
        process = TrainerProcess(_arguments(spec), {**self._environ, **variables(spec)}, program=self._program)
        self._will.kill_group(process.group, name=job_name)
        self.processes[job_name] = process
        return process


class ContainerProcess:
    """A container, through the command that runs it."""

    def __init__(self, engine: str, name: str, client: TrainerProcess) -> None:
        self._engine, self._name, self.client = engine, name, client

    def poll(self) -> int | None:
        return self.client.poll()

    def interrupt(self, number: Signals) -> None:
        """To its process 1; as long as there is no container yet, to the command that makes it."""
        if self.client.poll() is None:
            command = [self._engine, "kill", "--signal", number.name.removeprefix("SIG"), self._name]
            if subprocess.run(command, capture_output=True, check=False).returncode:
                self.client.interrupt(number)


class ContainerLauncher:
    """Jobs run containers of this image on this machine, whatever image they name.

    `environ` is given to the containers; it and the job's own variables are passed by name, not shown in any list of
    processes.
    """

    def __init__(self, image: str, environ: Mapping[str, str], will: Reaper, *, engine: str = "podman") -> None:
        self._image, self._environ, self._will, self._engine = image, environ, will, engine
        self._count = 0
        self.processes: dict[str, ContainerProcess] = {}
        """The newest of each job."""

    def start(self, spec: Spec, job_name: str) -> ContainerProcess:
        for job in [job for job, earlier in self.processes.items() if earlier.poll() is not None]:
            self._will.forget(f"{job} client")
        self._count += 1
        name = f"rehearsal-{os.getpid()}-{job_name.rpartition('/')[2]}-{self._count}"
        given = {**self._environ, **variables(spec)}
        program = [self._engine, "run", "--rm", "--network", "host", "--name", name]
        program += [item for variable in given for item in ("--env", variable)]
        client = TrainerProcess(_arguments(spec), {**os.environ, **given}, program=[*program, self._image])
        self._will.kill_group(client.group, name=f"{job_name} client")  # which might not have made it yet
        self._will.run([self._engine, "rm", "--force", name], name=job_name)
        process = self.processes[job_name] = ContainerProcess(self._engine, name, client)
        return process


def variables(spec: Spec) -> dict[str, str]:
    """The environment that Vertex AI gives the container of such a job."""
    base = spec.get("baseOutputDirectory", {}).get("outputUriPrefix", "").rstrip("/")
    folders = {"AIP_MODEL_DIR": "model", "AIP_CHECKPOINT_DIR": "checkpoints", "AIP_TENSORBOARD_LOG_DIR": "logs"}
    own = {item["name"]: item.get("value", "") for item in _container(spec).get("env", [])}
    return {**({name: f"{base}/{folder}/" for name, folder in folders.items()} if base else {}), **own}


def _arguments(spec: Spec) -> list[str]:
    return [*_container(spec).get("args", [])]


def _container(spec: Spec) -> Mapping[str, Any]:
    container: Mapping[str, Any] = spec["workerPoolSpecs"][0]["containerSpec"]
    return container
