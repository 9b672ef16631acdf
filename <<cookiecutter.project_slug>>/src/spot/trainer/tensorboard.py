"""Write TensorBoard scalars to a local file, which the uploader copies along with checkpoints."""

import tempfile
from pathlib import Path

from tensorboardX import SummaryWriter

from spot.core.clock import Clock
from spot.trainer.checkpoint.manager import CheckpointManager
from spot.trainer.state import TrainingState

SCALARS_EVERY_S = 1.0


class Scalars:
    """Write one event file per start. A resume purges steps that an earlier start logged beyond its checkpoint."""

    def __init__(self, directory: str | None, run: str, clock: Clock) -> None:
        self._directory = directory
        self._run = run
        self._clock = clock
        self._next = clock.monotonic()
        self._writer: SummaryWriter | None = None
        self._local: tempfile.TemporaryDirectory[str] | None = None

    def begin(self, first_step: int, start: str) -> None:
        """Open the file. `start` makes its name unique, also for two starts in the same second."""
        if self._directory:
            self._local = tempfile.TemporaryDirectory(prefix="tensorboard-")
            self._writer = SummaryWriter(self._local.name, purge_step=first_step or None, filename_suffix=f".{start}")

    def stepped(self, state: TrainingState) -> None:
        if self._writer is None or self._clock.monotonic() < self._next:
            return
        self._next = self._clock.monotonic() + SCALARS_EVERY_S
        self._writer.add_scalar("train/learning_rate", state.scheduler.get_last_lr()[0], state.step)
        self._writer.add_scalar("train/steps_per_second", state.steps_per_second, state.step)

    def evaluated(self, state: TrainingState) -> None:
        if self._writer is None:
            return
        newest = state.counters.history[-1]
        self._writer.add_scalar("train/loss", newest["train_loss"], state.step)
        self._writer.add_scalar("held_out/loss", newest["loss"], state.step)
        self._writer.add_scalar(f"held_out/{state.score_name}", newest[state.score_name], state.step)

    def copy(self, checkpointer: CheckpointManager, *, last: bool = False) -> None:
        """Let the uploader copy the file. Nothing may be added after the `last` copy."""
        if self._writer is None or self._local is None or self._directory is None:
            return
        if last:
            self._writer.close()  # unlike flush, close waits for the writer's queue
        else:
            self._writer.flush()
        for path in Path(self._local.name).iterdir():
            checkpointer.mirror(str(path), self._directory, f"{self._run}/{path.name}")

    def close(self) -> None:
        if self._writer and self._local:
            self._writer.close()
            self._local.cleanup()
