"""Store objects in a local directory, with conditional, atomic and durable writes as in Cloud Storage."""

import contextlib
import errno
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from spot.core.errors import PermissionDenied, SpotError, TemporarilyUnavailable
from spot.storage import base
from spot.storage.checksum import CHUNK, crc32c

TEMPORARY = ".tmp-"
LOCK = ".lock"
STALE_S = 3600.0
"""Age at which a temporary file has no writer any more."""


class LocalStore:
    """Keep objects as files. The generation is the modification time in ns, which grows with every write."""

    def __init__(self, root: str) -> None:
        self.uri = root.rstrip("/") or "/"
        self._root = Path(root)

    def write(
        self, name: str, data: bytes | memoryview, *, if_generation: int, cancelled: Callable[[], bool] = base.never
    ) -> base.Written:
        path = self._path(name)
        view = memoryview(data).cast("B")
        with _explained(f"cannot write {path}", absent=PermissionDenied):
            temporary = path.with_name(f"{TEMPORARY}{path.name}-{secrets.token_hex(8)}")
            try:
                with _create(temporary) as file:
                    _write_durably(file, view, cancelled)
                with self._locked():
                    generation = _replace(temporary, path, if_generation)
            finally:
                temporary.unlink(missing_ok=True)
            _sync_directory(path.parent)
        return base.Written(generation=generation, size=view.nbytes, crc32c=crc32c(data))

    def read(self, name: str) -> base.Object:
        with _explained(f"cannot read {self._path(name)}"), self._path(name).open("rb") as file:
            return base.Object(data=file.read(), generation=os.fstat(file.fileno()).st_mtime_ns)

    def read_into(self, name: str, view: memoryview, *, generation: int) -> None:
        path = self._path(name)
        with _explained(f"cannot read {path}"), path.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_mtime_ns != generation:
                raise base.NotFound(f"{path} is generation {found.st_mtime_ns}, not {generation}")
            if found.st_size != view.nbytes:
                raise base.Damaged(f"{path} has {found.st_size} bytes, expected {view.nbytes}")
            if (filled := file.readinto(view)) != view.nbytes:
                raise base.Damaged(f"{path} ended after {filled} of {view.nbytes} bytes")

    def list(self, prefix: str) -> list[base.Entry]:
        # Only the directories that can hold such a name are walked: a listing costs what it lists.
        directory = prefix.rpartition("/")[0]
        try:
            top = self._root / (directory and base.checked_name(directory))
        except ValueError:  # no object can have such a name
            return []
        with _explained(f"cannot list {self._root / prefix}"):
            entries = [entry for entry in self._walk(top) if entry.name.startswith(prefix)]
        return sorted(entries, key=lambda entry: entry.name)

    def delete(self, name: str) -> None:
        path = self._path(name)
        with _explained(f"cannot delete {path}"), contextlib.suppress(FileNotFoundError):
            path.unlink()
            _sync_directory(path.parent)

    def _path(self, name: str) -> Path:
        path = self._root / base.checked_name(name)
        if _is_own(path.name):
            raise ValueError(f"{name!r} is reserved by the store: use another name")
        return path

    def _walk(self, top: Path) -> Iterator[base.Entry]:
        for directory, _, files in os.walk(top, onerror=_raise_unless_absent):
            for file in files:
                path = Path(directory) / file
                with contextlib.suppress(FileNotFoundError):  # deleted since the listing
                    stat = path.stat()
                    if _is_own(file):
                        if file != LOCK and stat.st_mtime < time.time() - STALE_S:
                            path.unlink()  # its writer was killed
                        continue
                    name = path.relative_to(self._root).as_posix()
                    yield base.Entry(name=name, size=stat.st_size, generation=stat.st_mtime_ns)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the store for replacing objects. The kernel releases the lock when the process dies."""
        with (self._root / LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _is_own(name: str) -> bool:
    return name == LOCK or name.startswith(TEMPORARY)


def _create(path: Path) -> BinaryIO:
    """Open a new file and create its directories durably."""
    missing = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    for parent in missing:
        _sync_directory(parent.parent)
    return path.open("xb")


def _write_durably(file: BinaryIO, view: memoryview, cancelled: Callable[[], bool]) -> None:
    for offset in range(0, view.nbytes, CHUNK):
        if cancelled():
            raise base.Cancelled
        file.write(view[offset : offset + CHUNK])
    file.flush()
    os.fsync(file.fileno())


def _replace(temporary: Path, path: Path, if_generation: int) -> int:
    """Move `temporary` to `path` if its generation is `if_generation`. Return the new one. Needs the lock."""
    try:
        found = path.stat().st_mtime_ns
    except FileNotFoundError:
        found = base.ABSENT
    if found != if_generation:
        raise base.Conflict(f"cannot write {path}: it has another generation: {found}, not {if_generation}")
    generation = max(time.time_ns(), found + 1)
    os.utime(temporary, ns=(generation, generation))
    if temporary.stat().st_mtime_ns != generation:
        raise PermissionDenied(f"{path} is on a file system without times in ns: use another directory, or gs://")
    temporary.replace(path)
    return generation


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _raise_unless_absent(error: OSError) -> None:
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error


@contextlib.contextmanager
def _explained(what: str, *, absent: type[SpotError] = base.NotFound) -> Iterator[None]:
    """Convert errors of the operating system; a missing file becomes `absent`."""
    try:
        yield
    except SpotError:
        raise
    except FileNotFoundError as error:
        raise absent(f"{what}: it does not exist") from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        passing = error.errno in {errno.EIO, errno.EAGAIN, errno.EINTR, errno.ETIMEDOUT, errno.ESTALE}
        raise (TemporarilyUnavailable if passing else PermissionDenied)(f"{what}: {reason}") from error
