"""Open the store that a URI names."""

from pathlib import Path

from spot.storage.base import GIVE_UP_S, Store


def open_store(uri: str, *, give_up_s: float = GIVE_UP_S) -> Store:
    """Return the store at `gs://bucket/prefix` or in a local directory, which the first write creates.

    Requests to a bucket are retried for `give_up_s`. Raises `ValueError` for other URIs.
    """
    if uri.startswith("gs://"):
        from spot.storage.gcs import GcsStore  # 0.3 s of import that a local run need not pay

        return GcsStore(uri, give_up_s=give_up_s)
    if "://" in uri or uri.startswith("gs:"):
        raise ValueError(f"{uri!r} is neither a gs:// URI nor a local path")
    if (path := Path(uri).absolute()).is_relative_to("/gcs"):
        rest = path.relative_to("/gcs")
        raise ValueError(f"{uri!r} is a FUSE mount, and its rename is not atomic: use 'gs://{rest}'")
    from spot.storage.local import LocalStore

    return LocalStore(uri)


def open_object(uri: str) -> tuple[Store, str]:
    """Return the store and the name of the object at `uri`."""
    root, _, name = uri.rpartition("/")
    if uri.startswith("gs://") and (root in {"gs:/", "gs:"} or not name):
        raise ValueError(f"{uri!r} names no object: expected gs://bucket/path/to/object")
    return open_store(root or ("/" if uri.startswith("/") else ".")), name
