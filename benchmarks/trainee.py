"""Train as the measured process: `python -m benchmarks.trainee PLAN`, started by measure.py.

It says where it is in one JSON line each on standard output, trains until SIGTERM, and leaves with 143.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks import ways
from benchmarks.ways import Name, Way
from benchmarks.workload import Workload, size_of
from spot.trainer.runtime.signals import StopSignal

GRACE_S = 120.0
"""Longer than the slowest way needs."""
PATIENCE_S = 60.0
"""The longest wait for a SIGTERM."""
BASELINE_S = 0.6
IDLE_S = 4.0
"""The longest time to count steps without a save."""
AFTERMATH_S = 0.5
"""Time counted after a save for the uploader's remaining work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Choose what one training process measures."""

    way: Name
    size: int
    warm: bool = True
    """Save once before measuring, to touch fresh memory."""
    saves: int = 0
    """Timed saves after it."""
    memory: bool = False
    """Mark start and end of one more save, to measure memory."""
    cycles: int = 0
    """Repetitions of counting steps during a save and without."""
    floor: bool = False
    """Time plain copies of the state between the saves."""
    in_flight: bool = False
    """Send SIGTERM during a save."""


class Trainee:
    """Run the training loop through the plan."""

    def __init__(self, plan: Plan, folder: Path, stop: StopSignal) -> None:
        self._plan = plan
        self._stop = stop
        self._workload = Workload(plan.size)
        self._way: Way = ways.build(plan.way, self._workload, folder, stop.remaining_s)
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)

    def run(self) -> None:
        plan = self._plan
        self._train_for(BASELINE_S)  # what comes first is slower
        size = size_of(self._workload.tensors())
        _say("baseline", size=size, tensors=len(self._workload.tensors()))
        self._train_for(BASELINE_S)
        _say("ready")
        if plan.warm:
            _say("first", stall_s=self._save_and_wait())
        copies = _Copies(self._workload) if plan.floor else None
        for _ in range(plan.saves):
            if copies:
                torch.set_num_threads(self._threads)
                _say("floor", memcpy_s=copies.memcpy(), torch_s=copies.torch())
                torch.set_num_threads(1)
            _say("save", stall_s=self._save_and_wait())
        del copies
        if plan.memory:
            _say("memory")
            self._save_and_wait()
            _say("memory-end")
        for _ in range(plan.cycles):
            self._cycle()
        if plan.in_flight:
            _say("kill-me")
            self._save()
        else:
            _say("kill-me")
        self._train(lambda: self._stop.requested)
        torch.set_num_threads(self._threads)
        self._way.finish()
        _say("durable", step=self._workload.steps)

    def _train(self, until: Callable[[], bool]) -> int:
        """Train until the condition holds after a step; return the number of steps."""
        first, end = self._workload.steps, time.monotonic() + PATIENCE_S
        while True:
            self._workload.step()
            if until():
                return self._workload.steps - first
            if time.monotonic() > end:
                raise TimeoutError("what this process trains for did not come")

    def _train_for(self, seconds: float) -> int:
        end = time.monotonic() + seconds
        return self._train(lambda: not self._way.busy() and time.monotonic() >= end)

    def _save_and_wait(self) -> float:
        """Save, train until durable, and return the stall."""
        began = time.perf_counter()
        self._save()
        stall_s = time.perf_counter() - began
        self._train(lambda: not self._way.busy())
        return stall_s

    def _save(self) -> None:
        """Save with PyTorch's default number of threads; the steps use one."""
        torch.set_num_threads(self._threads)
        self._way.save()
        torch.set_num_threads(1)

    def _cycle(self) -> None:
        """Count the steps during a save, then without a save, both without the stall."""
        cpu = _cpu_seconds(self._way.helpers())
        self._save()
        began = time.perf_counter()
        steps = self._train(lambda: not self._way.busy())
        steps += self._train_for(AFTERMATH_S)
        during = time.perf_counter() - began
        cpu = _cpu_seconds(self._way.helpers()) - cpu
        began = time.perf_counter()
        idle_steps = self._train_for(min(during, IDLE_S))
        idle = time.perf_counter() - began
        _say("cycle", seconds=during, steps=steps, idle_seconds=idle, idle_steps=idle_steps, helper_cpu_s=cpu)


class _Copies:
    """Copy the same tensors into memory touched before: the lower bound of a snapshot."""

    def __init__(self, workload: Workload) -> None:
        self._tensors = [tensor.detach() for tensor in workload.tensors()]
        self._memory = mmap.mmap(-1, size_of(self._tensors))
        whole = torch.frombuffer(self._memory, dtype=torch.uint8)
        whole.zero_()
        self._targets, start = [], 0
        for tensor in self._tensors:
            end = start + tensor.numel() * tensor.element_size()
            self._targets.append(whole[start:end].view(tensor.dtype).view(tensor.shape))
            start = end

    def memcpy(self) -> float:
        """Copy one after the other on one core."""
        import ctypes

        began = time.perf_counter()
        for target, tensor in zip(self._targets, self._tensors, strict=True):
            ctypes.memmove(target.data_ptr(), tensor.data_ptr(), tensor.numel() * tensor.element_size())
        return time.perf_counter() - began

    def torch(self) -> float:
        """Copy with PyTorch, which uses all cores for a large tensor."""
        began = time.perf_counter()
        for target, tensor in zip(self._targets, self._tensors, strict=True):
            target.copy_(tensor)
        return time.perf_counter() - began


def _cpu_seconds(processes: list[int]) -> float:
    ticks = 0
    for process in processes:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _say(event: str, **facts: object) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)


def main() -> None:
    values = json.loads(sys.argv[1])
    plan = Plan(**{**values, "way": Name(values["way"])})
    stop = StopSignal()
    stop.grace_s = GRACE_S
    stop.install()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        Trainee(plan, Path(folder), stop).run()
    sys.stdout.flush()
    os._exit(stop.exit_code)  # whatever is left running belongs to this process and goes with it


def arguments(plan: Plan) -> list[str]:
    """Return the command that runs `plan`."""
    return [sys.executable, "-m", "benchmarks.trainee", json.dumps(asdict(plan))]


if __name__ == "__main__":
    main()
