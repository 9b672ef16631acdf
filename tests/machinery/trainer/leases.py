"""Read and change the lease of one run in the tests of its holder and its standby."""

from __future__ import annotations

from datetime import timedelta

from spot.storage.base import Store
from spot.storage.records import lease
from spot.storage.records.lease import Lease
from spot.trainer.uploader.messages import LeaseTiming
from tests.machinery.clocks import ManualClock

RUN = "run"
TIMING = LeaseTiming()


def now(store: Store) -> Lease:
    held = lease.read(store, RUN)
    assert held
    return held


def become(store: Store, new: Lease) -> None:
    """Change the lease as another process does."""
    lease.change(store, RUN, lease.look(store, RUN), new)


def pass_time(clock: ManualClock, seconds: float) -> None:
    clock.advance(timedelta(seconds=seconds))
