"""Checkpoint as the trainer does: its checkpoint manager and uploader process."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.ways import BUCKET
from benchmarks.workload import Workload
from spot.storage.factory import open_store
from spot.storage.records import lease
from spot.trainer.checkpoint.manager import CheckpointManager, Identity
from spot.trainer.state import TrainingState
from spot.trainer.uploader.buffer import SharedBuffer
from spot.trainer.uploader.messages import LeaseTiming
from spot.trainer.uploader.process import UploaderProcess

URI = f"gs://{BUCKET}/ours"
RUN = "benchmark"
KEEP = 3


class Ours:
    """Run the checkpoint manager in the benchmark's loop."""

    def __init__(self, workload: Workload, remaining_s: Callable[[], float]) -> None:
        buffer = SharedBuffer()
        self._uploader = UploaderProcess(URI, buffer.fd, KEEP)
        self._workload = workload
        self._remaining_s = remaining_s
        self._state = TrainingState(
            {"model": workload.model, "optimizer": workload.optimizer}, total_steps=10**9, patience=0, metrics=()
        )
        held = lease.claim(open_store(URI), RUN, lease.process_name("benchmark", 1))
        self._checkpointer = CheckpointManager(
            uploader=self._uploader,
            buffer=buffer,
            identity=Identity(run=RUN, attempt="benchmark", start=1, config={}, data=()),
            token=held.token,
            timing=LeaseTiming(),
            interval_s=None,
            mean_time_between_preemptions_s=7200.0,
            restored=None,
        )

    def save(self) -> None:
        self._state.counters.step = self._workload.steps
        self._checkpointer.save(self._state)

    def busy(self) -> bool:
        self._checkpointer.poll()
        return self._checkpointer.busy

    def finish(self) -> None:
        self._state.counters.step = self._workload.steps
        if not self._checkpointer.final_save(self._state, self._remaining_s):
            raise TimeoutError("the last step was not durable in time")

    def helpers(self) -> list[int]:
        return [self._uploader.pid]

    def close(self) -> None:
        self._uploader.close()
