"""The holder's side: it hears what the lease asks for, gives signs of life, and an offer has an end."""

from __future__ import annotations

import threading

import pytest

from spot.core.errors import SpotError, TemporarilyUnavailable
from spot.storage.base import Object
from spot.storage.records import lease
from spot.storage.records.lease import Lease
from spot.trainer.uploader.lease_keeper import LeaseKeeper
from spot.trainer.uploader.messages import Declined, HandOverRequested, KeepLease, Lost
from tests.machinery.clocks import ManualClock
from tests.machinery.storage.memory import MemoryStore
from tests.machinery.trainer.leases import RUN, TIMING, become, now, pass_time

ME, TWIN = "a1.1", "a2.1"


class FailingStore(MemoryStore):
    """Does not answer while `away`."""

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
def holding(store: FailingStore, clock: ManualClock) -> LeaseKeeper:
    hold = KeepLease(run=RUN, name=ME, poll_s=TIMING.poll_s, heartbeat_s=TIMING.heartbeat_s, offer_s=TIMING.offer_s)
    return LeaseKeeper(store, hold, clock=clock)


def offer(holding: LeaseKeeper, store: MemoryStore) -> None:
    """To the twin, which has asked. The next look makes it."""
    become(store, now(store).requested_by(TWIN))
    holding.look()
    holding.offer(TWIN)


def test_a_lease_that_nobody_wants_is_only_read(holding: LeaseKeeper, store: FailingStore, clock: ManualClock) -> None:
    before = lease.look(store, RUN)
    for _ in range(10):
        assert holding.look() is None
        pass_time(clock, TIMING.heartbeat_s)
    assert lease.look(store, RUN) == before


def test_who_wants_it_is_told_once(holding: LeaseKeeper, store: FailingStore) -> None:
    become(store, now(store).requested_by(TWIN))
    assert holding.look() == HandOverRequested(successor=TWIN)
    assert holding.look() is None
    become(store, now(store).requested_by("a3.1"))
    assert holding.look() == HandOverRequested(successor="a3.1")
    become(store, now(store).without_request())
    assert holding.look() == HandOverRequested(successor=None)


def test_it_shows_that_it_lives_while_somebody_waits(
    holding: LeaseKeeper, store: FailingStore, clock: ManualClock
) -> None:
    become(store, now(store).requested_by(TWIN))
    beats = []
    for _ in range(9):
        holding.look()
        beats.append(now(store).heartbeat)
        pass_time(clock, TIMING.heartbeat_s / 2)
    assert beats == [1, 1, 2, 2, 3, 3, 4, 4, 5]


def test_a_lost_lease_is_told_with_who_has_it(holding: LeaseKeeper, store: FailingStore) -> None:
    lease.claim(store, RUN, "a3.1")
    assert holding.look() == Lost(holder="a3.1")


def test_a_deleted_lease_is_not_lost(holding: LeaseKeeper, store: FailingStore) -> None:
    store.delete("run/writer.json")
    assert holding.look() is None


def test_nobody_stands_still_for_longer_than_an_offer_lasts_though_somebody_deleted_the_lease(
    holding: LeaseKeeper, store: FailingStore, clock: ManualClock
) -> None:
    offer(holding, store)
    store.delete("run/writer.json")
    assert holding.look() is None
    pass_time(clock, TIMING.offer_s)
    assert holding.look() == Declined()


def test_a_lease_of_a_newer_program_is_not_ours(holding: LeaseKeeper, store: FailingStore) -> None:
    before = lease.look(store, RUN)
    assert before
    store.write("run/writer.json", b'{"format": 2}', if_generation=before.generation)
    assert holding.look() == Lost(holder="a newer program")


def test_an_offer_stands_until_it_is_accepted(holding: LeaseKeeper, store: FailingStore, clock: ManualClock) -> None:
    offer(holding, store)
    assert holding.look() is None
    assert now(store).offered
    pass_time(clock, TIMING.offer_s - 1)
    assert holding.look() is None
    become(store, now(store).taken_by(TWIN))
    assert holding.look() == Lost(holder=TWIN)


