"""Read objects in a pinned generation."""

import re

from spot.core.errors import SpotError
from spot.storage.base import NotFound
from spot.storage.checksum import crc32c
from spot.storage.factory import open_object
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
    except (SpotError, ValueError) as error:
        raise UsageError(f"--data {uri}: {error}") from error
    if wanted not in {None, found.generation}:
        raise UsageError(
            f"--data {uri}: it was overwritten and has generation {found.generation} now: restore the old"
            " content, or submit another run"
        )
    # A local file's generation is its modification time, which does not identify its content.
    generation = found.generation if plain.startswith("gs://") else 0
    return found.data, DataObject(uri=plain, size=len(found.data), crc32c=crc32c(found.data), generation=generation)


def _generation(uri: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(gs://.+)#(\d+)", uri)
    return (match[1], int(match[2])) if match else (uri, None)
