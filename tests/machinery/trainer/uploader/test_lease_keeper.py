"""Test the holder's side of the lease: requests of a standby, heartbeats, and offers that expire."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from spot.core.errors import SpotError, TemporarilyUnavailable
from spot.storage.base import Object
from spot.storage.records import codec, lease
from spot.storage.records.lease import Lease
from spot.trainer.uploader.lease_keeper import LeaseKeeper
from spot.trainer.uploader.messages import Declined, HandOverRequested, KeepLease, Lost
from tests.machinery.clocks import ManualClock
from tests.machinery.storage.memory import MemoryStore
from tests.machinery.trainer.leases import RUN, TIMING, become, now, pass_time

ME, STANDBY = "a1.1", "a2.1"


class FailingStore(MemoryStore):
    """Raise `TemporarilyUnavailable` while `away`."""

    away = False

    def read(self, name: str) -> Object:
        if self.away:
            raise TemporarilyUnavailable("no answer")
        return super().read(name)


@pytest.fixture
def store() -> FailingStore:
    store = FailingStore()
    lease.claim(store, RUN, ME)
    return store


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def keeper(store: FailingStore, clock: ManualClock) -> LeaseKeeper:
    command = KeepLease(run=RUN, name=ME, timing=TIMING)
    return LeaseKeeper(store, command, clock=clock)


def offer(keeper: LeaseKeeper, store: MemoryStore) -> None:
    """Let the standby request the lease, and offer it: the next look writes the offer."""
    become(store, now(store).requested_by(STANDBY))
    keeper.look()
    keeper.offer(STANDBY)


def test_a_lease_without_a_request_is_only_read(keeper: LeaseKeeper, store: FailingStore, clock: ManualClock) -> None:
    before = lease.look(store, RUN)
    for _ in range(10):
        assert keeper.look() is None
        pass_time(clock, TIMING.heartbeat_s)
    assert lease.look(store, RUN) == before


def test_each_request_is_reported_once(keeper: LeaseKeeper, store: FailingStore) -> None:
    become(store, now(store).requested_by(STANDBY))
    assert keeper.look() == HandOverRequested(successor=STANDBY)
    assert keeper.look() is None
    become(store, now(store).requested_by("a3.1"))
    assert keeper.look() == HandOverRequested(successor="a3.1")
    become(store, now(store).without_request())
    assert keeper.look() == HandOverRequested(successor=None)


def test_it_sends_heartbeats_while_a_standby_waits(
    keeper: LeaseKeeper, store: FailingStore, clock: ManualClock
) -> None:
    become(store, now(store).requested_by(STANDBY))
    heartbeats = []
    for _ in range(9):
        keeper.look()
        heartbeats.append(now(store).heartbeat)
        pass_time(clock, TIMING.heartbeat_s / 2)
    assert heartbeats == [1, 1, 2, 2, 3, 3, 4, 4, 5]


def test_a_lost_lease_is_reported_with_its_new_holder(keeper: LeaseKeeper, store: FailingStore) -> None:
    lease.claim(store, RUN, "a3.1")
    assert keeper.look() == Lost(holder="a3.1")


def test_a_deleted_lease_is_not_lost(keeper: LeaseKeeper, store: FailingStore) -> None:
    store.delete("run/writer.json")
    assert keeper.look() is None


def test_training_continues_after_the_time_of_an_offer_even_if_the_lease_is_deleted(
    keeper: LeaseKeeper, store: FailingStore, clock: ManualClock
) -> None:
    offer(keeper, store)
    store.delete("run/writer.json")
    assert keeper.look() is None
    pass_time(clock, TIMING.offer_s)
    assert keeper.look() == Declined()


def test_a_lease_in_a_newer_format_is_lost(keeper: LeaseKeeper, store: FailingStore) -> None:
    before = lease.look(store, RUN)
    assert before
    store.write("run/writer.json", b'{"format": 2}', if_generation=before.generation)
    assert keeper.look() == Lost(holder="a newer program")


def test_an_offer_stands_until_it_is_accepted(keeper: LeaseKeeper, store: FailingStore, clock: ManualClock) -> None:
    offer(keeper, store)
    assert keeper.look() is None
    assert now(store).offered
    pass_time(clock, TIMING.offer_s - 1)
    assert keeper.look() is None
    become(store, now(store).taken_by(STANDBY))
    assert keeper.look() == Lost(holder=STANDBY)


def test_an_offer_that_is_not_accepted_is_withdrawn_and_the_request_with_it(
    keeper: LeaseKeeper, store: FailingStore, clock: ManualClock
) -> None:
    offer(keeper, store)
    keeper.look()
    pass_time(clock, TIMING.offer_s)
    assert keeper.look() == Declined()
    assert (now(store).offered, now(store).successor, now(store).holder) == (False, None, ME)
    assert keeper.look() is None
    become(store, now(store).requested_by(STANDBY))  # it is alive, and asks again
    assert keeper.look() == HandOverRequested(successor=STANDBY)


def test_an_offer_accepted_at_the_moment_of_its_withdrawal_is_accepted(
    keeper: LeaseKeeper, store: FailingStore, clock: ManualClock
) -> None:
    offer(keeper, store)
    keeper.look()
    pass_time(clock, TIMING.offer_s)
    store.before_next_write = lambda: become(store, now(store).taken_by(STANDBY))
    assert keeper.look() is None
    assert keeper.look() == Lost(holder=STANDBY)


@pytest.mark.parametrize("new", [None, "a3.1"])
def test_an_offer_ends_when_its_standby_withdraws_or_is_replaced(
    keeper: LeaseKeeper, store: FailingStore, new: str | None
) -> None:
    offer(keeper, store)
    keeper.look()
    become(store, now(store).requested_by(new) if new else now(store).without_request())
    assert keeper.look() == Declined()
    assert keeper.look() == (HandOverRequested(successor=new) if new else None)
    assert not now(store).offered


def test_an_offer_of_a_dead_uploader_stands_if_it_is_repeated(keeper: LeaseKeeper, store: FailingStore) -> None:
    become(store, now(store).requested_by(STANDBY).offered_to_successor())
    keeper.offer(STANDBY)
    assert keeper.look() is None
    assert now(store).offered


def test_an_offer_that_is_not_repeated_is_withdrawn(keeper: LeaseKeeper, store: FailingStore) -> None:
    become(store, now(store).requested_by(STANDBY).offered_to_successor())
    keeper.look()
    assert (now(store).offered, now(store).successor) == (False, None)


def serve(keeper: LeaseKeeper) -> list[object]:
    """Return the events until the lease is lost."""
    events: list[object] = []
    thread = threading.Thread(target=keeper.serve, args=(events.append,), daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    return events


def test_a_store_that_does_not_answer_changes_nothing(clock: ManualClock) -> None:
    class Sometimes(MemoryStore):
        reads = 0

        def read(self, name: str) -> Object:
            self.reads += 1
            if self.reads % 3:
                raise SpotError("no answer")
            found = super().read(name)
            if self.reads == 9:
                self.write(name, codec.encode(Lease(token=2, holder=STANDBY)), if_generation=found.generation)
            return super().read(name)

    store = Sometimes()
    lease.change(store, RUN, None, Lease(token=1, holder=ME, successor=STANDBY))
    command = KeepLease(run=RUN, name=ME, timing=replace(TIMING, poll_s=0.0))
    assert serve(LeaseKeeper(store, command, clock=clock)) == [
        HandOverRequested(successor=STANDBY),
        Lost(holder=STANDBY),
    ]


def test_training_continues_after_the_time_of_an_offer_even_if_the_store_does_not_answer(
    keeper: LeaseKeeper, store: FailingStore, clock: ManualClock
) -> None:
    offer(keeper, store)
    keeper.look()
    store.away = True
    assert keeper.look() is None
    pass_time(clock, TIMING.offer_s)
    assert keeper.look() == Declined()
    assert keeper.look() is None
    store.away = False
    assert keeper.look() is None
    assert (now(store).offered, now(store).successor) == (False, None)
    become(store, now(store).requested_by(STANDBY))
    assert keeper.look() == HandOverRequested(successor=STANDBY)
