"""Write a checkpoint, of any number of ranks, as one folder of safetensors files."""

from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file

from spot.storage.base import Store
from spot.storage.records import manifest
from spot.trainer.checkpoint import restore
from spot.trainer.checkpoint.boxes import owner
from spot.trainer.runtime.errors import UsageError
from spot.trainer.uploader.buffer import SharedBuffer


@dataclass(frozen=True, slots=True, kw_only=True)
class Consolidated:
    """Describe the folder."""

    run: str
    step: int
    ranks: int
    files: dict[str, int]
    """The bytes of each file."""


def consolidate(store: Store, run: str, step: int | None, folder: Path) -> Consolidated:
    """Write one file for each tracked object, of the newest checkpoint or that of `step`. Raise `UsageError`.

    Values that are no tensors, and generators of random numbers, are left out.
    """
    commits = manifest.commits(store, run)
    chosen = next((commit for commit in commits if step in (None, commit.step)), None)
    if chosen is None:
        steps = ", ".join(str(commit.step) for commit in commits) or "none"
        wanted = "" if step is None else f" of step {step}"
        raise UsageError(f"run {run} has no checkpoint{wanted}: {store.uri} has steps {steps}")
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty: name a new folder")
    found = manifest.read(store, run, chosen)
    tensors = restore.read(store, found, SharedBuffer()).tensors
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for tracked in sorted({name.partition(".")[0] for name in tensors if owner(name) is None}):
        path = folder / f"{tracked}.safetensors"
        own = {name: value.clone() for name, value in tensors.items() if name.startswith(f"{tracked}.")}
        save_file(own, path, metadata={"format": "pt"})
        files[path.name] = path.stat().st_size
    return Consolidated(run=run, step=found.step, ranks=found.world, files=files)
