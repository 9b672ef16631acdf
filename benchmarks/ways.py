"""A way of taking checkpoints, as the benchmark's training loop sees it, and which there are."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from benchmarks.workload import Workload

BUCKET = "benchmark"


class Name(StrEnum):
    """The ways, as they are called on the command line and in the tables."""

    ARTICLE = "article"
    DCP_THREAD = "dcp-thread"
    DCP_PROCESS = "dcp-process"
    DCP_STREAMS = "dcp-process-8"
    OURS = "ours"


class Way(Protocol):
    """Checkpoints of one workload."""

    def save(self) -> None:
        """Take one. On return training may go on; none may be under way."""

    def busy(self) -> bool:
        """Whether one is under way. Asked after every step."""

    def finish(self) -> None:
        """After SIGTERM: make the last step durable, by whatever is quickest for this way."""

    def helpers(self) -> list[int]:
        """Processes beside the trainer that work on checkpoints."""

    def close(self) -> None:
        """End those processes. A trainer that leaves need not call it."""


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
    """Whether this object is the one that ends a checkpoint: what is read to find the others."""
    match name:
        case Name.ARTICLE:
            return object_name.endswith("/checkpoint_meta.json")
        case Name.OURS:
            return "/manifests/" in object_name
        case _:
            return object_name.endswith("/.metadata")
