"""Kill the process groups that this process leaves behind, however it ends.

PR_SET_PDEATHSIG does not suffice: it fires when the *thread* that started a process ends, and not for grandchildren.
"""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import IO, Self


class Reaper:
    """Kill the added process groups on exit of the context, or at the end of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import main; main()"],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that a signal to this process group does not reach it
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, group: int) -> None:
        """Add a process group."""
        self._send(f"+{group}")

    def forget(self, group: int) -> None:
        """Remove a group that has ended: its id may be reused."""
        self._send(f"-{group}")

    def close(self) -> None:
        """Kill the groups, and wait until that is done."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()


def run(lines: IO[str]) -> None:
    """Read added and removed groups until the writer is gone, then kill the remaining groups."""
    groups = set[int]()
    for line in lines:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def main() -> None:
    """Run the reaper's process, which ends only with its standard input."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    run(sys.stdin)
