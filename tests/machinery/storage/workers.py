"""Run an action on a store in another process: `python workers.py ACTION URI ARGUMENTS...`."""

from __future__ import annotations

import importlib
import multiprocessing
import sys
from multiprocessing.synchronize import Barrier

from spot.storage.base import ABSENT, Conflict
from spot.storage.factory import open_store

COUNTER, PRIZE = "counter", "prize"


def race(uri: str, processes: str, increments: str) -> None:
    """Create an object in a race of processes, then count; print the creator."""
    importlib.import_module("spot.storage.gcs")  # once, before forking
    fork = multiprocessing.get_context("fork")
    start = fork.Barrier(int(processes))
    racers = [
        fork.Process(target=_race, args=(uri, start, number, int(increments))) for number in range(int(processes))
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    sys.exit(any(racer.exitcode for racer in racers))


def _race(uri: str, start: Barrier, number: int, increments: int) -> None:
    store = open_store(uri)
    start.wait()
    try:
        store.write(PRIZE, b"%d" % number, if_generation=ABSENT)
        print(number, flush=True)
    except Conflict:
        pass
    for _ in range(increments):
        while True:
            found = store.read(COUNTER)
            try:
                store.write(COUNTER, b"%d" % (int(found.data) + 1), if_generation=found.generation)
            except Conflict:
                continue
            break


def rewrite(uri: str, name: str, size: str) -> None:
    """Replace an object for ever, each time by one repeated byte; print the byte when it is durable."""
    store = open_store(uri)
    generation = next((entry.generation for entry in store.list(name)), ABSENT)
    for count in range(1_000_000):
        byte = count % 256
        generation = store.write(name, bytes([byte]) * int(size), if_generation=generation).generation
        print(byte, flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["race", *arguments]:
            race(*arguments)
        case ["rewrite", *arguments]:
            rewrite(*arguments)
