"""Save the state of a session when it is due, on a stop and at the end. Without checkpoints, do nothing."""

import contextlib
import logging
from collections.abc import Iterable

from spot.storage.base import Damaged
from spot.storage.records import lease
from spot.storage.records.lease import LeaseLost
from spot.storage.records.manifest import DataObject
from spot.trainer.checkpoint.manager import CheckpointManager, Saveable
from spot.trainer.checkpoint.resume import resume
from spot.trainer.context import Start
from spot.trainer.device import Compute
from spot.trainer.distributed.group import NOTHING, Vote
from spot.trainer.progress import Monitor
from spot.trainer.runtime.errors import StartAgain
from spot.trainer.state import TrainingState

LAST_SAVE_S = 600.0
"""The longest wait for the last checkpoint of a finished training."""
LOGS_S = 5.0

_log = logging.getLogger(__name__)


class Saver:
    """Pass states to the checkpoint manager, and logs with them."""

    def __init__(self, start: Start, monitor: Monitor) -> None:
        self._start, self._stop, self._clock = start, start.stop, start.runtime.clock
        self._monitor = monitor
        self._manager: CheckpointManager | None = None

    @property
    def durable_step(self) -> int | None:
        return self._manager.durable_step if self._manager else None

    def wishes(self, *, if_due: bool = True) -> Vote:
        """Return what this rank asks for. Without `if_due` a save is due unless one is in flight."""
        if not (manager := self._manager):
            return NOTHING
        wishes = {
            Vote.SAVE: manager.due() if if_due else not (manager.busy or self._start.group.rank),
            Vote.HAND_OVER: manager.wanted,
            Vote.FAILED: manager.failed and self._start.group.world > 1,
        }
        return Vote(sum(vote for vote, wished in wishes.items() if wished))

    @property
    def accepted(self) -> bool:
        """Return whether the store accepted a save of this start."""
        return self._manager is not None and self._manager.saved

    def restore(self, state: TrainingState, compute: Compute, objects: Iterable[DataObject]) -> None:
        """Load the newest checkpoint. Raise `Completed` if the run was completed while this standby waited."""
        if self._start.saving:
            self._manager = resume(self._start, self._start.saving, state, compute, tuple(objects))

    def save(self, state: Saveable, wishes: Vote, *, finished: bool, took_s: float = 0.0) -> None:
        """Hand over to a standby or save, as all ranks do. `took_s`: what the snapshot has cost so far."""
        if not (manager := self._manager):
            return
        if Vote.FAILED in wishes:
            manager.peer_failed()
        if Vote.HAND_OVER in wishes and not finished:
            manager.hand_over(state, self._stop)
        elif Vote.SAVE in wishes:
            manager.save(state, took_s=took_s)
            self._monitor.copy(manager)

    def poll(self) -> None:
        if self._manager:
            self._manager.poll()

    def leave(self, state: Saveable) -> None:
        """Save within the grace."""
        if not (manager := self._manager):
            return
        if manager.final_save(state, self._stop.remaining_s):
            self.copy_last_logs(min(self._stop.remaining_s() / 2, LOGS_S))
            _log.info("step %d: durable, exiting", state.step)
            return
        _log.error(
            "step %d: not saved within the grace of %.1f s; durable step: %s",
            state.step,
            self._stop.grace_s,
            manager.durable_step,
        )

    def finish(self, state: Saveable) -> None:
        """Make the last step durable, so that a kill in the export repeats no training."""
        if not self._manager:
            return
        end = self._clock.monotonic() + LAST_SAVE_S
        if not self._manager.final_save(state, lambda: min(self._stop.remaining_s(), end - self._clock.monotonic())):
            self._stop.check()
            raise StartAgain(f"the last checkpoint, step {state.step}, is not durable after {LAST_SAVE_S:.0f} s")
        self._monitor.copy(self._manager, last=True)

    def copy_last_logs(self, timeout_s: float = LOGS_S) -> None:
        if self._manager:
            self._monitor.copy(self._manager, last=True)
            self._manager.settle(timeout_s)

    def settle(self) -> None:
        """Wait for copies in flight, after the results are written."""
        if self._manager:
            with contextlib.suppress(LeaseLost):
                self._manager.settle(LOGS_S)

    def check_lease(self) -> None:
        """Raise `LeaseLost` if another process holds the lease."""
        if not (saving := self._start.saving):
            return
        run = self._start.flags.run
        try:
            held = lease.read(saving.store, run)
        except Damaged as error:
            raise StartAgain(f"{error}; the next start claims the lease anew") from error
        if held and held.holder != saving.name:
            raise LeaseLost(f"process {held.holder} holds the lease of run {run}")
