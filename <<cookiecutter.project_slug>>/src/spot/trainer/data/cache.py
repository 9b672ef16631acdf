"""Keep the objects of a pinned data set on the local disk, fetched when they are first needed."""

import contextlib
import fcntl
import os
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

from spot.storage.base import NotFound
from spot.storage.checksum import crc32c
from spot.storage.factory import open_store
from spot.storage.fetch import fetch
from spot.storage.records.manifest import DataObject
from spot.trainer.data.order import WINDOW
from spot.trainer.data.pinned import changed, check, pinned
from spot.trainer.runtime.errors import UsageError


class ObjectCache:
    """Read the objects of a data set as local files. Safe in several processes at once.

    An object is fetched once into `directory`, by whichever process needs it first, in the generation that was pinned,
    and its checksum is verified. Above `limit_bytes` the least recently opened files are removed, never the newest
    `WINDOW` files of a process; each process may add one more meanwhile. The files of a local folder are used in place.
    """

    def __init__(self, uri: str, directory: str | Path | None = None, *, limit_bytes: int | None = None) -> None:
        """Take the objects as they were pinned, or list them now. Raise `UsageError` if there are none."""
        found = pinned(uri)
        self._objects, self._folder = found.objects, found.folder
        self.pinned = DataObject(uri=found.uri, size=found.size, crc32c=crc32c(found.content.encode()), generation=0)
        """The entry for `Data.objects`."""
        self.names = [one.uri[len(found.folder) + 1 :] for one in found.objects]
        self.sizes = [one.size for one in found.objects]
        self._directory = Path(directory or Path(tempfile.gettempdir()) / "spot-data") / found.content[:16]
        self._limit = limit_bytes
        self._owner, self._open = os.getpid(), OrderedDict[int, FileIO]()

    def path(self, index: int) -> Path:
        """Return the file of object `index`, which stays until this process has asked for `WINDOW` more."""
        if not self._folder.startswith("gs://"):
            return self._in_place(index)
        if self._owner != os.getpid():  # forked: the locks are the parent's
            self._owner, self._open = os.getpid(), OrderedDict()
        if index in self._open:
            self._open.move_to_end(index)
            return self._file(index)
        while len(self._open) >= WINDOW:
            self._open.popitem(last=False)[1].close()
        lock = self._locked(index, "used", fcntl.LOCK_SH)
        if not self._valid(index, lock):
            with self._locked(index, "fetched", fcntl.LOCK_EX):
                if not self._valid(index, lock):  # another process has fetched it meanwhile
                    self._fetch(index, lock)
        os.utime(lock.fileno())
        self._open[index] = lock
        return self._file(index)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_owner": 0, "_open": OrderedDict()}

    def _in_place(self, index: int) -> Path:
        one = self._objects[index]
        path = Path(one.uri)
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            if (found.st_size, found.st_mtime_ns) == (one.size, one.generation):
                return path
        raise changed(one)

    def _file(self, index: int) -> Path:
        return self._directory / f"{index:06d}-{Path(self.names[index]).name}"

    def _locked(self, index: int, purpose: str, kind: int) -> FileIO:
        """Return a locked file: "used" is shared by the processes that use an object, "fetched" is for one."""
        with self._explained():
            self._directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._directory / f"{index:06d}.{purpose}", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, kind)
        return FileIO(descriptor, "r+")

    def _valid(self, index: int, lock: FileIO) -> bool:
        """Return whether the lock file names this file as verified."""
        return os.pread(lock.fileno(), 100, 0) == _identity(self._file(index)) != b""

    def _fetch(self, index: int, lock: FileIO) -> None:
        one, path = self._objects[index], self._file(index)
        lock.truncate(0)
        path.unlink(missing_ok=True)
        self._make_room(one.size)
        temporary = path.with_name(f"{path.name}.part")
        try:
            with self._explained(), temporary.open("w+b") as file:
                check(one, fetch(open_store(self._folder), self.names[index], one.size, one.generation, file))
            temporary.replace(path)
        except NotFound as error:
            raise changed(one) from error
        finally:
            temporary.unlink(missing_ok=True)
        os.pwrite(lock.fileno(), _identity(path), 0)

    def _make_room(self, size: int) -> None:
        if self._limit is None:
            return
        sizes = {}
        for path in self._directory.glob("*-*"):
            with contextlib.suppress(FileNotFoundError):  # another process makes room too
                sizes[path] = path.stat().st_size
        locks = {path: self._directory / f"{path.name[:6]}.used" for path in sizes}
        excess = sum(sizes.values()) + size - self._limit
        for path in sorted(sizes, key=lambda path: locks[path].stat().st_mtime_ns):
            if excess <= 0:
                return
            with locks[path].open("r+b") as lock, contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while a process uses the file
                path.unlink(missing_ok=True)
                excess -= sizes[path]

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UsageError(f"cannot keep data in {self._directory}: {os.strerror(error.errno or 0)}") from error


def _identity(path: Path) -> bytes:
    try:
        found = path.stat()
    except FileNotFoundError:
        return b""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ino}".encode()
