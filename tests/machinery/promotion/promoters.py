"""Settle runs in processes that start at once: `python promoters.py URI RUN...`."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
from multiprocessing.synchronize import Barrier

from spot.config.settings import GateSettings
from spot.promotion.settle import settle
from spot.storage.factory import open_store
from tests.machinery.samples import after

PROCESSES = 6


def race(uri: str, *runs: str) -> None:
    importlib.import_module("spot.storage.gcs")  # once, before forking
    fork = multiprocessing.get_context("fork")
    start = fork.Barrier(len(runs))
    racers = [fork.Process(target=_settle, args=(uri, start, run)) for run in runs]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    sys.exit(any(racer.exitcode for racer in racers))


def _settle(uri: str, start: Barrier, run: str) -> None:
    store, models = open_store(uri), open_store(f"{uri}/models")
    start.wait()
    found = settle(store, models, run, GateSettings(), after(hours=1))
    os.write(1, f"{found.verdict if found else 'none'}\n".encode())  # in one piece, also beside other processes


if __name__ == "__main__":
    race(*sys.argv[1:])
