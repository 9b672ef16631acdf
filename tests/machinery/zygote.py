"""Trainer processes without the two seconds of importing torch: a process that has, and forks one per life.

A life is what `python -m task` is from its first line on: its own process group, arguments, environment, output
and exit code. The zygote has run no operation of torch when it forks, so a life computes what a fresh process does.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from tests.paths import REPOSITORY, SRC

START_S = 120.0
PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class Life:
    """One trainer process."""

    zygote: Zygote
    pid: int
    directory: Path
    code: int | None = None
    """Its exit code once it is known to have ended; minus the signal's number if one killed it."""

    @property
    def output(self) -> str:
        """What it has written to standard output so far."""
        return (self.directory / "stdout").read_text()

    @property
    def errors(self) -> str:
        """What it has written to standard error so far."""
        return (self.directory / "stderr").read_text()

    def kill(self, number: int = signal.SIGKILL, *, group: bool = True) -> None:
        """Send a signal to its whole group, uploader and data workers included, or to the trainer alone."""
        self.zygote.hear(0.0)
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(self.pid, number)

    def wait(self, timeout_s: float = 120.0) -> int:
        """The exit code. Raises `TimeoutError`, after killing it, if it does not end."""
        end = time.monotonic() + timeout_s
        while self.code is None:
            if time.monotonic() > end:
                self.kill()
                raise TimeoutError(f"still alive after {timeout_s:.0f} s:\n{self.output}{self.errors}")
            self.zygote.hear(end - time.monotonic())
        return self.code


@dataclass(slots=True)
class Zygote:
    """Use as a context manager. Its end is the end of every life."""

    env: Mapping[str, str] = field(default_factory=dict)
    """Of all lives, on top of this process's own environment."""
    _process: subprocess.Popen[bytes] | None = None
    _directory: tempfile.TemporaryDirectory[str] | None = None
    _lives: dict[int, Life] = field(default_factory=dict)
    _starts: int = 0
    _received: bytes = b""
    _started: Life | None = None
    _listening: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="zygote-")
        # -P: the folders here are named for the packages they test, and must not hide them.
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
        for life in list(self._lives.values()):
            life.kill()
        self._process.communicate()
        self._directory.cleanup()

    def start(self, args: Sequence[str], env_overrides: Mapping[str, str] | None = None) -> Life:
        """Begin a life with these arguments; it is under way when this returns."""
        assert self._process
        assert self._process.stdin
        self._starts += 1
        self._newest_directory.mkdir()
        for name in ("stdout", "stderr"):  # it may be read before the life has come to write it
            (self._newest_directory / name).touch()
        order = {"args": list(args), "env": dict(env_overrides or {}), "directory": str(self._newest_directory)}
        self._started = None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        end = time.monotonic() + START_S
        while self._started is None:
            if time.monotonic() > end:
                raise TimeoutError(f"no process after {START_S:.0f} s")
            self.hear(end - time.monotonic())
        return self._started

    @property
    def _newest_directory(self) -> Path:
        assert self._directory
        return Path(self._directory.name) / str(self._starts)

    def hear(self, timeout_s: float) -> None:
        """Take in what the zygote has to say, waiting at most so long for its first word."""
        assert self._process
        assert self._process.stdout
        # A proxy's thread kills while the test's own waits: one of them listens for both.
        if not self._listening.acquire(timeout=min(max(timeout_s, 0.0), 0.01)):
            return
        try:
            descriptor = self._process.stdout.fileno()
            if select.select([descriptor], [], [], max(timeout_s, 0.0))[0]:
                self._take_in(os.read(descriptor, 1 << 16))
        finally:
            self._listening.release()

    def _take_in(self, data: bytes) -> None:
        if not data:
            raise RuntimeError("the zygote is gone")
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            word: dict[str, Any] = json.loads(line)
            if "started" in word:
                pid = word["started"]
                self._started = self._lives[pid] = Life(self, pid, self._newest_directory)
            else:
                self._lives.pop(word["ended"]).code = word["code"]


def serve() -> None:
    """The zygote's side: orders on standard input, news on standard output, until the input ends."""
    news = os.dup(1)
    os.dup2(2, 1)  # no library's chatter among the news
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
                _say(news, {"ended": pid, "code": code})
        if 0 in ready:
            data = os.read(0, 1 << 16)
            if not data:
                break
            *lines, orders = (orders + data).split(b"\n")
            for line in lines:
                pid = _fork(json.loads(line))
                alive.add(pid)
                _say(news, {"started": pid})
    for pid in alive:
        os.killpg(pid, signal.SIGKILL)


def _import_everything() -> None:
    for module in (
        "spot.storage.gcs",
        "spot.storage.local",
        "safetensors.torch",
        "tensorboardX",
        "torch._inductor",  # PyTorch's optimizers load it when the first is made: one more second
        "spot.trainer.training",
    ):
        importlib.import_module(module)


def _say(news: int, word: Mapping[str, int]) -> None:
    os.write(news, json.dumps(word).encode() + b"\n")


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
        with contextlib.suppress(OSError):  # the child does it, too: whoever is first
            os.setpgid(pid, pid)
        return pid
    try:
        _live(order, zygote)
    finally:
        os._exit(70)


def _live(order: Mapping[str, Any], zygote: int) -> NoReturn:
    """Become what `python -m task` would be."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
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
    from spot.trainer.main import entry

    entry(model="tests.machinery.fixture_task.model", data="tests.machinery.fixture_task.data")
    raise AssertionError("the trainer's entry returns to nobody")


if __name__ == "__main__":
    serve()
