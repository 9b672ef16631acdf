"""Run the training processes of one size and collect their measurements and the server's."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import IO, Any

from benchmarks import loopback, memory
from benchmarks.loopback import Loopback
from benchmarks.trainee import Plan, arguments
from benchmarks.ways import Name, commits

INTO_A_SAVE_S = 0.2
"""Delay of a SIGTERM during a save, from its start."""
UP_TO_S = 0.2
"""Range of the random delay of a SIGTERM between saves."""
LEAVE_S = 120.0
STDERR_KEPT = 2000

Say = Callable[[str], None]


class MeasurementFailed(Exception):
    """Report a process that did not do what is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """Count steps during a save and without a save."""

    seconds: float
    steps: int
    idle_seconds: float
    idle_steps: int
    helper_cpu_s: float

    @property
    def lost_s(self) -> float:
        """Return the training time lost after the stall."""
        return self.seconds - self.steps * self.idle_seconds / self.idle_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """Hold the times of one SIGTERM."""

    durable_s: float
    """From the signal until the checkpoint of the last step is complete."""
    gone_s: float
    """From the signal to the end of the process."""


@dataclass(slots=True, kw_only=True)
class Measured:
    """Hold all measurements of one way at one size."""

    way: Name
    size: int = 0
    tensors: int = 0
    first_stall_s: float | None = None
    stalls_s: list[float] = field(default_factory=list)
    memcpy_s: list[float] = field(default_factory=list)
    torch_copy_s: list[float] = field(default_factory=list)
    stopped: list[Stopped] = field(default_factory=list)
    stopped_in_flight: list[Stopped] = field(default_factory=list)
    cycles: list[Cycle] = field(default_factory=list)
    baseline_bytes: int = 0
    """The trainer before its first checkpoint."""
    helper_bytes: int = 0
    """Its helpers at that time."""
    peak_bytes: int = 0
    """The peak of all processes during a save."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Choose the repetitions."""

    saves: int
    cycles: int
    stops: int
    """Processes stopped between saves; the same number is stopped during a save."""


def measure(way: Name, size: int, effort: Effort, server: Loopback, rng: random.Random, say: Say) -> Measured:
    """Measure one way at one size."""
    measured = Measured(way=way)
    asynchronous = way is not Name.ARTICLE
    brief = Plan(way=way, size=size, warm=asynchronous)
    long = replace(
        brief,
        warm=True,
        saves=effort.saves,
        memory=True,
        cycles=effort.cycles if asynchronous else 0,
        floor=way is Name.OURS,
    )
    for plan in [long, *[brief] * (effort.stops - 1)]:
        say(f"{way}: stall, memory, slowdown, then SIGTERM" if plan is long else f"{way}: SIGTERM again")
        measured.stopped.append(_run(plan, measured, server, rng))
        say(f"{way}: durable {measured.stopped[-1].durable_s:.2f} s after SIGTERM")
    for _ in range(effort.stops):
        say(f"{way}: SIGTERM while a save is in flight")
        measured.stopped_in_flight.append(_run(replace(brief, in_flight=True), measured, server, rng))
        say(f"{way}: durable {measured.stopped_in_flight[-1].durable_s:.2f} s after SIGTERM")
    return measured


def _run(plan: Plan, measured: Measured, server: Loopback, rng: random.Random) -> Stopped:
    with _started(plan, server) as (process, events), ExitStack() as watched:
        killed, peak = 0.0, memory.Peak(process.pid)
        for event in events:
            match event.pop("event"):
                case "baseline":
                    measured.size, measured.tensors = event["size"], event["tensors"]
                    if plan.memory:
                        measured.baseline_bytes = memory.bytes_of([process.pid])
                        measured.helper_bytes = memory.bytes_of(memory.processes(process.pid)[1:])
                case "first":
                    measured.first_stall_s = measured.first_stall_s or event["stall_s"]
                case "floor":
                    measured.memcpy_s.append(event["memcpy_s"])
                    measured.torch_copy_s.append(event["torch_s"])
                case "save":
                    measured.stalls_s.append(event["stall_s"])
                case "memory":
                    watched.enter_context(peak)
                case "memory-end":
                    watched.close()
                    measured.peak_bytes = peak.bytes
                case "cycle":
                    measured.cycles.append(Cycle(**event))
                case "kill-me":
                    time.sleep(INTO_A_SAVE_S if plan.in_flight else rng.uniform(0, UP_TO_S))
                    killed = time.monotonic()
                    process.send_signal(signal.SIGTERM)
        code = process.wait(LEAVE_S)
        gone = time.monotonic()
        if code != 128 + signal.SIGTERM:
            raise MeasurementFailed(f"{plan.way}: the training process ended with {code}")
    acknowledged = [it.time for it in server.acknowledged() if it.time > killed and commits(plan.way, it.name)]
    if not acknowledged:
        raise MeasurementFailed(f"{plan.way}: the training process left no checkpoint after SIGTERM")
    return Stopped(durable_s=acknowledged[-1] - killed, gone_s=gone - killed)


@contextmanager
def _started(plan: Plan, server: Loopback) -> Iterator[tuple[subprocess.Popen[str], Iterator[dict[str, Any]]]]:
    """Start the process and yield its messages. Show its standard error if it fails."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            arguments(plan), stdout=subprocess.PIPE, stderr=errors, text=True, env=server.environment()
        )
        try:
            assert process.stdout
            yield process, _events(process.stdout)
        except Exception as error:
            process.kill()
            process.wait()
            errors.seek(0)
            error.add_note(errors.read()[-STDERR_KEPT:])
            raise
        finally:
            process.kill()
            process.wait()


def _events(lines: IO[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.startswith("{"):
            yield json.loads(line)


def wire_s(server: Loopback, size: int, times: int) -> list[float]:
    """Measure the lower bound for the same bytes on the same network."""
    return [loopback.wire_s(server, size) for _ in range(times)]
