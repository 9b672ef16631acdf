"""Keep the bucket of a rehearsal in a directory, with settings that `spot status` and `spot report` read."""

import os
from dataclasses import replace
from pathlib import Path

from spot.core.errors import SpotError
from spot.demo.environment import PREFIX, REGIONS, ROOT, settings_text
from spot.storage.factory import open_store
from spot.storage.records.codec import encode
from spot.storage.records.ledger import CLOSED, decode


def check(directory: Path) -> None:
    """Make the directory. Raise `SpotError` if that fails, or if it has content."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        reason = "it is not empty" if any(directory.iterdir()) else ""
    except OSError as error:
        reason = str(error.strerror)
    if reason:
        raise SpotError(f"--keep {directory}: {reason}", fix="give a new directory")


def keep(directory: Path, machines: int) -> None:
    """Copy the bucket to `directory`, each object as a file of the same generation."""
    root, store = directory.resolve() / PREFIX, open_store(ROOT)
    for entry in store.list(""):
        path, found = root / entry.name, store.read(entry.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_moved(found.data, entry.name, root) if entry.name.startswith(CLOSED) else found.data)
        os.utime(path, ns=(found.generation, found.generation))  # a local store's generation
    text = settings_text(REGIONS, str(directory.resolve()), machines)
    (directory / "spot.toml").write_text(text, encoding="utf-8")


def _moved(record: bytes, name: str, root: Path) -> bytes:
    """Return the record of a run whose objects are below `root`."""
    run = decode(record, name)
    return encode(replace(run, spec=replace(run.spec, root=str(root))))
