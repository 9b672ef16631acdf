"""Read an object in a pinned generation, and list the objects of a pinned prefix."""

import re

from spot.core.errors import PermissionDenied
from spot.storage.base import GIVE_UP_S, Entry, NotFound, Store
from spot.storage.checksum import crc32c
from spot.storage.factory import open_object, open_store
from spot.storage.records.manifest import DataObject
from spot.trainer.runtime.errors import UsageError


def read_pinned(uri: str) -> tuple[bytes, DataObject]:
    """Return the bytes of a local file or a `gs://` object, and its entry for `Data.objects`. Raise `UsageError`.

    `gs://bucket/object#generation` reads that generation only; `spot submit` pins the generation it finds.
    """
    plain, wanted = _generation(uri)
    try:
        store, name = open_object(plain)
        found = store.read(name)
    except NotFound as error:
        raise UsageError(f"--data {uri}: it does not exist") from error
    except (PermissionDenied, ValueError) as error:
        raise UsageError(f"--data {uri}: {error}") from error
    if wanted not in {None, found.generation}:
        raise UsageError(
            f"--data {uri}: it was overwritten and has generation {found.generation} now: restore the old"
            " content, or submit another run"
        )
    # A local file's generation is its modification time, which does not identify its content.
    generation = found.generation if plain.startswith("gs://") else 0
    return found.data, DataObject(uri=plain, size=len(found.data), crc32c=crc32c(found.data), generation=generation)


def list_pinned(uri: str, *, give_up_s: float = GIVE_UP_S) -> tuple[Store, list[Entry], DataObject]:
    """Return the objects below `gs://bucket/prefix/` or in a local folder, and one entry for `Data.objects`.

    The entry's checksum is that of the listing: names, sizes and checksums, for local files times instead of checksums.
    `gs://bucket/prefix/#checksum` accepts that listing only. Raise `UsageError`.
    """
    plain, wanted = _generation(uri)
    try:
        store = open_store(plain, give_up_s=give_up_s)
        entries = [entry for entry in store.list("") if entry.name and not entry.name.endswith("/")]
    except (PermissionDenied, ValueError) as error:
        raise UsageError(f"--data {uri}: {error}") from error
    if not entries:
        raise UsageError(f"--data {uri}: there are no objects below it")
    lines = [
        f"{entry.name}\t{entry.size}\t{entry.generation if entry.crc32c is None else entry.crc32c}\n"
        for entry in entries
    ]
    listing = crc32c("".join(lines).encode())
    if wanted not in {None, listing}:
        raise UsageError(
            f"--data {uri}: its {len(entries)} objects have changed, their listing has checksum {listing} now: restore"
            " the old content, or submit another run"
        )
    size = sum(entry.size for entry in entries)
    return store, entries, DataObject(uri=plain, size=size, crc32c=listing, generation=0)


def _generation(uri: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(gs://.+)#(\d+)", uri)
    return (match[1], int(match[2])) if match else (uri, None)
