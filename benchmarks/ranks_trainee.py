"""Be one rank of the benchmark of many ranks: `python -m benchmarks.ranks_trainee PLAN`, started by ranks.py.

Each rank holds the same model, sharded or replicated, and saves it some times. The time of the slowest rank counts.
Rank 0 writes JSON lines to standard output. At the end each step is a pause of 20 ms and a vote, until SIGTERM.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Any

import torch
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict
from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType, AsyncSaveResponse, async_save
from torch.distributed.checkpoint.storage import StorageWriter, WriteResult
from torch.futures import Future

from benchmarks.ways import BUCKET
from benchmarks.workload import Workload
from spot.storage.base import ABSENT
from spot.storage.factory import open_store
from spot.storage.records import lease
from spot.trainer.checkpoint.manager import CheckpointManager, Identity
from spot.trainer.distributed.group import ALONE, Group, PeerTiming, Vote
from spot.trainer.distributed.join import join
from spot.trainer.distributed.parallel import spread
from spot.trainer.runtime.cluster import read_place
from spot.trainer.runtime.flags import Device, Parallel, Precision
from spot.trainer.runtime.signals import StopSignal
from spot.trainer.state import TrainingState
from spot.trainer.uploader.buffer import SharedBuffer
from spot.trainer.uploader.messages import LeaseTiming
from spot.trainer.uploader.process import UploaderProcess

URI = f"gs://{BUCKET}/ranks"
RUN = "ranks"
OURS, DCP = "ours", "dcp"
STEP_S = 0.02
GRACE_S = 120.0
PART, STREAMS = 32 << 20, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RankPlan:
    """Choose what the ranks measure."""

    way: str
    kind: str
    """`ddp`, `fsdp`, or `none` for a single rank."""
    size: int
    saves: int


class Model(torch.nn.Module):
    """Wrap the workload's model: only a module with a forward pass can be sharded."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.workload = Workload(size).model

    def forward(self) -> None: ...


class Ours:
    """Save as the trainer does."""

    def __init__(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, group: Group) -> None:
        buffer = SharedBuffer()
        self._uploader = UploaderProcess(URI, buffer.fd, 3)
        self._state = TrainingState(
            {"model": model, "optimizer": optimizer}, total_steps=10**9, patience=0, metrics=(), group=group
        )
        name = lease.process_name("benchmark", 1)
        token = group.broadcast(lease.claim(open_store(URI), RUN, name).token if group.rank == 0 else None)
        self._manager = CheckpointManager(
            uploader=self._uploader,
            buffer=buffer,
            identity=Identity(run=RUN, attempt="benchmark", start=1, config={}, data=()),
            token=token,
            timing=LeaseTiming(),
            interval_s=None,
            mean_time_between_preemptions_s=7200.0,
            restored=None,
            group=group,
        )

    def save(self) -> None:
        self._state.counters.step += 1
        self._manager.save(self._state)

    def wait(self) -> None:
        while self._manager.busy:
            self._manager.poll(1.0)

    def finish(self, remaining_s: Callable[[], float]) -> None:
        self._state.counters.step += 1
        if not self._manager.final_save(self._state, remaining_s):
            raise TimeoutError("the last step was not durable in time")


class Dcp:
    """Save with `async_save` in its best way: a process, and a stager that reuses shared memory."""

    def __init__(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, group: Group) -> None:
        self._model = getattr(model, "module", model)
        self._optimizer, self._rank, self._step = optimizer, group.rank, 0
        self._planner = DefaultSavePlanner(enable_plan_caching=True)
        self._stager = DefaultStager(
            StagingOptions(
                use_pinned_memory=False, use_shared_memory=True, use_async_staging=False, use_non_blocking_copy=False
            )
        )

    def save(self) -> None:
        self._step += 1
        options = StateDictOptions(flatten_optimizer_state_dict=True)
        model, optimizer = get_state_dict(self._model, self._optimizer, options=options)
        reply = async_save(
            {"model": model, "optimizer": optimizer},
            storage_writer=StoreWriter(f"dcp/{self._step}", self._rank),
            planner=self._planner,
            async_checkpointer_type=AsyncCheckpointerType.PROCESS,
            async_stager=self._stager,
        )
        self._future = reply.upload_completion if isinstance(reply, AsyncSaveResponse) else reply

    def wait(self) -> None:
        self._future.result()


class StoreWriter(StorageWriter):
    """Upload the bytes of a rank from memory, in as many streams as the uploader, then the metadata."""

    def __init__(self, prefix: str, rank: int) -> None:
        self._prefix, self._rank = prefix, rank

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        pass

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:  # noqa: ARG003
        return True

    def set_up_storage_writer(self, is_coordinator: bool, *_: Any, **__: Any) -> None:
        pass

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        return plans

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        store, data, results = open_store(URI), BytesIO(), []
        for item in plan.items:
            start, value = data.tell(), planner.resolve_data(item)
            if isinstance(value, torch.Tensor):
                torch.save(value.detach().clone(), data)
            else:
                data.write(value.getvalue())
            place = (self._rank, start, data.tell())
            results.append(WriteResult(item.index, data.tell() - start, place))
        view = data.getbuffer()
        with ThreadPoolExecutor(STREAMS) as pool:
            list(
                pool.map(
                    lambda start: store.write(
                        f"{self._prefix}/{self._rank}-{start}", view[start : start + PART], if_generation=ABSENT
                    ),
                    range(0, len(view), PART),
                )
            )
        done: Future[list[WriteResult]] = Future()
        done.set_result(results)
        return done

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        metadata.storage_data = {result.index: result.storage_data for found in results for result in found}
        open_store(URI).write(f"{self._prefix}/.metadata", pickle.dumps(metadata), if_generation=ABSENT)


def main() -> None:
    plan = RankPlan(**json.loads(sys.argv[1]))
    stop = StopSignal()
    stop.grace_s = GRACE_S
    stop.install()
    place = read_place(os.environ)
    group = join(place, Device.CPU, PeerTiming()) if place else ALONE
    model: torch.nn.Module = Model(plan.size)
    if place:
        model = spread(model, Parallel(plan.kind), Precision.FULL, group)
    optimizer = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    way = (Ours if plan.way == OURS else Dcp)(model, optimizer, group)
    for _ in range(plan.saves + 1):
        group.gather(None)
        began = time.monotonic()
        way.save()
        stall_s = time.monotonic() - began
        way.wait()
        found = group.gather((stall_s, time.monotonic() - began))
        _say(group, "save", stall_s=max(stall for stall, _ in found), durable_s=max(durable for _, durable in found))
    _say(group, "kill-me")
    if isinstance(way, Ours):
        # The signal of one rank stops all ranks at the next vote.
        while not (group.vote(Vote.STOP if stop.received else Vote(0)) if place else stop.received):
            time.sleep(STEP_S)
        way.finish(stop.remaining_s)
    os._exit(143)  # uploaders and the processes of `async_save` go with it


def arguments(plan: RankPlan) -> list[str]:
    """Return the command of a rank."""
    return [sys.executable, "-m", "benchmarks.ranks_trainee", json.dumps(asdict(plan))]


def _say(group: Group, event: str, **facts: object) -> None:
    if group.rank == 0:
        print(json.dumps({"event": event, **facts}), flush=True)


if __name__ == "__main__":
    main()
