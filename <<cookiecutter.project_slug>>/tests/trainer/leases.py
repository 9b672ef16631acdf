"""The writer's lease of one run, as the tests of its two sides see and change it."""

from __future__ import annotations

from datetime import timedelta

from bucket import lease
from bucket.lease import Lease
from bucket.store import Store
from tests.clocks import ManualClock
from trainer.pace import Pace

RUN = "run"
PACE = Pace()


def now(store: Store) -> Lease:
    held = lease.read(store, RUN)
    assert held
    return held


def become(store: Store, new: Lease) -> None:
    """What another process makes of it."""
    lease.change(store, RUN, lease.look(store, RUN), new)


def pass_time(clock: ManualClock, seconds: float) -> None:
    clock.advance(timedelta(seconds=seconds))
