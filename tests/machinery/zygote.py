"""Fork trainer processes from a process that has imported torch, which saves two seconds per start.

A forked process has its own process group, arguments, environment, output and exit code, as `python -m task` does. The
zygote has run no operation of torch when it forks, so a fork computes the same as a fresh process.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from spot.trainer.uploader.messages import LeaseTiming
from tests.machinery import interrupt
from tests.machinery.fixture_task import PACKAGE
from tests.paths import REPOSITORY, SRC

START_S = 120.0
STEP_S = "0.01"
"""Each step leaves the core to the uploader for so long, as a step on a GPU does; the variable STEP_S overrides it."""
PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class TrainerProcess:
    """Control one trainer process."""

    zygote: Zygote
    pid: int
    directory: Path
    code: int | None = None
    """The exit code, minus the signal number after a kill; None while running."""

    @property
    def output(self) -> str:
        """Return the standard output so far."""
        return (self.directory / "stdout").read_text()

    @property
    def errors(self) -> str:
        """Return the standard error so far."""
        return (self.directory / "stderr").read_text()

    def kill(self, number: int = signal.SIGKILL, *, group: bool = True) -> None:
        """Send a signal to the process group, with uploader and data workers, or to the trainer alone."""
        self.zygote.receive(0.0)
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(self.pid, number)

    def wait(self, timeout_s: float = 120.0) -> int:
        """Return the exit code. Kill the process and raise `TimeoutError` if it does not end."""
        end = time.monotonic() + timeout_s
        while self.code is None:
            if time.monotonic() > end:
                self.kill()
                raise TimeoutError(f"still alive after {timeout_s:.0f} s:\n{self.output}{self.errors}")
            self.zygote.receive(end - time.monotonic())
        return self.code


@dataclass(slots=True)
class Zygote:
    """Start trainer processes; leaving the context kills them all."""

    env: Mapping[str, str] = field(default_factory=dict)
    """Variables of all trainers, on top of this process's environment."""
    _process: subprocess.Popen[bytes] | None = None
    _directory: tempfile.TemporaryDirectory[str] | None = None
    _trainers: dict[int, TrainerProcess] = field(default_factory=dict)
    _starts: int = 0
    _received: bytes = b""
    _started: TrainerProcess | None = None
    _listening: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="zygote-")
        # -P: folders of tests have the names of packages and must not hide them.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.machinery.zygote"],
            env={**os.environ, "PYTHONPATH": f"{SRC}{os.pathsep}{REPOSITORY}", "OMP_NUM_THREADS": "1", **self.env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process
        assert self._directory
        for process in list(self._trainers.values()):
            process.kill()
        self._process.communicate()
        self._directory.cleanup()

    def start(
        self,
        args: Sequence[str],
        env_overrides: Mapping[str, str] | None = None,
        *,
        package: str = PACKAGE,
        folder: Path | None = None,
    ) -> TrainerProcess:
        """Start a trainer with these arguments, as `python -m PACKAGE` does in `folder`."""
        assert self._process
        assert self._process.stdin
        self._starts += 1
        self._newest_directory.mkdir()
        for name in ("stdout", "stderr"):  # may be read before the trainer opens it
            (self._newest_directory / name).touch()
        order = {
            "args": list(args),
            "env": dict(env_overrides or {}),
            "directory": str(self._newest_directory),
            "package": package,
            "folder": str(folder) if folder else None,
        }
        self._started = None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        end = time.monotonic() + START_S
        while self._started is None:
            if time.monotonic() > end:
                raise TimeoutError(f"no process after {START_S:.0f} s")
            self.receive(end - time.monotonic())
        return self._started

    @property
    def _newest_directory(self) -> Path:
        assert self._directory
        return Path(self._directory.name) / str(self._starts)

    def receive(self, timeout_s: float) -> None:
        """Handle messages of the zygote, waiting up to `timeout_s` for the first."""
        assert self._process
        assert self._process.stdout
        # A proxy's thread may kill while the test waits: one thread reads for both.
        if not self._listening.acquire(timeout=min(max(timeout_s, 0.0), 0.01)):
            return
        try:
            descriptor = self._process.stdout.fileno()
            if select.select([descriptor], [], [], max(timeout_s, 0.0))[0]:
                self._handle(os.read(descriptor, 1 << 16))
        finally:
            self._listening.release()

    def _handle(self, data: bytes) -> None:
        if not data:
            raise RuntimeError("the zygote has ended")
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            message: dict[str, Any] = json.loads(line)
            if "started" in message:
                pid = message["started"]
                self._started = self._trainers[pid] = TrainerProcess(self, pid, self._newest_directory)
            else:
                self._trainers.pop(message["ended"]).code = message["code"]


def serve() -> None:
    """Run the zygote: read orders from standard input and report to standard output, until the input ends."""
    reports = os.dup(1)
    os.dup2(2, 1)  # keep output of libraries out of the messages
    _import_everything()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    orders, alive = b"", set[int]()
    while True:
        ready = select.select([0, woken], [], [])[0]
        if woken in ready:
            os.read(woken, 1 << 10)
            for pid, code in _ended(alive):
                _report(reports, {"ended": pid, "code": code})
        if 0 in ready:
            data = os.read(0, 1 << 16)
            if not data:
                break
            *lines, orders = (orders + data).split(b"\n")
            for line in lines:
                pid = _fork(json.loads(line))
                alive.add(pid)
                _report(reports, {"started": pid})
    for pid in alive:
        os.killpg(pid, signal.SIGKILL)


def _import_everything() -> None:
    for module in (
        "spot.storage.gcs",
        "spot.storage.local",
        "safetensors.torch",
        "tensorboardX",
        "torch._inductor",  # loaded by the first optimizer, which takes a second
        "spot.trainer.loop",
        "transformers.models.gpt2.modeling_gpt2",  # a task of the tests has it
    ):
        importlib.import_module(module)


def _report(reports: int, message: Mapping[str, int]) -> None:
    os.write(reports, json.dumps(message).encode() + b"\n")


def _ended(alive: set[int]) -> list[tuple[int, int]]:
    found = []
    for pid in sorted(alive):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            alive.remove(pid)
            found.append((pid, os.waitstatus_to_exitcode(status)))
    return found


def _fork(order: Mapping[str, Any]) -> int:
    zygote = os.getpid()
    if pid := os.fork():
        with contextlib.suppress(OSError):  # the child calls it as well
            os.setpgid(pid, pid)
        return pid
    try:
        _run_trainer(order, zygote)
    finally:
        os._exit(70)


def faster(speed: float) -> LeaseTiming:
    """Return the times of a hand-over, divided by `speed`."""
    return LeaseTiming(**{name: seconds / speed for name, seconds in asdict(LeaseTiming()).items()})


def _run_trainer(order: Mapping[str, Any], zygote: int) -> NoReturn:
    """Run the trainer as `python -m PACKAGE` does."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits "ignore"
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != zygote:
        os._exit(70)
    os.environ.update(order["env"])
    for descriptor, name in ((0, os.devnull), (1, f"{order['directory']}/stdout"), (2, f"{order['directory']}/stderr")):
        opened = os.open(name, os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(opened, descriptor)
    os.closerange(3, 64)  # the zygote's own ends of its pipes
    sys.argv = ["trainer", *order["args"]]
    from spot.trainer.context import Runtime
    from spot.trainer.distributed.group import PeerTiming
    from spot.trainer.start import set_runtime

    step_s = float(os.environ.get("STEP_S", STEP_S))
    runtime = Runtime(
        timing=faster(float(os.environ.get("LEASE_SPEED", "1"))),
        peers=PeerTiming(**json.loads(os.environ.get("PEERS", "{}"))),
        on_step=lambda step, total: time.sleep(step_s),  # noqa: ARG005
    )
    set_runtime(runtime)
    if order["folder"]:
        sys.path.insert(0, order["folder"])
    interrupt.arm()
    runpy.run_module(order["package"], run_name="__main__")
    raise AssertionError("entry() ends the process")


if __name__ == "__main__":
    serve()
