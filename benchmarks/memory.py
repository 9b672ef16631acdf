"""Measure the memory of a process tree, counting shared pages once.

Pages of files are left out: those are programs and libraries, whose share changes with every other program that
maps them, and the system can drop them.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from types import TracebackType

EVERY_S = 0.05
COUNTED = ("Pss_Anon:", "Pss_Shmem:")


def processes(root: int) -> list[int]:
    """Return the process and its descendants."""
    found = [root]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found.extend(int(child) for child in task.read_text().split())
    return found


def bytes_of(pids: list[int]) -> int:
    """Return the proportional set size: a page of n processes counts 1/n in each."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(COUNTED):
                    total += int(line.split()[1]) << 10
    return total


class Peak:
    """Record the peak memory of a process tree while the context is entered."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)
        self.bytes = 0

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.bytes = max(self.bytes, bytes_of(processes(self._root)))
            if self._over.wait(EVERY_S):
                return
