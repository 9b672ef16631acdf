"""Write TensorBoard scalars to a local file, which the uploader copies along with checkpoints."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter

from spot.trainer.checkpoint.manager import CheckpointManager


class Scalars:
    """Write one event file per start. A resume purges steps that an earlier start logged beyond its checkpoint."""

    def __init__(self, directory: str | None, run: str) -> None:
        self._directory = directory
        self._run = run
        self._writer: SummaryWriter | None = None
        self._local: tempfile.TemporaryDirectory[str] | None = None

    def begin(self, first_step: int, start: str) -> None:
        """Open the file. `start` makes its name unique, also for two starts in the same second."""
        if self._directory:
            self._local = tempfile.TemporaryDirectory(prefix="tensorboard-")
            self._writer = SummaryWriter(self._local.name, purge_step=first_step or None, filename_suffix=f".{start}")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        if self._writer:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

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
