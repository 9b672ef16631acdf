"""Save the checkpoints of a framework that owns the training loop: a folder of files that it writes and reads."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from spot.storage.base import checked_name
from spot.storage.records.manifest import Json
from spot.trainer.checkpoint.manager import Saveable


class Folder:
    """Track the newest checkpoint that a framework wrote below `path`. Its callback calls `step` and `save`.

    A resume is as exact as that of the framework.
    """

    def __init__(
        self, path: Path, step: Callable[[Mapping[str, float | Tensor]], bool], saved: Callable[["Folder"], None]
    ) -> None:
        self.path = path
        self.restored: Path | None = None
        """The checkpoint to resume from, None in the first start."""
        self._step, self._saved = step, saved
        self._name = ""
        self._files: dict[str, Tensor] = {}

    def step(self, metrics: Mapping[str, float | Tensor] | None = None) -> bool:
        """Count an optimizer step, and return whether the framework must write a checkpoint of it now."""
        return self._step(metrics or {})

    def save(self, checkpoint: Path) -> None:
        """Commit the checkpoint that the framework wrote for this step. Raise `Stopped` on a stop.

        Its files may be deleted or replaced afterwards, but not changed.
        """
        self._name = checkpoint.name
        files = [path for path in sorted(checkpoint.rglob("*")) if path.is_file()]
        self._files = {path.relative_to(checkpoint).as_posix(): _mapped(path) for path in files}
        self._saved(self)

    def state_dict(self) -> dict[str, Any]:
        return {"name": self._name, "files": self._files}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Write the files below `path`."""
        self._name, self._files, self.restored = state["name"], state["files"], None
        if self._files:
            names = [checked_name(name) for name in self._files]
            self.restored = self.path / checked_name(self._name)
            if self.restored.parent != self.path:
                raise ValueError(f"{self._name!r} is not the name of a folder")
            shutil.rmtree(self.restored, ignore_errors=True)
            for name in names:
                (self.restored / name).parent.mkdir(parents=True, exist_ok=True)
                self._files[name].numpy().tofile(self.restored / name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """Hold a state of the step for which the framework wrote its checkpoint: later steps cannot be saved."""

    step: int
    captured: tuple[dict[str, Tensor], bytes]
    described: dict[str, Json]

    @classmethod
    def of(cls, state: Saveable, folder: str) -> Self:
        """Copy the state of a step, except for the files of `folder`."""
        tensors, rest = state.capture()
        own = {name: value if name.startswith(f"{folder}.") else value.clone() for name, value in tensors.items()}
        return cls(step=state.step, captured=(own, rest), described=state.describe())

    @property
    def buffers(self) -> frozenset[str]:
        return frozenset()

    def capture(self) -> tuple[dict[str, Tensor], bytes]:
        return self.captured

    def describe(self) -> dict[str, Json]:
        return self.described


def _mapped(path: Path) -> Tensor:
    """Return the bytes of a file without reading it."""
    size = path.stat().st_size
    return torch.from_file(str(path), size=size, dtype=torch.uint8) if size else torch.empty(0, dtype=torch.uint8)
