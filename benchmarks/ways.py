"""Define a way of taking checkpoints for the benchmark's loop, and list the ways."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from benchmarks.workload import Workload

BUCKET = "benchmark"


class Name(StrEnum):
    """Name the ways for the command line and the tables."""

    ARTICLE = "article"
    DCP_THREAD = "dcp-thread"
    DCP_PROCESS = "dcp-process"
    DCP_STREAMS = "dcp-process-8"
    OURS = "ours"


class Way(Protocol):
    """Take checkpoints of one workload."""

    def save(self) -> None:
        """Take a checkpoint. Training continues on return. No checkpoint may be in flight."""

    def busy(self) -> bool:
        """Return whether a checkpoint is in flight. Called after every step."""

    def finish(self) -> None:
        """Save the last step after SIGTERM, in the quickest way available."""

    def helpers(self) -> list[int]:
        """Return the processes that help with checkpoints."""

    def close(self) -> None:
        """End the helpers. Optional before the process exits."""


def build(name: Name, workload: Workload, folder: Path, remaining_s: Callable[[], float]) -> Way:
    """`folder` is on a local disk, `remaining_s` the time left after a SIGTERM."""
    match name:
        case Name.ARTICLE:
            from benchmarks.article import Article

            return Article(workload, folder)
        case Name.OURS:
            from benchmarks.ours import Ours

            return Ours(workload, remaining_s)
        case _:
            from benchmarks.dcp import Distributed

            process = name is not Name.DCP_THREAD
            return Distributed(workload, folder, process=process, streams=8 if name is Name.DCP_STREAMS else 1)


def commits(name: Name, object_name: str) -> bool:
    """Return whether this object completes a checkpoint."""
    match name:
        case Name.ARTICLE:
            return object_name.endswith("/checkpoint_meta.json")
        case Name.OURS:
            return "/manifests/" in object_name
        case _:
            return object_name.endswith("/.metadata")
