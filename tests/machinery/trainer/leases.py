"""The writer's lease of one run, as the tests of its two sides see and change it."""

from __future__ import annotations

from datetime import timedelta

from spot.storage.base import Store
from spot.storage.records import lease
from spot.storage.records.lease import Lease
from spot.trainer.uploader.timing import LeaseTiming
from tests.machinery.clocks import ManualClock

RUN = "run"
TIMING = LeaseTiming()


def now(store: Store) -> Lease:
    held = lease.read(store, RUN)
    assert held
    return held


def become(store: Store, new: Lease) -> None:
    """What another process makes of it."""
    lease.change(store, RUN, lease.look(store, RUN), new)


def pass_time(clock: ManualClock, seconds: float) -> None:
    clock.advance(timedelta(seconds=seconds))
