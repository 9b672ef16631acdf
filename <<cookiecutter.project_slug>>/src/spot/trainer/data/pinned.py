"""Read the objects that `--data` names, each in exactly the generation that was pinned."""

from spot.core.errors import PermissionDenied, TemporarilyUnavailable
from spot.storage.base import Damaged, NewerFormat, NotFound
from spot.storage.checksum import crc32c
from spot.storage.factory import open_object
from spot.storage.records import dataset
from spot.storage.records.dataset import Dataset
from spot.storage.records.manifest import DataObject
from spot.trainer.runtime.errors import UsageError


def pinned(uri: str) -> Dataset:
    """Return the objects that `spot submit` pinned, or those of a URI or a local folder now. Raise `UsageError`."""
    try:
        return dataset.read(uri) if dataset.is_record(uri) else dataset.find(uri)[0]
    except (Damaged, NewerFormat, NotFound, PermissionDenied, ValueError) as error:
        raise UsageError(f"--data {uri}: {error}") from error


def read_pinned(uri: str) -> tuple[bytes, DataObject]:
    """Return the bytes of a local file or a `gs://` object, and its entry for `Data.objects`. Raise `UsageError`.

    `spot submit` pins the generation of the object, and only that generation is read.
    """
    if not uri.startswith("gs://"):
        try:
            store, name = open_object(uri)
            data = store.read(name).data
        except (NotFound, PermissionDenied, ValueError) as error:
            raise UsageError(f"--data {uri}: {error}") from error
        # A local file's generation is its modification time, which does not identify its content.
        return data, DataObject(uri=uri, size=len(data), crc32c=crc32c(data), generation=0)
    found = pinned(uri)
    if len(found.objects) > 1:
        raise UsageError(f"--data {found.uri}: it names {len(found.objects)} objects, expected one")
    one = found.objects[0]
    store, name = open_object(one.uri)
    view = memoryview(bytearray(one.size))
    try:
        store.read_into(name, view, generation=one.generation)
    except NotFound as error:
        raise changed(one) from error
    except PermissionDenied as error:
        raise UsageError(f"--data {one.uri}: {error}") from error
    check(one, crc32c(view))
    return bytes(view), one


def changed(one: DataObject) -> UsageError:
    """Return the error for an object that does not exist any more as it was pinned."""
    return UsageError(
        f"--data {one.uri}: it was overwritten or removed, and generation {one.generation} is gone: restore it, or"
        " submit another run"
    )


def check(one: DataObject, checksum: int) -> None:
    """Raise `TemporarilyUnavailable` if an object arrived with another checksum than it has in the bucket."""
    if checksum != one.crc32c:
        raise TemporarilyUnavailable(f"{one.uri} arrived with CRC32C {checksum}, not {one.crc32c}")