def test_an_offer_that_nobody_accepts_is_withdrawn_and_the_request_with_it(
    holding: LeaseKeeper, store: FailingStore, clock: ManualClock
) -> None:
    offer(holding, store)
    holding.look()
    pass_time(clock, TIMING.offer_s)
    assert holding.look() == Declined()
    assert (now(store).offered, now(store).successor, now(store).holder) == (False, None, ME)
    assert holding.look() is None
    become(store, now(store).requested_by(TWIN))  # it lives, and asks anew
    assert holding.look() == HandOverRequested(successor=TWIN)


def test_an_offer_accepted_in_the_moment_of_its_withdrawal_is_accepted(
    holding: LeaseKeeper, store: FailingStore, clock: ManualClock
) -> None:
    offer(holding, store)
    holding.look()
    pass_time(clock, TIMING.offer_s)
    store.before_next_write = lambda: become(store, now(store).taken_by(TWIN))
    assert holding.look() is None
    assert holding.look() == Lost(holder=TWIN)


@pytest.mark.parametrize("new", [None, "a3.1"])
def test_an_offer_to_one_who_waits_no_more_is_over(holding: LeaseKeeper, store: FailingStore, new: str | None) -> None:
    offer(holding, store)
    holding.look()
    become(store, now(store).requested_by(new) if new else now(store).without_request())
    assert holding.look() == Declined()
    assert holding.look() == (HandOverRequested(successor=new) if new else None)
    assert not now(store).offered


def test_an_offer_of_an_uploader_that_died_is_withdrawn_unless_it_is_made_again(
    holding: LeaseKeeper, store: FailingStore
) -> None:
    become(store, now(store).requested_by(TWIN).offered_to_successor())
    holding.offer(TWIN)
    assert holding.look() is None
    assert now(store).offered


def test_an_offer_that_the_trainer_does_not_know_of_is_withdrawn(holding: LeaseKeeper, store: FailingStore) -> None:
    become(store, now(store).requested_by(TWIN).offered_to_successor())
    holding.look()
    assert (now(store).offered, now(store).successor) == (False, None)


def serve(holding: LeaseKeeper) -> list[object]:
    """All that it tells until the lease is lost."""
    told: list[object] = []
    thread = threading.Thread(target=holding.serve, args=(told.append,), daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    return told


def test_a_store_that_does_not_answer_changes_nothing(clock: ManualClock) -> None:
    class Sometimes(MemoryStore):
        reads = 0

        def read(self, name: str) -> Object:
            self.reads += 1
            if self.reads % 3:
                raise SpotError("no answer")
            found = super().read(name)
            if self.reads == 9:
                self.write(name, Lease(token=2, holder=TWIN).to_json(), if_generation=found.generation)
            return super().read(name)

    store = Sometimes()
    lease.change(store, RUN, None, Lease(token=1, holder=ME, successor=TWIN))
    hold = KeepLease(run=RUN, name=ME, poll_s=0.0, heartbeat_s=TIMING.heartbeat_s, offer_s=TIMING.offer_s)
    assert serve(LeaseKeeper(store, hold, clock=clock)) == [
        HandOverRequested(successor=TWIN),
        Lost(holder=TWIN),
    ]


def test_nobody_stands_still_for_longer_than_an_offer_lasts_though_the_store_does_not_answer(
    holding: LeaseKeeper, store: FailingStore, clock: ManualClock
) -> None:
    offer(holding, store)
    holding.look()
    store.away = True
    assert holding.overdue() is None
    pass_time(clock, TIMING.offer_s)
    assert holding.overdue() == Declined()
    assert holding.overdue() is None
    store.away = False
    assert holding.look() is None
    assert (now(store).offered, now(store).successor) == (False, None)
    become(store, now(store).requested_by(TWIN))
    assert holding.look() == HandOverRequested(successor=TWIN)
