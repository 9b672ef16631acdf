"""Test checkpoints of several ranks: saved alike, restored by any number of ranks, and given up together."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spot.storage.base import ABSENT, Damaged, Store
from spot.storage.factory import open_store
from spot.storage.paths import Upload
from spot.storage.records import lease, manifest
from spot.trainer.checkpoint.manager import CheckpointManager, Identity
from spot.trainer.checkpoint.restore import Restored, newest_good, read
from spot.trainer.distributed.group import Group
from spot.trainer.runtime.errors import StartAgain, UsageError
from spot.trainer.runtime.signals import StopSignal
from spot.trainer.state import Stateful, TrainingState
from spot.trainer.uploader.buffer import SharedBuffer
from spot.trainer.uploader.messages import LeaseTiming
from spot.trainer.uploader.process import UploaderProcess
from tests.machinery.trainer.thread_group import on_ranks

RUN = "run"
PATIENCE_S = 60.0


class Network(nn.Module):
    """Have weights that are cut, weights that are not, tied weights, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(301, 64)
        self.inner = nn.Linear(64, 64)
        self.head = nn.Linear(64, 301)
        self.head.weight = self.table.weight
        self.mean = nn.Buffer(torch.zeros(200, 100))


@dataclass(slots=True)
class Rank:
    """Hold the state of one rank, and what saves it."""

    group: Group
    state: TrainingState
    manager: CheckpointManager
    restored: Restored | None
    uploader: UploaderProcess

    def step(self) -> None:
        """Change the replicated state alike on all ranks, and the buffer of each rank as only it does."""
        network = self.state.tracked["model"]
        assert isinstance(network, Network)
        generator = torch.Generator().manual_seed(self.state.step)
        for parameter in network.parameters():
            parameter.grad = torch.rand(parameter.shape, generator=generator)
        optimizer = self.state.tracked["optimizer"]
        assert isinstance(optimizer, torch.optim.Optimizer)
        optimizer.step()
        network.mean.add_(1 + self.group.rank)
        self.state.stepped({"loss": float(self.group.rank)})

    def save(self) -> bool:
        return self.manager.final_save(self.state, lambda: PATIENCE_S)

    @property
    def mean(self) -> float:
        return float(self.state.tracked["model"].state_dict()["mean"].unique())

    @property
    def digest(self) -> str:
        """Return a digest of weights and optimizer."""
        found = hashlib.sha256()
        for name, value in flat("", [self.state.tracked[name].state_dict() for name in ("model", "optimizer")]):
            if not name.endswith(".mean"):
                found.update(name.encode() + (value.numpy().tobytes() if isinstance(value, Tensor) else b"%r" % value))
        return found.hexdigest()


