"""Run the trainer as a process of its own group, and read its log."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

TRAINER = (sys.executable, "-u", "-m", "task")
_STEP = re.compile(r"\bstep (\d+)")


class TrainerProcess:
    """Run one start of the trainer."""

    def __init__(
        self, arguments: Sequence[str], environ: Mapping[str, str], *, program: Sequence[str] = TRAINER
    ) -> None:
        self._process = subprocess.Popen(
            [*program, *arguments],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self.step = 0
        """The highest step in the log: steps after the newest checkpoint are recorded nowhere else."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self, timeout_s: float) -> int | None:
        """Return the exit code, negative for a signal; None if it still runs."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        self._reader.join()
        return code

    @property
    def group(self) -> int:
        """Return the id of its process group."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def interrupt(self, number: signal.Signals) -> None:
        """Signal the whole group, as the end of a container does."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # another thread has just reaped it
                os.killpg(self._process.pid, number)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip())
            self.step = max(self.step, *map(int, _STEP.findall(line)), 0)
