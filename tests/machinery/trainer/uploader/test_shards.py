"""Test that a checkpoint of several ranks is committed once all of them uploaded their part, and never with another."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from spot.storage import paths
from spot.storage.base import ABSENT, Store
from spot.storage.checksum import crc32c
from spot.storage.factory import open_store
from spot.storage.paths import Upload
from spot.storage.records import codec, manifest
from spot.storage.records.manifest import Manifest, Part, Shard
from spot.trainer.uploader.messages import Durable, Failed, Released, Withdraw
from spot.trainer.uploader.messages import Fault as Why
from tests.machinery.trainer.uploader.test_worker import PATIENCE_S, RUN, Uploader, content, read, steps, steps_of_parts

Ranks = list[Uploader]
Start = Callable[..., Ranks]

one_store = pytest.mark.parametrize("uri", ["local"], indirect=True)
"""For what does not depend on the kind of store."""


@pytest.fixture
def start(store: Store) -> Iterator[Start]:
    """Start the uploaders of all ranks of a start of the attempt."""
    with ExitStack() as stack:

        def started(number: int = 1, world: int = 3) -> Ranks:
            ranks = [Uploader(store, start=number, rank=rank, world=world) for rank in range(world)]
            for uploader in ranks:
                stack.callback(uploader.process.close)
            return ranks

        yield started


def save(ranks: Ranks, step: int, text: str = "") -> None:
    """Save on all ranks, and wait until the step is durable."""
    for uploader in reversed(ranks):
        uploader.save(step, f"{text}{uploader.rank}".encode())
    for uploader in ranks:
        message = uploader.next_message()
        assert isinstance(message, Durable), message


def upload(step: int, start: int = 1, save: int = 1, world: int = 3) -> Upload:
    return Upload(run=RUN, step=step, token=start, attempt="a", start=start, save=save, world=world)


def wait_for(store: Store, name: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while name not in {entry.name for entry in store.list(name)}:
        assert time.monotonic() < end


def test_a_checkpoint_has_the_parts_of_all_ranks_in_their_order(start: Start, store: Store) -> None:
    save(start(), 7)
    assert read(store, 7).world == 3
    assert content(store, 7) == b"012"


@one_store
def test_nothing_is_committed_before_the_last_rank_has_uploaded(start: Start, store: Store) -> None:
    first, second, third = start()
    first.save(7, b"0")
    third.save(7, b"2")
    assert isinstance(third.next_message(), Durable)
    wait_for(store, upload(7).part(0))
    assert steps(store) == []
    second.save(7, b"1")
    assert isinstance(first.next_message(), Durable)
    assert content(store, 7) == b"012"


@one_store
def test_a_rank_that_is_killed_in_a_save_leaves_no_checkpoint_and_the_next_start_commits_its_own(
    start: Start, store: Store
) -> None:
    ranks = start()
    save(ranks, 1)
    for uploader in ranks[:2]:
        uploader.save(2, b"old")
    ranks[2].process.close()
    assert isinstance(ranks[1].next_message(), Durable)
    ranks[0].process.close()
    assert steps(store) == [1]
    save(start(2), 2, "new")
    assert content(store, 2) == b"new0new1new2"


def test_rank_0_killed_between_the_last_record_and_the_manifest_leaves_no_checkpoint(
    start: Start, store: Store
) -> None:
    ranks = start()
    save(ranks, 1)
    ranks[0].save(2, b"old")
    wait_for(store, upload(2, save=2).part(0))
    ranks[0].process.close()
    for uploader in ranks[1:]:
        uploader.save(2, b"old")
        assert isinstance(uploader.next_message(), Durable)
    assert len(store.list(upload(2, save=2).shards)) == 2
    assert steps(store) == [1]
    save(start(2), 2, "new")
    assert content(store, 2) == b"new0new1new2"


@one_store
def test_a_rank_of_an_older_start_never_gets_into_a_checkpoint(start: Start, store: Store) -> None:
    old, new = start(), start(2)
    for uploader in new[:2]:
        uploader.save(5, b"new")
    for uploader in old[1:]:
        uploader.save(5, b"old")
        assert isinstance(uploader.next_message(), Durable)
    assert isinstance(new[1].next_message(), Durable)
    assert steps(store) == []
    new[2].save(5, b"new")
    assert isinstance(new[0].next_message(), Durable)
    assert content(store, 5) == b"newnewnew"


@one_store
def test_a_rank_of_another_save_or_world_never_gets_into_a_checkpoint(start: Start, store: Store) -> None:
    first, second, third = start()
    for other in (upload(5, save=2), upload(5, world=2), replace(upload(5), token=2)):
        part = Part(name=other.part(0, 2), size=1, crc32c=crc32c(b"x"), generation=1)
        store.write(other.shard(2), codec.encode(Shard(parts=(part,))), if_generation=ABSENT)
    first.save(5, b"0")
    second.save(5, b"1")
    assert isinstance(second.next_message(), Durable)
    assert steps(store) == []
    third.save(5, b"2")
    assert isinstance(first.next_message(), Durable)
    assert content(store, 5) == b"012"


@one_store
def test_a_record_that_names_other_objects_is_refused(start: Start, store: Store) -> None:
    first, second, _ = start()
    wrong: tuple[dict[str, object], ...] = (
        {"name": "run/writer.json"},
        {"name": "../../etc/passwd"},
        {"name": upload(2, save=3).part(0, 0)},
        {"name": upload(3, save=4).part(1, 2)},
        {"name": upload(4, save=6).part(0, 2)},
        {"size": -1},
        {"crc32c": 2**32},
        {"generation": "1"},
    )
    for step, changes in enumerate(wrong):
        this = upload(step, save=step + 1)
        part = Part(name=this.part(0, 2), size=1, crc32c=1, generation=1)
        record = {"format": 1, "parts": [{**asdict(part), **changes}]}
        store.write(this.shard(2), json.dumps(record).encode(), if_generation=ABSENT)
        second.save(step, b"1")
        assert isinstance(second.next_message(), Durable)
        first.save(step, b"0")
        message = first.next_message()
        assert isinstance(message, Failed), changes
        assert message.fault == Why.TRANSIENT
        assert this.shard(2) in message.reason
        assert steps(store) == []


@one_store
def test_a_save_that_rank_0_withdraws_is_not_committed_later(start: Start, store: Store) -> None:
    ranks = start(world=2)
    number = ranks[0].save(5, b"0")
    wait_for(store, upload(5, world=2).part(0))
    ranks[0].process.send(Withdraw(save=number))
    assert isinstance(ranks[0].next_message(), Released)
    ranks[1].save(5, b"1")
    assert isinstance(ranks[1].next_message(), Durable)
    save(ranks, 6)
    assert steps(store) == [6]


def test_retention_keeps_the_parts_of_all_ranks_and_deletes_their_records(start: Start, store: Store) -> None:
    ranks = start()
    for step in (1, 2, 3):
        save(ranks, step)
    end = time.monotonic() + PATIENCE_S
    while steps_of_parts(store) != [2, 2, 2, 3, 3, 3]:
        assert time.monotonic() < end
    assert [step for step in steps(store) if content(store, step) == b"012"] == [3, 2]


@contextmanager
def readable(store: Store) -> Iterator[None]:
    """Assert that every committed checkpoint has all its parts, of one save."""
    yield
    for commit in manifest.listed(store, RUN):
        found = manifest.read(store, RUN, commit)
        assert_of_one_save(found)
        assert {part.name for part in found.parts} <= {entry.name for entry in store.list(paths.data(RUN))}


def assert_of_one_save(found: Manifest) -> None:
    folders = {part.name.rpartition("/")[0].rpartition("-r")[0] for part in found.parts}
    assert len(folders) == 1
    assert [shard[0].name.rpartition("/")[0].rpartition("-r")[2] for shard in found.shards] == [
        str(rank) for rank in range(found.world)
    ]


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(20))
def test_uploaders_killed_at_any_moment_leave_only_whole_checkpoints_of_one_save(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    store = open_store(str(tmp_path))
    with ExitStack() as stack:
        for number in range(1, 6):
            world = chance.choice((2, 3, 4))
            ranks = [Uploader(store, start=number, rank=rank, world=world, keep=10) for rank in range(world)]
            for uploader in ranks:
                stack.callback(uploader.process.close)
            with readable(store):
                base = (number - 1) * 3
                for step in range(base + 1, base + 3):
                    for uploader in chance.sample(ranks, world):
                        uploader.save(step, f"{number}{uploader.rank}".encode() * 200_000)
                    if step == base + 1:
                        assert all(isinstance(uploader.next_message(), Durable) for uploader in ranks)
                        assert steps(store)[0] == step
                time.sleep(chance.uniform(0, 0.15))  # a kill at a random moment of the second save
                chance.choice(ranks).process.close()
                if chance.random() < 0.5:
                    ranks[0].process.close()
        assert set(steps(store)) in ({13}, {13, 14})
