"""The trainer, or a container of it, as a real process of its own group, followed line by line."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

TRAINER = (sys.executable, "-u", "-m", "task")
_BEGINS = re.compile(r"run \S+ begins, (?P<total>\d+) steps|step (?P<step>\d+) of \d+: resumed from")
_STEP = re.compile(r"step (\d+) of \d+ \(")
_DURABLE = re.compile(r"step (\d+): checkpoint durable")


@dataclass(slots=True)
class Seen:
    """What the process has said so far."""

    lines: list[str] = field(default_factory=list)
    training_since: float | None = None
    """Seconds from its start until it had everything loaded."""
    first_step: int = 0
    step: int = 0
    """The newest step it told of."""
    durable_step: int = 0


class TrainerProcess:
    """One start of the trainer."""

    def __init__(
        self, arguments: Sequence[str], environ: Mapping[str, str], *, program: Sequence[str] = TRAINER
    ) -> None:
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            [*program, *arguments],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.seen = Seen()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self, timeout_s: float) -> int | None:
        """The exit code, negative for a signal; None if it still runs."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        self._reader.join()
        return code

    @property
    def group(self) -> int:
        """The id of its process group."""
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None if it still runs."""
        return self._process.poll()

    def interrupt(self, number: signal.Signals) -> None:
        """Signal the whole group, as the end of a container does."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # another thread has just seen its end
                os.killpg(self._process.pid, number)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._note(line.rstrip())

    def _note(self, line: str) -> None:
        seen = self.seen
        seen.lines.append(line)
        if match := _BEGINS.search(line):
            seen.training_since = time.monotonic() - self._began
            seen.first_step = seen.step = seen.durable_step = int(match["step"] or 0)
        elif match := _STEP.search(line):
            seen.step = int(match[1])
        elif match := _DURABLE.search(line):
            seen.durable_step = max(seen.durable_step, int(match[1]))
