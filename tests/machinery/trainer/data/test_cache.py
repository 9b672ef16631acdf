"""Test that objects are fetched once, verified, and kept within a limit, in one process and in several."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate, islice
from pathlib import Path

import numpy as np
import pytest
import torch

from spot.core.errors import TemporarilyUnavailable
from spot.storage.base import ABSENT, Store
from spot.storage.factory import open_store
from spot.storage.records import dataset
from spot.trainer.data import cache
from spot.trainer.data.cache import ObjectCache
from spot.trainer.data.loader import Loader
from spot.trainer.data.order import WINDOW, Sample
from spot.trainer.runtime.errors import UsageError

Make = Callable[..., ObjectCache]
ITEMS = 5
SHARD = ITEMS * 4


@pytest.fixture
def shards(gs_uri: str) -> Store:
    """Return a prefix with 8 objects of 5 numbers."""
    store = open_store(f"{gs_uri}/shards")
    fill(store, 8)
    return store


@pytest.fixture
def make(shards: Store, tmp_path: Path) -> Make:
    return lambda **more: ObjectCache(f"{shards.uri}/", tmp_path / "cache", **more)


def fill(store: Store, count: int) -> None:
    for shard in range(count):
        numbers = np.arange(shard * ITEMS, (shard + 1) * ITEMS, dtype=np.int32)
        store.write(f"part/{shard:03d}.bin", numbers.tobytes(), if_generation=ABSENT)


def files(tmp_path: Path) -> list[str]:
    return sorted(path.name[:6] for path in (tmp_path / "cache").glob("*/*.bin"))


def overwrite(store: Store, name: str) -> None:
    store.write(name, b"other", if_generation=store.read(name).generation)


def test_an_object_is_a_local_file_with_its_content(make: Make, shards: Store) -> None:
    made = make()
    assert made.path(3).read_bytes() == shards.read(made.names[3]).data
    assert np.memmap(made.path(3), dtype=np.int32).tolist() == [15, 16, 17, 18, 19]
    assert (len(made.names), made.sizes[3], made.pinned.size) == (8, SHARD, 8 * SHARD)


def test_an_object_that_arrives_damaged_is_not_kept(make: Make, tmp_path: Path) -> None:
    made = make()
    made._objects = (replace(made._objects[0], crc32c=1), *made._objects[1:])
    with pytest.raises(TemporarilyUnavailable, match=r"part/000\.bin arrived with CRC32C \d+, not 1"):
        made.path(0)
    assert files(tmp_path) == []


def test_an_empty_object_is_an_empty_file(make: Make, shards: Store) -> None:
    shards.write("part/empty.part", b"", if_generation=ABSENT)
    made = make()
    assert made.path(made.names.index("part/empty.part")).read_bytes() == b""


def test_a_directory_that_cannot_be_written_is_named(shards: Store, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=f"cannot keep data in {tmp_path}/file/.*: Not a directory"):
        ObjectCache(f"{shards.uri}/", tmp_path / "file").path(0)


def test_an_object_is_fetched_once(make: Make, shards: Store) -> None:
    made = make()
    for index in range(8):
        made.path(index)
    overwrite(shards, made.names[0])
    assert np.fromfile(made.path(0), dtype=np.int32)[0] == 0


def test_an_object_overwritten_since_the_listing_is_refused(make: Make, shards: Store) -> None:
    made = make()
    overwrite(shards, made.names[0])
    with pytest.raises(UsageError, match=r"part/000\.bin: it was overwritten"):
        made.path(0)


def test_a_torn_file_is_fetched_again(make: Make) -> None:
    used = make()
    used.path(1).write_bytes(b"torn")
    assert np.fromfile(make().path(1), dtype=np.int32)[0] == ITEMS


def test_the_least_recently_opened_files_give_way(make: Make, tmp_path: Path) -> None:
    made = make(limit_bytes=6 * SHARD)
    for index in (*range(6), 0, 6, 7):
        made.path(index)
    assert files(tmp_path) == ["000000", "000003", "000004", "000005", "000006", "000007"]


@pytest.mark.parametrize("last", [1, 2])
def test_a_file_that_another_process_removes_meanwhile_is_none(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    first = make().path(0)
    looks, stat = iter(range(1, 100)), Path.stat

    def removing(path: Path, **options: bool) -> os.stat_result:
        if path == first and next(looks) == last:
            first.unlink()
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", removing)
    make(limit_bytes=SHARD).path(1)
    assert "000001" in files(tmp_path)


def test_no_file_gives_way_that_a_process_uses(make: Make, tmp_path: Path) -> None:
    used, other = make(), make(limit_bytes=WINDOW * SHARD)
    for index in range(WINDOW):
        used.path(index)
    for index in range(WINDOW, 8):
        other.path(index)
    assert files(tmp_path) == [f"{index:06d}" for index in range(8)]


def first_of(made: ObjectCache, index: int) -> int:
    return int(np.fromfile(made.path(index), dtype=np.int32)[0])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_it_is_usable_in_another_process(make: Make, method: str) -> None:
    made = make()
    made.path(2)
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(first_of, (made, 2)) == 2 * ITEMS
    assert pickle.loads(pickle.dumps(made)).path(2) == made.path(2)


def test_a_local_folder_is_used_in_place_and_a_changed_file_is_refused(tmp_path: Path) -> None:
    fill(open_store(str(tmp_path / "shards")), 2)
    made = ObjectCache(str(tmp_path / "shards"), tmp_path / "cache")
    assert made.path(1) == tmp_path / "shards/part/001.bin"
    made.path(1).write_bytes(b"other")
    with pytest.raises(UsageError, match="overwritten"):
        made.path(1)


def test_a_prefix_without_objects_is_refused(gs_uri: str) -> None:
    with pytest.raises(UsageError, match="there are no objects below it"):
        ObjectCache(f"{gs_uri}/nothing/")


def test_other_bytes_have_another_pin_and_the_same_bytes_written_again_have_not(make: Make, shards: Store) -> None:
    before, content = make().pinned, shards.read("part/000.bin").data
    overwrite(shards, "part/000.bin")
    assert make().pinned.crc32c != before.crc32c
    shards.write("part/000.bin", content, if_generation=shards.read("part/000.bin").generation)
    assert make().pinned == before


def test_a_pinned_data_set_has_no_object_that_came_later(shards: Store, gs_uri: str, tmp_path: Path) -> None:
    found, _ = dataset.find(f"{shards.uri}/part/00*.bin")
    dataset.write(open_store(gs_uri), found)
    shards.write("part/008.bin", b"later", if_generation=ABSENT)
    overwrite(shards, "part/001.bin")
    made = ObjectCache(f"{gs_uri}/{found.name}", tmp_path / "cache")
    assert made.names == [f"{shard:03d}.bin" for shard in range(8)]
    assert first_of(made, 0) == 0
    with pytest.raises(UsageError, match=r"part/001\.bin: it was overwritten or removed, and generation \d+ is gone"):
        made.path(1)


class Sharded:
    """Hold the numbers of all shards, in memory maps."""

    def __init__(self, objects: ObjectCache) -> None:
        self.objects = objects
        self.shard_sizes = [size // 4 for size in objects.sizes]
        self.ends = list(accumulate(self.shard_sizes))

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, sample: Sample) -> int:
        shard, item = divmod(sample.index, ITEMS)
        return int(np.memmap(self.objects.path(shard), dtype=np.int32, mode="r")[item])


def test_each_of_forty_shards_is_fetched_once_an_epoch_through_a_smaller_cache(
    gs_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(open_store(gs_uri), 40)
    log = tmp_path / "fetched"
    fetch = ObjectCache._fetch

    def counted(self: ObjectCache, index: int, path: Path) -> None:
        with log.open("a") as file:
            file.write(f"{index}\n")
        fetch(self, index, path)

    monkeypatch.setattr(cache.ObjectCache, "_fetch", counted)
    objects = ObjectCache(f"{gs_uri}/", tmp_path / "cache", limit_bytes=2 * WINDOW * SHARD)
    loader = Loader(Sharded(objects), batch_size=8, seed=1, device=torch.device("cpu"), workers=2)
    batches = iter(loader)
    seen = [number for batch in islice(batches, loader.steps_per_epoch) for number in batch.tolist()]
    batches.close()  # type: ignore[attr-defined]  # a generator
    assert sorted(seen) == list(range(40 * ITEMS))
    counts = Counter(map(int, log.read_text().split()))
    assert set(counts) == set(range(40))
    # Workers may have begun the next epoch.
    assert sum(counts.values()) <= 40 + 2 * WINDOW
    # Two workers may make room for one more each at the same time.
    assert len(files(tmp_path)) <= 2 * WINDOW + 2
