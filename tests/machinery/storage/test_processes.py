"""Test several processes on one store: one writer wins, and a killed process leaves no partial object."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from spot.storage.base import ABSENT
from spot.storage.factory import open_store
from tests.machinery.storage import workers

PROCESSES = 8
INCREMENTS = 5


def start(*arguments: object) -> subprocess.Popen[str]:
    # -P: the folders here are named for the packages they test, and must not hide them.
    return subprocess.Popen(
        [sys.executable, "-P", workers.__file__, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_one_of_many_processes_creates_an_object_and_their_counter_loses_nothing(uri: str) -> None:
    store = open_store(uri)
    store.write(workers.COUNTER, b"0", if_generation=ABSENT)
    racers = start("race", uri, PROCESSES, INCREMENTS)
    winners = racers.communicate()[0].split()
    assert racers.returncode == 0
    assert winners == [store.read(workers.PRIZE).data.decode()]
    assert store.read(workers.COUNTER).data == b"%d" % (PROCESSES * INCREMENTS)


def test_a_writer_killed_at_any_moment_leaves_a_whole_object_and_no_lock(tmp_path: Path) -> None:
    uri, name, size = str(tmp_path), "folder/object", 3_000_000
    store, moments = open_store(uri), random.Random(0)
    for _ in range(12):
        writer = start("rewrite", uri, name, size)
        assert writer.stdout
        durable = [writer.stdout.readline() for _ in range(moments.randint(1, 3))]
        time.sleep(moments.uniform(0, 0.01))  # the moment is the point
        writer.kill()
        durable += writer.communicate()[0].splitlines()

        found = store.read(name)
        last = int(durable[-1])
        assert found.data in (bytes([last]) * size, bytes([last + 1]) * size)
        assert [entry.name for entry in store.list("")] == [name]
        replaced = store.write(name, b"by another", if_generation=found.generation)
        assert replaced.generation > found.generation
