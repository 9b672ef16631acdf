"""Run ranks as threads of this process, which exchange values by JSON as the ranks of processes do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from spot.trainer.distributed.group import Group, Outcome, Vote

PATIENCE_S = 60.0

_Result = TypeVar("_Result")


@dataclass(slots=True)
class _Table:
    world: int
    machines: int
    barrier: threading.Barrier = field(init=False)
    values: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.world)
        self.values = [""] * self.world


@dataclass(frozen=True, slots=True)
class ThreadGroup:
    """Be one of several ranks. All of them fail with `BrokenBarrierError` when one fails."""

    rank: int
    table: _Table

    @property
    def world(self) -> int:
        return self.table.world

    @property
    def local_world(self) -> int:
        return self.world // self.table.machines

    @property
    def node(self) -> int:
        return self.rank // self.local_world

    def gather(self, value: Any) -> list[Any]:
        self.table.values[self.rank] = json.dumps(value)
        self.table.barrier.wait(PATIENCE_S)
        found = [json.loads(text) for text in self.table.values]
        self.table.barrier.wait(PATIENCE_S)
        return found

    def broadcast(self, value: Any) -> Any:
        return self.gather(value)[0]

    def vote(self, vote: Vote) -> Vote:
        cast = Vote(0)
        for value in self.gather(int(vote)):
            cast |= Vote(value)
        return cast

    def settle(self, error: BaseException | None, outcome: Outcome) -> tuple[int, str]:
        return outcome(error)

    def concat(self, rows: Any) -> Any:
        return torch.cat([torch.tensor(one, dtype=rows.dtype) for one in self.gather(rows.tolist())], dim=-1)


def on_ranks(world: int, work: Callable[[Group], _Result], machines: int = 1) -> list[_Result]:
    """Return what `work` returns on each rank, or raise what the first rank that failed raised."""
    table = _Table(world, machines)

    def run(rank: int) -> _Result:
        try:
            return work(ThreadGroup(rank, table))
        except BaseException:
            table.barrier.abort()
            raise

    with ThreadPoolExecutor(world) as pool:
        futures = [pool.submit(run, rank) for rank in range(world)]
    errors = [error for future in futures if (error := future.exception())]
    for error in errors:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    return [future.result() for future in futures]
