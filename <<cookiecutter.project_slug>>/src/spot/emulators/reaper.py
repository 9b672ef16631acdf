"""A process that outlives this one by a moment, and ends what this one left running.

PR_SET_PDEATHSIG would not do: it fires when the *thread* that started a process ends, and not for a container.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Self


class Reaper:
    """Holds what is to be done when this process is gone. A context manager; leaving it carries the will out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._executor = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"import sys; sys.path[:] = {sys.path!r}; from spot.emulators import reaper as w; w.main()",
            ],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that what ends this process does not end it too
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def kill_group(self, group: int, *, name: str) -> None:
        """Kill this process group."""
        self._tell({"name": name, "group": group})

    def run(self, command: Sequence[str], *, name: str) -> None:
        """Run this command."""
        self._tell({"name": name, "command": [*command]})

    def forget(self, name: str) -> None:
        """It has ended, and its id may be another's soon."""
        self._tell({"name": name})

    def close(self) -> None:
        assert self._executor.stdin is not None
        self._executor.stdin.close()
        self._executor.wait()

    def _tell(self, item: dict[str, object]) -> None:
        assert self._executor.stdin is not None
        with self._lock:
            self._executor.stdin.write(json.dumps(item) + "\n")
            self._executor.stdin.flush()


def execute(lines: IO[str]) -> None:
    """Collect until the writer is gone, then carry out what is left."""
    will: dict[str, dict[str, object]] = {}
    for line in lines:
        item = json.loads(line)
        will[item["name"]] = item
    for item in will.values():
        match item:
            case {"group": int(group)}:
                with suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)
            case {"command": list(command)}:
                with suppress(OSError):
                    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def main() -> None:
    """The executor, which only the end of its standard input can stop."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    execute(sys.stdin)