def flat(name: str, value: Any) -> list[tuple[str, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else None
    return [(name, value)] if items is None else [pair for key, item in items for pair in flat(f"{name}.{key}", item)]


@dataclass(slots=True)
class Position:
    """Track something that the session does not know: its position is that of one rank."""

    at: int = 0

    def __iter__(self) -> None: ...

    def state_dict(self) -> dict[str, int]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.at = state["at"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def start(
    store: Store,
    world: int,
    number: int,
    work: Callable[[Rank], Any],
    *,
    each: bool = False,
    machines: int = 1,
    **more: Any,
) -> list[Any]:
    """Restore on `world` ranks, and return what `work` returns on each of them."""
    torch.manual_seed(number)
    built = Network()

    def run(group: Group) -> Any:
        model = deepcopy(built)
        tracked: dict[str, Stateful] = {"model": model, "optimizer": torch.optim.AdamW(model.parameters())}
        if each:
            tracked["stream"] = Position(group.rank)
        state = TrainingState(tracked, total_steps=100, patience=0, metrics=(), group=group)
        name = lease.process_name("a", number)
        token = group.broadcast(None if group.rank else lease.claim(store, RUN, name).token)
        buffer = SharedBuffer()

        def load(found: Restored) -> None:
            state.restore(found.tensors, found.rest, found.own, found.manifest.world)
            if more.get("damaged") == (group.rank, found.manifest.step):
                raise Damaged("the checkpoint holds no valid state")

        restored = newest_good(store, RUN, buffer, lambda _: None, load, group=group)
        uploader = UploaderProcess(store.uri, buffer.fd, 3)
        manager = CheckpointManager(
            uploader=uploader,
            buffer=buffer,
            identity=Identity(run=RUN, attempt="a", start=number, config={}, data=()),
            token=token,
            interval_s=None,
            mean_time_between_preemptions_s=7200.0,
            restored=restored.manifest.commit if restored else None,
            timing=LeaseTiming(poll_s=0.1),
            group=group,
        )
        try:
            return work(Rank(group, state, manager, restored, uploader))
        finally:
            uploader.close()

    return on_ranks(world, run, machines)


def trained(rank: Rank) -> tuple[str, str]:
    """Return the digests before and after a step, which is saved."""
    before = rank.digest
    rank.step()
    assert rank.save()
    return before, rank.digest


def test_weights_and_optimizer_are_the_same_on_4_2_3_1_and_4_ranks(store: Store) -> None:
    last = None
    for number, world in enumerate((4, 2, 3, 1, 4), 1):
        found = start(store, world, number, trained)
        [(before, after)] = set(found)
        assert last in (None, before)
        last = after
        assert manifest.commits(store, RUN)[0].step == number
        newest = manifest.newest(store, RUN)
        assert newest
        assert newest.world == world


@pytest.mark.parametrize("machines", [1, 2])
def test_a_machine_reads_each_part_once_whatever_its_ranks(
    store: Store, monkeypatch: pytest.MonkeyPatch, machines: int
) -> None:
    [(_, saved)] = set(start(store, 4, 1, trained))
    read, parts = store.read_into, list[str]()

    def counted(name: str, view: memoryview, **more: Any) -> Any:
        parts.append(name)
        return read(name, view, **more)

    monkeypatch.setattr(store, "read_into", counted)
    assert set(start(store, 4, 2, lambda rank: rank.digest, machines=machines)) == {saved}
    newest = manifest.newest(store, RUN)
    assert newest
    assert Counter(parts) == {part.name: machines for part in newest.parts}


def test_ranks_that_cannot_share_memory_read_everything_themselves(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    [(_, saved)] = set(start(store, 3, 1, trained))
    monkeypatch.setattr(os, "getpid", lambda: 0)  # no such process: its memory cannot be opened
    assert start(store, 3, 2, lambda rank: rank.digest) == [saved] * 3


def test_buffers_are_those_of_rank_0(store: Store) -> None:
    start(store, 3, 1, trained)
    assert start(store, 3, 2, lambda rank: rank.mean) == [1.0, 1.0, 1.0]


def test_a_large_state_is_saved_in_equal_shares(store: Store) -> None:
    start(store, 4, 1, trained)
    newest = manifest.newest(store, RUN)
    assert newest
    sizes = [sum(part.size for part in shard) for shard in newest.shards]
    replicated = 200 * 100 * 4 + 3 * 4 * 64 * 64 + 20_000  # the buffer, what is too small to cut, and the rest
    assert max(sizes[1:]) - min(sizes[1:]) < 4096
    assert sizes[0] - sizes[1] < replicated


def test_each_rank_gets_its_own_random_numbers_and_losses_back(store: Store) -> None:
    def work(rank: Rank) -> dict[str, Any]:
        rank.step()
        assert rank.save()
        return {"sums": {name: float(value) for name, value in rank.state._sums.items()}}

    def again(rank: Rank) -> tuple[float, list[int]]:
        return float(rank.state._sums["loss"]), rank.state.counters.reseeded_at

    start(store, 3, 1, work)
    assert start(store, 3, 2, again) == [(0.0, []), (1.0, []), (2.0, [])]
    assert start(store, 2, 3, again) == [(1.0, [1]), (1.0, [1])]


def test_a_loader_of_the_user_is_saved_by_each_rank_and_bound_to_their_number(store: Store) -> None:
    def work(rank: Rank) -> int:
        found = rank.state.tracked["stream"]
        assert isinstance(found, Position)
        position = found.at
        found.at += 10
        rank.step()
        assert rank.save()
        return position

    assert start(store, 3, 1, work, each=True) == [0, 1, 2]
    assert start(store, 3, 2, work, each=True) == [10, 11, 12]
    with pytest.raises(UsageError, match="the position of stream was saved by 3 ranks, and there are 2"):
        start(store, 2, 3, work, each=True)


def test_damage_that_one_rank_finds_is_agreed_on(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    start(store, 3, 1, trained)
    start(store, 3, 2, trained)
    found = start(store, 3, 3, lambda rank: rank.state.step, damaged=(2, 2))
    assert found == [1, 1, 1]
    assert [commit.step for commit in manifest.commits(store, RUN)] == [1]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["step 2: checkpoint quarantined: the checkpoint holds no valid state"]
    with pytest.raises(StartAgain, match="all 1 checkpoints"):
        start(store, 3, 4, lambda rank: rank.state.step, damaged=(1, 1))


@pytest.mark.parametrize("shard", [0, 1, 2])
def test_a_damaged_shard_is_never_restored(store: Store, shard: int) -> None:
    start(store, 3, 1, trained)
    start(store, 3, 2, trained)
    newest = manifest.newest(store, RUN)
    assert newest
    part = newest.shards[shard][0]
    old = store.read(part.name)
    store.write(part.name, old.data[:-1] + b"?", if_generation=old.generation)
    assert start(store, 2, 3, lambda rank: rank.state.step) == [1, 1]


def test_a_rank_that_cannot_upload_makes_all_ranks_save_again(store: Store) -> None:
    upload = Upload(run=RUN, step=1, token=1, attempt="a", start=1, save=1, world=3)
    store.write(upload.part(0, 2), b"in the way", if_generation=ABSENT)
    start(store, 3, 1, trained)
    newest = manifest.newest(store, RUN)
    assert newest
    assert {part.name.split("/")[3].partition("-r")[0] for part in newest.parts} == {"a.1.2"}


def test_a_killed_uploader_of_one_rank_costs_one_save(store: Store) -> None:
    def work(rank: Rank) -> None:
        trained(rank)
        if rank.group.rank == 1:
            rank.uploader._process.kill()
        trained(rank)

    start(store, 2, 1, work)
    newest = manifest.newest(store, RUN)
    assert newest
    assert newest.step == 2


def test_a_hand_over_pauses_all_ranks_until_one_of_them_is_told_to_stop(store: Store) -> None:
    class Told(StopSignal):
        @property
        def received(self) -> bool:
            return bool(manifest.commits(store, RUN))

    def work(rank: Rank) -> int | None:
        rank.step()
        found = lease.look(store, RUN)
        if not rank.group.rank:
            assert found
            lease.change(store, RUN, found, found.lease.requested_by("b.1"))
        while not rank.group.broadcast(rank.manager.wanted):
            rank.manager.poll(0.1)
        # Rank 0 waits for the answer to its offer, which nobody gives.
        rank.manager.hand_over(rank.state, Told() if rank.group.rank == 1 else StopSignal())
        return rank.manager.durable_step

    assert start(store, 3, 1, work)[0] == 1


def test_a_single_process_reads_the_checkpoint_of_many(store: Store) -> None:
    [(_, digest)] = set(start(store, 4, 1, trained))
    newest = manifest.newest(store, RUN)
    assert newest
    found = read(store, newest, SharedBuffer())
    assert found.tensors["model.table.weight"].shape == (301, 64)
    assert start(store, 1, 2, lambda rank: rank.digest) == [digest]
