"""Start the ranks of a run as forks of a process that has imported torch."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from tests.machinery.trainer.conftest import Trainer
from tests.machinery.zygote import TrainerProcess


@dataclass(frozen=True, slots=True)
class Ranks:
    """Control the processes of one start, as the launcher does."""

    processes: list[TrainerProcess]
    port: int
    """On which rank 0 waits for the others."""

    def __getitem__(self, rank: int) -> TrainerProcess:
        return self.processes[rank]

    def wait(self) -> list[int]:
        return [process.wait() for process in self.processes]

    def wait_until_rank_0_waits(self) -> None:
        while self[0].code is None:
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            self[0].zygote.receive(0.01)

    @property
    def text(self) -> str:
        return "\n".join(f"rank {n}:\n{found.output}{found.errors}" for n, found in enumerate(self.processes))


def start(trainer: Trainer, world: int, *flags: str, only: Sequence[int] | None = None, **env: str) -> Ranks:
    """Start ranks, or `only` some of them, with the variables that the launcher sets."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), **env}
    processes = [
        trainer.start(*flags, **common, RANK=str(rank), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(world))
        for rank in (range(world) if only is None else only)
    ]
    return Ranks(processes, port)
