"""Keep objects of a pinned prefix on the local disk, fetched when they are first needed."""

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

from spot.core.errors import SpotError, TemporarilyUnavailable
from spot.storage.base import NotFound
from spot.storage.factory import open_store
from spot.storage.fetch import fetch
from spot.storage.local import LocalStore
from spot.trainer.data.order import WINDOW
from spot.trainer.data.pinned import list_pinned
from spot.trainer.runtime.errors import UsageError


class ObjectCache:
    """Read the objects below a prefix as local files. Safe in several processes at once.

    An object is fetched once into `directory`, by whichever process needs it first, in the generation that was listed,
    and its checksum is verified. Above `limit_bytes` the least recently opened files are removed, never the newest
    `WINDOW` files of a process; each process may add one more meanwhile. The files of a local folder are used in place.
    """

    def __init__(self, uri: str, directory: str | Path | None = None, *, limit_bytes: int | None = None) -> None:
        """List the objects now: those added later are not seen. Raise `UsageError` if there are none."""
        store, self._entries, self.pinned = list_pinned(uri)
        """`pinned` is the entry for `Data.objects`."""
        self.names = [entry.name for entry in self._entries]
        self.sizes = [entry.size for entry in self._entries]
        self._uri, self._local = store.uri, isinstance(store, LocalStore)
        listing = hashlib.sha256(f"{store.uri} {self.pinned.crc32c} {self.pinned.size}".encode()).hexdigest()[:16]
        self._directory = Path(directory or Path(tempfile.gettempdir()) / "spot-data") / listing
        self._limit = limit_bytes
        self._owner, self._open = os.getpid(), OrderedDict[int, FileIO]()

    def path(self, index: int) -> Path:
        """Return the file of object `index`, which stays until this process has asked for `WINDOW` more."""
        if self._local:
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
        entry, path = self._entries[index], Path(self._uri) / self.names[index]
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            if (found.st_size, found.st_mtime_ns) == (entry.size, entry.generation):
                return path
        raise self._changed(index)

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
        entry, path = self._entries[index], self._file(index)
        lock.truncate(0)
        path.unlink(missing_ok=True)
        self._make_room(entry.size)
        temporary = path.with_name(f"{path.name}.part")
        try:
            with self._explained(), temporary.open("w+b") as file:
                found = fetch(open_store(self._uri), entry.name, entry.size, entry.generation, file)
            if found != entry.crc32c:
                raise TemporarilyUnavailable(
                    f"{self._uri}/{entry.name} arrived with CRC32C {found}, not {entry.crc32c}"
                )
            temporary.replace(path)
        except NotFound as error:
            raise self._changed(index) from error
        finally:
            temporary.unlink(missing_ok=True)
        os.pwrite(lock.fileno(), _identity(path), 0)

    def _make_room(self, size: int) -> None:
        if self._limit is None:
            return
        sizes = {path: path.stat().st_size for path in self._directory.glob("*-*") if path.exists()}
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

    def _changed(self, index: int) -> SpotError:
        return UsageError(
            f"--data {self._uri}/{self.names[index]}: it was overwritten or removed since this start listed it: restore"
            " the old content, or submit another run"
        )


def _identity(path: Path) -> bytes:
    try:
        found = path.stat()
    except FileNotFoundError:
        return b""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ino}".encode()
