"""Test the lease: one holder at a time, and a fencing token that only grows."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot.storage import paths
from spot.storage.base import ABSENT, Damaged, NewerFormat, Store
from spot.storage.paths import Commit
from spot.storage.records import codec, lease, markers
from spot.storage.records.lease import Found, Lease, LeaseLost
from tests.machinery.storage.memory import MemoryStore

RUN = "run"
NAMES = st.builds(lease.process_name, st.sampled_from(["a1", "a-2", "x_3"]), st.integers(1, 9))
LEASES = st.builds(
    Lease,
    token=st.integers(1, 9),
    holder=NAMES,
    successor=st.none() | NAMES,
    offered=st.booleans(),
    heartbeat=st.integers(0, 9),
    replaced=st.lists(st.sampled_from(["a1", "a-2"]), max_size=2, unique=True).map(tuple),
)


def found(store: Store) -> Found:
    there = lease.look(store, RUN)
    assert there
    return there


def decoded(text: bytes, name: str = "name") -> Lease:
    return codec.decode(Lease, text, name, "a lease", lease.FIX)


@given(LEASES)
def test_a_lease_is_read_back_exactly(written: Lease) -> None:
    assert decoded(codec.encode(written)) == written


@given(LEASES, NAMES)
def test_every_claim_has_a_higher_token_and_no_successor(before: Lease, name: str) -> None:
    """A dead successor would pause the new holder; a live one asks again."""
    for after in (before.claimed_by(name), before.taken_by(name)):
        assert (after.token, after.holder) == (before.token + 1, name)
        assert (after.successor, after.offered, after.heartbeat) == (None, False, 0)


@given(LEASES, NAMES, st.sampled_from(["a1", "b4"]))
def test_it_remembers_from_whom_it_was_taken_over_and_in_whose_place(before: Lease, name: str, place: str) -> None:
    replaced = set(before.replaced)
    for after, more in (
        (before.claimed_by(name), set()),
        (before.claimed_by(name, place), {place}),
        (before.taken_by(name), {before.attempt}),
        (before.taken_by(name, place), {before.attempt, place}),
    ):
        assert sorted(after.replaced) == sorted(replaced | more)


@given(LEASES, NAMES)
def test_no_other_change_moves_the_lease(before: Lease, name: str) -> None:
    for after in (
        before.requested_by(name),
        before.without_request(),
        before.offered_to_successor(),
        before.with_heartbeat(),
    ):
        assert (after.token, after.holder, after.replaced) == (before.token, before.holder, before.replaced)


@given(LEASES, NAMES)
def test_an_offer_is_for_the_successor_it_was_made_to(before: Lease, name: str) -> None:
    offered = before.requested_by("a1.1").offered_to_successor()
    assert (offered.successor, offered.offered) == ("a1.1", True)
    assert not offered.requested_by(name).offered
    assert not offered.without_request().offered


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"nonsense \xff",
        b"[]",
        b"{}",
        json.dumps({"format": 1, "token": 1}).encode(),
        *(
            json.dumps({**json.loads(codec.encode(Lease(token=1, holder="a.1"))), **change}).encode()
            for change in (
                {"token": "1"},
                {"token": True},
                {"holder": 1},
                {"successor": 1},
                {"offered": 0},
                {"heartbeat": None},
                {"replaced": 1},
                {"replaced": [1]},
                {"token": -1},
                {"token": 10**10},
                {"holder": "a1"},
                {"holder": "a/b.1"},
                {"successor": "a1.\n"},
                {"replaced": ["A"]},
            )
        ),
    ],
)
def test_nonsense_is_named_with_what_to_do(text: bytes) -> None:
    with pytest.raises(Damaged, match=r"^gs://b/writer\.json is not a lease \(.*\): delete it, and the next start"):
        decoded(text, "gs://b/writer.json")


def test_a_newer_programs_lease_is_left_alone() -> None:
    with pytest.raises(NewerFormat, match="name has format 2, this program reads up to 1: use a newer version of spot"):
        decoded(json.dumps({"format": 2, "all": "different"}).encode())


def test_before_the_first_claim_there_is_no_lease(store: Store) -> None:
    assert lease.read(store, RUN) is None
    assert lease.claim(store, RUN, "a1.1") == Lease(token=1, holder="a1.1") == lease.read(store, RUN)


def test_a_later_start_takes_the_lease_from_any_holder(store: Store) -> None:
    lease.claim(store, RUN, "a1.1")
    lease.claim(store, RUN, "a1.2")
    assert lease.claim(store, RUN, "a2.1") == Lease(token=3, holder="a2.1") == lease.read(store, RUN)


def test_an_earlier_start_of_the_same_attempt_does_not_take_it_back(store: Store) -> None:
    """It was frozen with its machine before it claimed, and has been replaced."""
    lease.claim(store, RUN, "a1.10")
    with pytest.raises(LeaseLost, match=r"a1\.10 is a later start of the attempt than a1\.9"):
        lease.claim(store, RUN, "a1.9")
    assert lease.read(store, RUN) == Lease(token=1, holder="a1.10")


def test_a_start_of_an_attempt_that_was_replaced_does_not_take_it_back(store: Store) -> None:
    lease.claim(store, RUN, "a1.1")
    before = found(store)
    lease.change(store, RUN, before, before.lease.taken_by("a2.1"))
    for _ in range(2):  # also when its successor has started again
        with pytest.raises(LeaseLost, match=r"attempt a1 was replaced: the lease of run run is a2\.\d's"):
            lease.claim(store, RUN, "a1.2")
        lease.claim(store, RUN, "a2.2")
    assert lease.claim(store, RUN, "a3.1").token == 4


def test_an_attempt_whose_place_was_taken_does_not_take_the_lease_though_it_never_had_it(store: Store) -> None:
    lease.claim(store, RUN, "a2.1", "a1")
    with pytest.raises(LeaseLost, match=r"attempt a1 was replaced: the lease of run run is a2\.1's"):
        lease.claim(store, RUN, "a1.1")


def test_a_deleted_lease_is_created_above_all_committed_tokens(store: Store) -> None:
    """Below them, nothing that the next writer commits would ever count."""
    for step, token in ((10, 2), (20, 7), (30, 3)):
        commit = Commit(step=step, token=token, from_step=0, from_token=0)
        store.write(paths.manifest(RUN, commit), b"", if_generation=ABSENT)
    assert lease.claim(store, RUN, "a1.1").token == 8


def test_a_deleted_lease_is_created_above_the_claims_of_uncommitted_starts(store: Store) -> None:
    """It may be frozen, and commit later: then all that the next writer commits would not count."""

    def claim(attempt: str) -> int:
        return lease.claim(store, RUN, lease.process_name(attempt, markers.claim_start(store, RUN, attempt, {}))).token

    assert claim("a1") == 1
    store.write(paths.manifest(RUN, Commit(step=10, token=1, from_step=0, from_token=0)), b"", if_generation=ABSENT)
    frozen = [claim("a1"), claim("a2")]
    store.delete(paths.writer(RUN))
    assert claim("a3") > max(frozen)


def test_a_claim_whose_reply_was_lost_is_a_claim(store: Store) -> None:
    claimed = lease.claim(store, RUN, "a1.1")
    there = found(store)
    lease.change(store, RUN, there, there.lease.requested_by("a2.1"))  # so that the write is not known again
    assert lease.claim(store, RUN, "a1.1") == replace(claimed, successor="a2.1")


def test_of_many_claims_at_once_each_has_its_own_term(store: Store) -> None:
    names = [lease.process_name(f"a{number}", 1) for number in range(6)]
    with ThreadPoolExecutor(len(names)) as pool:
        claimed = list(pool.map(lambda name: lease.claim(store, RUN, name), names))
    assert sorted(one.token for one in claimed) == list(range(1, 7))
    assert lease.read(store, RUN) == max(claimed, key=lambda one: one.token)


def test_of_accepting_and_withdrawing_an_offer_at_once_only_one_is_done(store: Store) -> None:
    lease.claim(store, RUN, "a1.1")
    for round_ in range(2, 12):
        before = found(store)
        lease.change(store, RUN, before, before.lease.requested_by(f"a{round_}.1"))
        before = found(store)
        lease.change(store, RUN, before, before.lease.offered_to_successor())
        offered = found(store)
        changes = [offered.lease.taken_by(f"a{round_}.1"), offered.lease.without_request()]

        def done(change: Lease, offered: Found = offered) -> Lease | None:
            return change if lease.change(store, RUN, offered, change) else None

        with ThreadPoolExecutor(2) as pool:
            [winner] = filter(None, pool.map(done, changes))
        assert lease.read(store, RUN) == winner


def test_a_claim_that_another_one_comes_before_is_above_it() -> None:
    store = MemoryStore()
    lease.claim(store, RUN, "a1.1")
    store.before_next_write = lambda: (lease.claim(store, RUN, "a2.1"), None)[1]
    assert lease.claim(store, RUN, "a3.1") == Lease(token=3, holder="a3.1") == lease.read(store, RUN)
