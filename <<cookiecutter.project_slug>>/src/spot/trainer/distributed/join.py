"""Join the ranks of a run: wait until all of them have started, and exchange values over gloo."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeGuard

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import TCPStore

from spot.core.errors import Exit
from spot.trainer.device import use_gpu
from spot.trainer.distributed.group import Group, Outcome, PeerTiming, Vote
from spot.trainer.runtime.cluster import Place
from spot.trainer.runtime.errors import PeerLost, StartAgain
from spot.trainer.runtime.flags import Device

LOOK_S, LOOK_AT_MOST_S = 0.05, 2.0
CONNECT_S = 5.0
LEAVE_S = 3.0
"""The longest wait for the rank that serves the store, when this rank leaves."""
MET = "met"
"""The key that exists once all ranks are here."""
FAILURE = "failure"
"""The key of the first failure of a rank."""
_LOST = re.compile(
    "gloo|nccl|pair closure|pair is not connected|closed by peer|operation timed out!|timed out waiting", re.IGNORECASE
)
"""What gloo and NCCL say of a rank that ended; some of their errors are plain `RuntimeError`s without their name."""


def join(place: Place, device: Device, timing: PeerTiming) -> Group:
    """Return the group once every rank is here."""
    on_gpu = use_gpu(device, place.local_rank)
    store = _meet(place, timing)
    try:
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
            store=store,
            rank=place.rank,
            world_size=place.world,
            timeout=timedelta(seconds=timing.collective_s),
        )
        return Ranks(place, timing, store)
    except (RuntimeError, ValueError) as error:
        raise _lost(place.rank, error) from error


def _meet(place: Place, timing: PeerTiming) -> TCPStore:
    """Wait until all ranks have reached the store, in calls that a signal interrupts."""
    serves = place.rank == 0 and not place.served
    end = time.monotonic() + timing.rendezvous_s
    store, pause = None, LOOK_S
    missing = [f"rank 0 at {place.host}:{place.port}, or another rank,"]
    while time.monotonic() < end:
        try:
            if store is None and (serves or _answers(place)):
                store = TCPStore(
                    place.host,
                    place.port,
                    is_master=serves,
                    wait_for_workers=False,
                    timeout=timedelta(seconds=CONNECT_S),
                    master_listen_fd=place.listener,
                )
                if store.check([MET]):
                    raise StartAgain(f"rank {place.rank} starts again before the other ranks have noticed its end")
                store.set(f"rank {place.rank}", "")
            if store and place.rank == 0:
                missing = [f"rank {rank}" for rank in range(place.world) if not store.check([f"rank {rank}"])]
                if not missing:
                    store.set(MET, "")
            if store and store.check([MET]):
                return store
        except (RuntimeError, ConnectionError) as error:  # torch's errors of the network are such
            raise _lost(place.rank, error) from error
        time.sleep(pause)
        pause = min(1.2 * pause, LOOK_AT_MOST_S)
    raise PeerLost(f"{', '.join(missing)} did not start within {timing.rendezvous_s:.0f} s")


def _answers(place: Place) -> bool:
    try:
        socket.create_connection((place.host, place.port), CONNECT_S).close()
    except OSError:
        return False
    return True


class Ranks:
    """Exchange values with the other ranks, see `Group`."""

    def __init__(self, place: Place, timing: PeerTiming, store: TCPStore) -> None:
        self.rank, self.world, self.node = place.rank, place.world, place.node
        self.local_world = place.local_world
        self._store, self._timing = store, timing
        patient = timedelta(seconds=timing.rendezvous_s)
        # Groups of their own, on the CPU: never behind the work of a GPU, and with timeouts of their own.
        self._values = dist.new_group(backend="gloo", timeout=patient)
        self._votes = dist.new_group(backend="gloo", timeout=patient)
        self._voted_at: float | None = None
        self._longest_s = 0.0

    def broadcast(self, value: Any) -> Any:
        return self.gather(value if self.rank == 0 else None)[0]

    def gather(self, value: Any) -> list[Any]:
        own = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        sizes = [int(size) for size in self._gather(torch.tensor([len(own)]))]
        padded = torch.zeros(max(sizes), dtype=torch.uint8)
        padded[: len(own)] = own
        found = self._gather(padded)
        return [json.loads(bytes(one[:size].numpy())) for one, size in zip(found, sizes, strict=True)]

    def vote(self, vote: Vote) -> Vote:
        now = time.monotonic()
        if self._voted_at is None:
            patience_s = self._timing.rendezvous_s
        else:
            self._longest_s = max(self._longest_s, now - self._voted_at)
            patience_s = self._timing.vote_s + self._longest_s
        box = torch.tensor([int(vote)])
        with self._losing():
            work = dist.all_reduce(box, op=dist.ReduceOp.BOR, group=self._votes, async_op=True)
            assert work
            work.wait(timedelta(seconds=patience_s))
        self._voted_at = time.monotonic()
        return Vote(int(box))

    def concat(self, rows: Tensor) -> Tensor:
        found = [torch.empty_like(rows) for _ in range(self.world)]
        with self._losing():
            dist.all_gather(found, rows.contiguous())
        return torch.cat(found, dim=-1)

    def settle(self, error: BaseException | None, outcome: Outcome) -> tuple[int, str]:
        if follows := is_lost(error):
            error = _lost(self.rank, error)
        code, reason = outcome(error)
        if code == Exit.DONE:
            return code, reason
        own = "" if follows else json.dumps([code, f"rank {self.rank}: {reason}"])
        first: list[str] = []

        def publish() -> None:
            with suppress(RuntimeError):
                first.append(self._store.compare_set(FAILURE, "", own).decode())

        publishing = threading.Thread(target=publish, daemon=True)  # a host that vanished never answers
        publishing.start()
        publishing.join(LEAVE_S)
        if follows and first and first[0]:
            code, reason = json.loads(first[0])
        return code, reason

    def _gather(self, own: Tensor) -> list[Tensor]:
        found = [torch.empty_like(own) for _ in range(self.world)]
        with self._losing():
            work = dist.all_gather(found, own, group=self._values, async_op=True)
            assert work
            pause = 0.0002
            while not work.is_completed():  # a signal is handled between, and not within a wait of torch
                time.sleep(pause)
                pause = min(1.5 * pause, 0.05)
            work.wait()
        return found

    @contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise _lost(self.rank, error) from error


def is_lost(error: BaseException | None) -> TypeGuard[BaseException]:
    """Return whether `error` follows from the end of another rank."""
    if error is None:
        return False
    lost = isinstance(error, PeerLost | dist.DistError)
    lost = lost or (isinstance(error, RuntimeError) and _LOST.search(str(error)) is not None)
    return lost or is_lost(error.__cause__ or error.__context__)


def _lost(rank: int, error: BaseException) -> PeerLost:
    if isinstance(error, PeerLost):
        return error
    line = re.sub(r"^\[[^]]*\] ", "", str(error)).partition(". ")[0].partition("\n")[0]
    return PeerLost(f"rank {rank} lost another rank: {line or type(error).__name__}")
