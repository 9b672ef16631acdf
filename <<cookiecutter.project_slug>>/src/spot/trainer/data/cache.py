"""Keep the objects of a pinned data set on the local disk, fetched when they are first needed."""

import contextlib
import fcntl
import os
import tempfile
from collections import OrderedDict
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
        path = self._directory / f"{index:06d}-{Path(self.names[index]).name}"
        if index not in self._open:
            while len(self._open) >= WINDOW:
                self._open.popitem(last=False)[1].close()
            try:
                self._open[index] = self._locked(index, path)
            except OSError as error:
                raise UsageError(f"cannot keep data in {self._directory}: {os.strerror(error.errno or 0)}") from error
        self._open.move_to_end(index)
        return path

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

    def _locked(self, index: int, path: Path) -> FileIO:
        """Return the open file of an object. Its lock keeps other processes from removing it."""
        while True:
            with contextlib.suppress(FileNotFoundError):
                file = FileIO(path)
                fcntl.flock(file, fcntl.LOCK_SH)
                found = os.fstat(file.fileno())
                if found.st_size != self.sizes[index]:  # torn
                    path.unlink(missing_ok=True)
                elif found.st_nlink:  # not removed meanwhile
                    os.utime(file.fileno())
                    return file
            self._directory.mkdir(parents=True, exist_ok=True)
            with (self._directory / f"{index:06d}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not path.exists():  # no other process has fetched it
                    self._fetch(index, path)

    def _fetch(self, index: int, path: Path) -> None:
        one, temporary = self._objects[index], path.with_name(f"{index:06d}.part")
        self._make_room(one.size)
        try:
            with temporary.open("w+b") as file:
                check(one, fetch(open_store(self._folder), self.names[index], one.size, one.generation, file))
            temporary.replace(path)
        except NotFound as error:
            raise changed(one) from error
        finally:
            temporary.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        if self._limit is None:
            return
        files = []
        for path in self._directory.glob("*-*"):
            with contextlib.suppress(FileNotFoundError):  # another process makes room too
                found = path.stat()
                files.append((found.st_mtime_ns, found.st_size, path))
        excess = sum(own for _, own, _ in files) + size - self._limit
        for _, own, path in sorted(files):
            if excess <= 0:
                return
            with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while a process uses the file
                path.unlink(missing_ok=True)
                excess -= own
