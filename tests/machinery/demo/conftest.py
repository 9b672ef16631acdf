"""Provide a director of small processes, and a clock that nobody else keeps waiting."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path

import pytest

from spot.demo.director import Director
from spot.demo.virtual_clock import VirtualClock


@pytest.fixture(scope="module")
def light_forkserver() -> Iterator[None]:
    """Fork from a process that has not imported PyTorch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spot.demo.director.PRELOADED", ["tests.machinery.demo.targets"])
        yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


@pytest.fixture
def director(light_forkserver: None, tmp_path: Path) -> Iterator[Director]:  # noqa: ARG001  # it must run
    director = Director(tmp_path)
    yield director
    director.close()


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    """Return a clock whose waits end at once, at the time that they are for."""
    ours, theirs = socket.socketpair()

    def answer() -> None:
        for line in theirs.makefile("rb"):
            number, until, _ = json.loads(line)
            theirs.sendall(json.dumps([number, until]).encode() + b"\n")

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield VirtualClock(ours)
    ours.close()
    thread.join()
    theirs.close()
