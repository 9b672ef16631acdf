"""Start, restart and talk to the uploader process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Protocol

from spot.trainer.runtime.signals import signals_held
from spot.trainer.uploader.messages import Command, Event


class Uploader(Protocol):
    """Upload what the trainer sends."""

    def send(self, command: Command) -> None:
        """Send a command. Raise `EOFError` if the process is gone."""

    def receive(self, timeout_s: float) -> Iterator[Event]:
        """Yield events, waiting up to `timeout_s` for the first. Raise `EOFError` if the process is gone."""

    def restart(self) -> int:
        """Replace the process and return the exit code of the old process."""

    def close(self) -> None:
        """Kill the process. Committed checkpoints stay, an upload in flight is lost."""


class UploaderProcess:
    """Run `spot.trainer.uploader.worker`. Started before torch loads, so that it is ready for the first save."""

    def __init__(self, store_uri: str, buffer_fd: int, keep: int) -> None:
        self._arguments = (store_uri, buffer_fd, keep)
        self._process, self._channel = _spawn(*self._arguments)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, command: Command) -> None:
        try:
            self._channel.send(command)
        except OSError:
            raise EOFError from None

    def receive(self, timeout_s: float) -> Iterator[Event]:
        try:
            while self._channel.poll(timeout_s):
                yield self._channel.recv()
                timeout_s = 0.0
        except OSError:
            raise EOFError from None

    def restart(self) -> int:
        self.close()
        code = self._process.returncode
        self._process, self._channel = _spawn(*self._arguments)
        return code

    def close(self) -> None:
        self._channel.close()
        self._process.kill()
        self._process.wait()


def _spawn(store_uri: str, buffer_fd: int, keep: int) -> tuple[subprocess.Popen[bytes], "Connection[Command, Event]"]:
    ours, theirs = Pipe()
    arguments = (buffer_fd, theirs.fileno(), os.getpid(), keep, store_uri)
    with signals_held():
        process = subprocess.Popen(
            [sys.executable, "-m", "spot.trainer.uploader.worker", *map(str, arguments)],
            pass_fds=(buffer_fd, theirs.fileno()),
            stdin=subprocess.DEVNULL,
        )
    theirs.close()
    return process, ours
