"""Run every probe against emulators whose answers a test chooses: as assumed, or all different."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from signal import SIGKILL, SIGTERM, Signals
from typing import Any

from spot.emulators.capacity import EmulatedCapacity
from spot.emulators.faults import Call, Injection, Method, Reply
from spot.emulators.job_lifecycle import Behaviour, Spec, cluster_specs
from spot.emulators.jobs import JobTable
from spot.emulators.vertex_server import VertexServer, error_reply
from tests.machinery.clocks import START, ManualClock
from tests.machinery.live import container

PROJECT, REGION = "my-project", "us-central1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """State what the services answer, by probe."""

    refusals: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    """Status and text of a create."""
    rewritten: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Fields of an ended job that replace those of the emulator."""
    restarts: Mapping[str, int] = field(default_factory=dict)
    """Of the container, inside the job; `peer` is the second replica of lost-replica."""
    surroundings: Mapping[str, object] = field(default_factory=dict)
    behaviour: Behaviour = field(
        default_factory=lambda: Behaviour(
            queued=timedelta(),
            pending=timedelta(minutes=3),
            error_delay=timedelta(minutes=1),
            cancelling=timedelta(),
            grace_s=0.5,
        )
    )
    sends_sigterm: bool = True
    list_lag: timedelta = timedelta()


class ProbeContainer:
    """Run one replica as a process."""

    def __init__(self, action: str, command: Sequence[str], environ: Mapping[str, str], *, sends_sigterm: bool) -> None:
        self._action, self._sends_sigterm, self._is_settled = action, sends_sigterm, False
        self._process = subprocess.Popen(command, env=environ, process_group=0, stdout=subprocess.PIPE)
        self.peer: ProbeContainer | None = None
        """Gets SIGTERM when this one has ended."""

    def settle(self) -> None:
        """Wait until the probe has reported, and has ended if it ends by itself. No test depends on its speed."""
        if self._is_settled:
            return
        self._is_settled = True
        assert self._process.stdout
        self._process.stdout.readline()
        if self._action == "memory":
            self.interrupt(SIGKILL)
        if self._action != "hold":
            self._process.wait()

    def poll(self) -> int | None:
        code = self._process.poll()
        if code is not None and self.peer:
            self.peer._process.send_signal(SIGTERM)
            self.peer = None
        return code

    def interrupt(self, number: Signals) -> None:
        if self._process.poll() is not None:
            return
        if number is SIGTERM and self._sends_sigterm:
            self._process.send_signal(SIGTERM)
        else:
            os.killpg(self._process.pid, SIGKILL)


@dataclass(slots=True)
class ProbeLauncher:
    """Start the containers as the requests ask for them."""

    variant: Variant
    environ: Mapping[str, str]
    started: list[ProbeContainer] = field(default_factory=list)

    def start(self, spec: Spec, job_name: str) -> Sequence[ProbeContainer]:  # noqa: ARG002  # a Launcher
        pools = [pool["containerSpec"] for pool in spec["workerPoolSpecs"]]
        if pools[0]["imageUri"].endswith("0" * 64):
            raise OSError("no such image")
        probe = pools[0]["args"][-1].rpartition("/")[2]
        specs = cluster_specs(spec, [f"host:{number}" for number in range(len(pools))])
        replicas = []
        for number, pool in enumerate(pools):
            assert pool["command"] == ["python", "-m", "spot.trainer.probe"]
            name = "peer" if number else probe
            around = {**self.variant.surroundings, "restarts": self.variant.restarts.get(name, 0)}
            environ = {**self.environ, container.VARIABLE: json.dumps(around), "CLUSTER_SPEC": specs[number]}
            command = [sys.executable, "-m", container.MODULE, *pool["args"]]
            action = pool["args"][0]
            replicas.append(ProbeContainer(action, command, environ, sends_sigterm=self.variant.sends_sigterm))
        if len(replicas) > 1 and self.variant.restarts.get("peer"):  # the variant that also signals the peers
            replicas[1].peer = replicas[0]
        self.started += replicas
        return replicas


@dataclass(slots=True)
class LiveWorld:
    """Hold an emulated Vertex AI of one variant; its `rule` is for the server."""

    variant: Variant
    clock: ManualClock = field(init=False)
    launcher: ProbeLauncher = field(init=False)
    jobs: JobTable = field(init=False)
    server: VertexServer = field(init=False)

    def __post_init__(self) -> None:
        self.clock = ManualClock(on_sleep=self._settle)
        self.launcher = ProbeLauncher(self.variant, dict(os.environ))
        self.jobs = JobTable(EmulatedCapacity(), self.launcher, self.clock, self.variant.behaviour)

    def rule(self, call: Call) -> Injection | None:
        if call.method is Method.CREATE and call.request:
            refusal = self.variant.refusals.get(call.request.labels["probe"])
            return (lambda _: error_reply(*refusal)) if refusal else None
        if call.method is Method.LIST and self.clock.now() - START < self.variant.list_lag:
            return lambda _: (200, {"customJobs": []})
        return self._rewrite if call.method is Method.GET else None

    def _settle(self, _: float) -> None:
        if not self.launcher.started:
            self.clock.advance(self.variant.behaviour.pending)
        self.jobs.advance()
        for one in self.launcher.started:
            one.settle()

    def _rewrite(self, execute: Any) -> Reply:
        status, job = execute()
        if job.get("error") or job.get("state") == 4:
            job = {**job, **self.variant.rewritten.get(job["labels"]["probe"], {})}
        return status, job

    def running(self) -> list[str]:
        """Return the jobs that have not ended."""
        self.jobs.advance()
        return [job.name for job in self.jobs.list(PROJECT, REGION).jobs if not job.state.ended]

    def close(self) -> None:
        for one in self.launcher.started:
            one.interrupt(SIGKILL)
            one._process.wait()
