"""Provide a shaped server inside this process, with a clock that counts delays instead of waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from benchmarks.pace import Pace
from benchmarks.shaped import Server
from tests.benchmarks.test_pace import Clock

POLL_S = 0.01


@pytest.fixture
def clocks() -> list[Clock]:
    """One for each connection to the server, in the order of their opening."""
    return []


@pytest.fixture
def server(clocks: list[Clock], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """What `gs://` means during the test."""

    def pace() -> Pace:
        clock = Clock()
        clocks.append(clock)
        return Pace(clock=clock, sleep=clock.sleep)

    with Server(keep=1 << 30, pace=pace) as server:
        threading.Thread(target=server.serve_forever, args=(POLL_S,), daemon=True).start()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        yield server
        server.shutdown()
