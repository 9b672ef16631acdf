"""Pin the data of a run: `datasets/<digest>.json` names every object with its generation, size and checksum.

The digest is that of the record, generations included: a name never stands for generations that an overwrite has
removed. `content` leaves them out: objects that are written again with the same bytes make another record with the same
content.
"""

import contextlib
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from spot.core.fields import DATASET
from spot.storage.base import ABSENT, GIVE_UP_S, Conflict, Damaged, Store
from spot.storage.factory import open_store
from spot.storage.records import codec
from spot.storage.records.manifest import DataObject

FIX = "submit another run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    uri: str
    """An object, a prefix that ends in a slash, or a pattern."""
    objects: tuple[DataObject, ...]
    """Sorted by URI."""

    @property
    def name(self) -> str:
        return f"datasets/{hashlib.sha256(codec.encode(self)).hexdigest()}.json"

    @property
    def folder(self) -> str:
        """Return the URI above all objects."""
        return _start(self.uri).rpartition("/")[0]

    @property
    def size(self) -> int:
        return sum(one.size for one in self.objects)

    @property
    def content(self) -> str:
        """Return the digest of names, sizes and checksums, for local files times instead of checksums."""
        checked = self.uri.startswith("gs://")
        lines = (f"{one.uri}\t{one.size}\t{one.crc32c if checked else one.generation}\n" for one in self.objects)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def find(uri: str, *, give_up_s: float = GIVE_UP_S) -> tuple[Dataset, datetime | None]:
    """Return the objects that `uri` names now, and when the newest was written; None in a local folder.

    A prefix ends in a slash. In a pattern, `*` stands for any characters within a folder, `**` also for folders, as for
    `gcloud storage ls`. Raise `ValueError` if there are no such objects.
    """
    uri = f"{uri.rstrip('/')}/" if "://" not in uri and Path(uri).is_dir() else uri
    folder, _, start = _start(uri).rpartition("/")
    if folder in {"gs:", "gs:/", "gs://"}:
        raise ValueError(f"{uri!r} names no object: expected gs://bucket/path/to/object")
    below = f"{uri}**" if uri.endswith("/") else uri
    wanted = re.compile(re.escape(below[len(folder) + 1 :]).replace(r"\*\*", ".*").replace(r"\*", "[^/]*"))
    listed = open_store(folder, give_up_s=give_up_s).list(start)
    # The console makes an object for each folder, whose name ends in a slash.
    found = [one for one in listed if wanted.fullmatch(one.name) and one.name and one.name[-1] != "/"]
    if not found:
        raise ValueError("there are no objects below it" if uri.endswith("/") else "the object does not exist")
    objects = tuple(
        DataObject(uri=f"{folder}/{one.name}", size=one.size, crc32c=one.crc32c or 0, generation=one.generation)
        for one in found
    )
    return Dataset(uri=uri, objects=objects), max((one.created for one in found if one.created), default=None)


def write(store: Store, dataset: Dataset) -> None:
    """Record a data set below the root of a project. The same objects in the same generations write nothing."""
    with contextlib.suppress(Conflict):
        store.write(dataset.name, codec.encode(dataset), if_generation=ABSENT)


def read(uri: str, *, give_up_s: float = GIVE_UP_S) -> Dataset:
    """Return the data set in a record. Raise `NotFound`, `Damaged` or `NewerFormat`."""
    root = uri.rpartition("/datasets/")[0]
    name = uri[len(root) + 1 :]
    found, _ = codec.read(Dataset, open_store(root, give_up_s=give_up_s), name, "a data set", FIX)
    if found.name != name:
        raise Damaged(f"{uri} was changed after it was written: {FIX}")
    return found


def is_record(uri: str) -> bool:
    """Return whether a URI names the record of a data set."""
    return re.search(rf"/{DATASET.pattern}$", uri) is not None


def _start(uri: str) -> str:
    return uri.partition("*")[0]
