"""Test the standby's side of the lease: one request, the acceptance of an offer, the replacement of a dead holder."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from spot.core.errors import TemporarilyUnavailable
from spot.storage import paths
from spot.storage.base import ABSENT, Object
from spot.storage.paths import Commit
from spot.storage.records import lease
from spot.storage.records.lease import Lease, LeaseLost
from spot.trainer.checkpoint.standby import Standby, stand_by
from tests.machinery.clocks import ManualClock
from tests.machinery.storage.completed import complete
from tests.machinery.storage.memory import MemoryStore
from tests.machinery.trainer.leases import RUN, TIMING, become, now, pass_time

HOLDER, ME = "a1.1", "a2.1"
REPLACED = "a1"


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    lease.claim(store, RUN, HOLDER)
    return store


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def standby(store: MemoryStore, clock: ManualClock) -> Standby:
    return Standby(store, RUN, ME, TIMING, replaces=REPLACED, clock=clock)


def wait(standby: Standby, clock: ManualClock, seconds: float) -> Lease | None:
    """Look at the lease every poll interval for so long, and return it once it is taken."""
    for _ in range(int(seconds / TIMING.poll_s)):
        pass_time(clock, TIMING.poll_s)
        if mine := standby.look():
            return mine
    return None


def test_it_claims_a_lease_that_does_not_exist(standby: Standby, store: MemoryStore) -> None:
    store.delete(paths.writer(RUN))
    assert standby.look() == Lease(token=1, holder=ME, replaced=("a1",))


def test_it_takes_the_lease_of_an_earlier_start_of_its_own(standby: Standby, store: MemoryStore) -> None:
    become(store, Lease(token=4, holder="a2.0", replaced=("a1",)))
    assert standby.look() == Lease(token=5, holder=ME, replaced=("a1",))


def test_it_requests_the_lease_once_and_waits(standby: Standby, store: MemoryStore) -> None:
    assert standby.look() is None
    assert now(store) == Lease(token=1, holder=HOLDER, successor=ME)
    requested = lease.look(store, RUN)
    assert standby.look() is None
    assert lease.look(store, RUN) == requested


def test_it_accepts_an_offer(standby: Standby, store: MemoryStore) -> None:
    standby.look()
    become(store, now(store).offered_to_successor())
    assert standby.look() == now(store) == Lease(token=2, holder=ME, replaced=("a1",))


def test_an_offer_withdrawn_at_the_moment_of_its_acceptance_is_not_accepted(
    standby: Standby, store: MemoryStore
) -> None:
    standby.look()
    become(store, now(store).offered_to_successor())
    store.before_next_write = lambda: become(store, now(store).without_request())
    assert standby.look() is None
    assert now(store).holder == HOLDER
    assert standby.look() is None  # and requests it again
    assert now(store).successor == ME


def test_it_replaces_an_earlier_request(standby: Standby, store: MemoryStore) -> None:
    become(store, now(store).requested_by("a0.1").offered_to_successor())
    assert standby.look() is None
    assert (now(store).successor, now(store).offered) == (ME, False)


def test_it_ends_if_another_standby_replaces_its_request(standby: Standby, store: MemoryStore) -> None:
    standby.look()
    become(store, now(store).requested_by("a3.1"))
    with pytest.raises(LeaseLost, match=r"a3\.1 waits for the lease of run run instead of a2\.1"):
        standby.look()


@pytest.mark.parametrize("later_start", ["requested", "taken"])
def test_it_ends_if_a_later_start_of_its_attempt_is_active(
    later_start: str, standby: Standby, store: MemoryStore
) -> None:
    """It was frozen before its request."""
    become(store, now(store).requested_by("a2.2") if later_start == "requested" else now(store).taken_by("a2.2", "a1"))
    before = now(store)
    with pytest.raises(LeaseLost, match=r"a2\.2 is a later start of the attempt than a2\.1"):
        standby.look()
    assert now(store) == before


def test_it_ends_if_another_standby_has_replaced_the_holder(standby: Standby, store: MemoryStore) -> None:
    """It was frozen meanwhile. Otherwise it would replace its own replacement."""
    standby.look()
    become(store, now(store).requested_by("a3.1").taken_by("a3.1", "a1"))
    with pytest.raises(LeaseLost, match=r"another standby replaced a1: a3\.1 holds the lease"):
        standby.look()
    assert now(store).successor is None


def dead_predecessor(store: MemoryStore) -> None:
    store.delete(paths.writer(RUN))
    lease.claim(store, RUN, "a0.1")


def no_lease(store: MemoryStore) -> None:
    store.delete(paths.writer(RUN))


def offering_predecessor(store: MemoryStore) -> None:
    dead_predecessor(store)
    become(store, now(store).requested_by(ME).offered_to_successor())


def own_earlier_start(store: MemoryStore) -> None:
    dead_predecessor(store)
    lease.claim(store, RUN, "a2.0")


@pytest.mark.parametrize("before", [no_lease, dead_predecessor, offering_predecessor, own_earlier_start])
def test_an_attempt_that_starts_after_its_standby_replaced_it_ends(
    before: Callable[[MemoryStore], None], standby: Standby, store: MemoryStore, clock: ManualClock
) -> None:
    """The holder was still pulling its image."""
    before(store)
    assert wait(standby, clock, TIMING.dead_s + 3 * TIMING.poll_s) == now(store)
    assert now(store).holder == ME
    with pytest.raises(LeaseLost, match=r"attempt a1 was replaced: the lease of run run is a2\.1's"):
        lease.claim(store, RUN, HOLDER)


def test_it_waits_for_a_holder_that_starts_in_time(standby: Standby, store: MemoryStore, clock: ManualClock) -> None:
    dead_predecessor(store)
    assert wait(standby, clock, TIMING.dead_s) is None
    lease.claim(store, RUN, HOLDER)
    assert wait(standby, clock, TIMING.dead_s) is None
    assert (now(store).holder, now(store).successor) == (HOLDER, ME)


def test_a_start_of_a_replaced_attempt_does_not_request_the_lease(standby: Standby, store: MemoryStore) -> None:
    become(store, Lease(token=5, holder="a3.1", replaced=("a1", "a2")))
    with pytest.raises(LeaseLost, match=r"attempt a2 was replaced: a3\.1 holds the lease"):
        standby.look()
    assert now(store).successor is None


def test_a_holder_without_a_heartbeat_is_replaced(standby: Standby, clock: ManualClock) -> None:
    standby.look()
    assert wait(standby, clock, TIMING.dead_s) is None
    assert wait(standby, clock, 2 * TIMING.poll_s) == Lease(token=2, holder=ME, replaced=("a1",))


def test_a_holder_with_heartbeats_is_not_replaced(standby: Standby, store: MemoryStore, clock: ManualClock) -> None:
    for _ in range(10):
        assert wait(standby, clock, TIMING.dead_s - TIMING.poll_s) is None
        become(store, now(store).with_heartbeat())


def test_a_new_start_of_the_holder_counts_as_a_heartbeat(
    standby: Standby, store: MemoryStore, clock: ManualClock
) -> None:
    standby.look()
    assert wait(standby, clock, TIMING.dead_s - TIMING.poll_s) is None
    lease.claim(store, RUN, "a1.2")
    assert wait(standby, clock, TIMING.dead_s - TIMING.poll_s) is None
    assert now(store).successor == ME


def test_time_without_looks_does_not_count_as_silence_of_the_holder(standby: Standby, clock: ManualClock) -> None:
    """The standby was frozen or got no answer, and so may the holder."""
    standby.look()
    for _ in range(3):
        pass_time(clock, 10 * TIMING.dead_s)
        assert standby.look() is None
    assert wait(standby, clock, TIMING.dead_s + 2 * TIMING.poll_s)


def test_a_heartbeat_at_the_last_moment_counts(standby: Standby, store: MemoryStore, clock: ManualClock) -> None:
    standby.look()
    wait(standby, clock, TIMING.dead_s)
    pass_time(clock, TIMING.poll_s)
    store.before_next_write = lambda: become(store, now(store).with_heartbeat())
    assert standby.look() is None
    assert now(store).holder == HOLDER


def test_a_damaged_lease_is_claimed_above_every_earlier_token(standby: Standby, store: MemoryStore) -> None:
    there = store.read(paths.writer(RUN))
    store.write(paths.writer(RUN), b'{"format": 1, "token": 1e999}', if_generation=there.generation)
    commit = Commit(step=10, token=7, from_step=0, from_token=0)
    store.write(paths.manifest(RUN, commit), b"", if_generation=ABSENT)
    mine = standby.look()
    assert mine is not None
    assert (mine.holder, mine.token, mine.replaced) == (ME, 8, (REPLACED,))


def test_it_waits_until_it_holds_the_lease(standby: Standby, store: MemoryStore, clock: ManualClock) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            become(store, now(store).offered_to_successor())

    clock.on_sleep = sleep
    assert stand_by(standby, MemoryStore()) == now(store).token
    assert slept == [TIMING.poll_s] * 3


def test_it_ends_when_the_run_is_completed_meanwhile(standby: Standby, clock: ManualClock) -> None:
    outputs = MemoryStore()
    clock.on_sleep = lambda _: complete(outputs, RUN, datetime(2026, 11, 28, tzinfo=UTC))
    assert stand_by(standby, outputs) is None


def test_reads_of_a_store_that_does_not_answer_are_retried(store: MemoryStore, clock: ManualClock) -> None:
    class Unavailable(MemoryStore):
        reads = 0

        def read(self, name: str) -> Object:
            self.reads += 1
            if self.reads < 4:
                raise TemporarilyUnavailable("no answer for 120 s")
            return super().read(name)

    unavailable = Unavailable()
    standby = Standby(unavailable, RUN, ME, TIMING, replaces=REPLACED, clock=clock)
    assert stand_by(standby, store) == 1
    assert now(unavailable) == Lease(token=1, holder=ME, replaced=("a1",))
