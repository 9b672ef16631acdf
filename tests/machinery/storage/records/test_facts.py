"""Facts are validated and bounded, kept by compare-and-swap, and their loss stops nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from spot.core.errors import TemporarilyUnavailable
from spot.storage.base import ABSENT, Conflict, NewerFormat, Object
from spot.storage.records import codec, facts
from spot.storage.records.facts import MOST_LETTERS, MOST_PREEMPTIONS, NAME, Fact, LiveFacts, Preemption
from tests.machinery.samples import T0, after
from tests.machinery.storage.memory import MemoryStore

JOB = "projects/1/locations/us-central1/customJobs/"
FACT = Fact(value="3 min", at=T0, as_assumed=True, seconds=180.0, text="said", job=f"{JOB}1")


def preemption(number: int) -> Preemption:
    return Preemption(
        job=f"{JOB}{number}",
        ended_at=after(minutes=number),
        signal_at=None,
        saved_at=T0,
        code=8,
        text="Resources are insufficient",
        lag=timedelta(minutes=2),
    )


def with_fact(name: str, fact: Fact = FACT) -> LiveFacts:
    return LiveFacts(facts={name: fact})


def test_facts_are_read_as_they_were_written() -> None:
    store = MemoryStore()
    assert facts.read(store) == LiveFacts()
    known = LiveFacts(facts={"start-spot": FACT}, preemptions=(preemption(1),))
    assert facts.update(store, lambda _: known) == known
    assert facts.read(store) == known


def test_of_two_that_write_at_once_none_is_lost() -> None:
    store = MemoryStore()

    def other() -> None:
        facts.update(store, lambda known: known.with_preemption(preemption(1)))

    store.before_next_write = other
    facts.update(store, lambda known: replace(known, facts={"uid": FACT}))
    assert facts.read(store) == LiveFacts(facts={"uid": FACT}, preemptions=(preemption(1),))


def test_a_preemption_is_kept_once_and_as_it_was_first_seen() -> None:
    known = LiveFacts().with_preemption(preemption(1))
    assert known.with_preemption(replace(preemption(1), lag=timedelta(hours=1))) == known


def test_only_the_newest_preemptions_are_kept() -> None:
    known = LiveFacts()
    for number in range(MOST_PREEMPTIONS + 5):
        known = known.with_preemption(preemption(number))
    assert len(known.preemptions) == MOST_PREEMPTIONS
    assert known.preemptions[-1] == preemption(MOST_PREEMPTIONS + 4)


def test_the_first_fact_with_a_duration_counts() -> None:
    known = LiveFacts(facts={"a": replace(FACT, seconds=None), "b": FACT})
    assert known.seconds("missing", "a", "b") == timedelta(minutes=3)
    assert known.seconds("a") is None


def test_a_text_of_a_service_is_bounded_and_on_one_line() -> None:
    quoted = facts.quoted("one\x1b[2J\ntwo" + "x" * 9000)
    assert len(quoted) == MOST_LETTERS
    store = MemoryStore()
    facts.update(store, lambda _: with_fact("uid", replace(FACT, text=quoted)))
    assert facts.read(store).facts["uid"].text == quoted


@pytest.mark.parametrize(
    "wrong",
    [
        with_fact("../champion"),
        with_fact("uid", replace(FACT, seconds=-1.0)),
        with_fact("uid", replace(FACT, text="\x1b[2J")),
        with_fact("uid", replace(FACT, text="x" * (MOST_LETTERS + 1))),
        with_fact("uid", replace(FACT, job="projects/1/locations/evil.example/customJobs/1")),
    ],
)
def test_a_wrong_record_counts_as_none_and_is_overwritten(wrong: LiveFacts) -> None:
    store = MemoryStore()
    store.write(NAME, codec.encode(wrong), if_generation=ABSENT)
    assert facts.read(store) == LiveFacts()
    facts.update(store, lambda known: replace(known, facts={"uid": FACT}))
    assert facts.read(store) == with_fact("uid")


def test_a_record_of_a_newer_program_is_not_overwritten() -> None:
    store = MemoryStore()
    store.write(NAME, b'{"format": 2}', if_generation=ABSENT)
    assert facts.read(store) == LiveFacts()
    with pytest.raises(NewerFormat):
        facts.update(store, lambda known: known)


def test_a_store_that_does_not_answer_leaves_every_assumption() -> None:
    class Silent(MemoryStore):
        def read(self, name: str) -> Object:
            raise TemporarilyUnavailable(f"no answer for {name}")

    assert facts.read(Silent()) == LiveFacts()


def test_a_record_that_always_changes_is_given_up() -> None:
    store = MemoryStore()

    def other() -> None:
        store.delete(NAME)
        store.write(NAME, b"", if_generation=ABSENT)

    def restless(known: LiveFacts) -> LiveFacts:
        store.before_next_write = other
        return known

    with pytest.raises(Conflict, match="another process writes it"):
        facts.update(store, restless)
