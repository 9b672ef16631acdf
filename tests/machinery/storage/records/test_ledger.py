"""Test the ledger in both stores: no lost update, no double write, no change of a damaged record."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot.core import fields
from spot.core.errors import SpotError
from spot.core.history import Cancel, CancelReason, CancelRequest, Decision
from spot.core.job import JobError, JobState
from spot.core.run import Attempt, Machine, Outcome, PolicyConfig, Provisioning, Run, RunState, Spec, Strategy
from spot.storage.base import ABSENT, Conflict, Damaged, NewerFormat, Store
from spot.storage.records.codec import encode
from spot.storage.records.ledger import Ledger, UnknownRun, decode
from tests.machinery import samples

ID = "20261124-060000-0a1b"
OURS = samples.run(id=ID)
OPEN_NAME, CLOSED_NAME = f"runs/open/{ID}.json", f"runs/closed/2026/11/{ID}.json"


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)


def ended(run: Run) -> Run:
    return replace(run, state=RunState.SUCCEEDED, ended_at=samples.after(hours=9))


def names(store: Store) -> list[str]:
    return [entry.name for entry in store.list("")]


def test_what_was_created_can_be_read_and_found(ledger: Ledger) -> None:
    record = ledger.create(OURS)
    assert ledger.read(ID) == ledger.find(ID) == record
    assert record.run == OURS
    assert ledger.open_ids() == [ID]


def test_an_id_is_given_to_one_run_only(ledger: Ledger, store: Store) -> None:
    record = ledger.create(OURS)
    with pytest.raises(SpotError, match=f"run {ID} exists already"):
        ledger.create(replace(OURS, submitted_at=samples.after(hours=1)))
    ledger.file(ledger.write(record, ended(OURS)))
    with pytest.raises(SpotError, match=f"run {ID} exists and has ended"):
        ledger.create(OURS)
    assert names(store) == [CLOSED_NAME]


def test_a_write_rests_on_what_was_read(ledger: Ledger) -> None:
    mine = ledger.create(OURS)
    theirs = ledger.read(ID)
    written = ledger.write(theirs, replace(OURS, attempts=(samples.attempt(),)))
    with pytest.raises(Conflict):
        ledger.write(mine, replace(OURS, attempts=(samples.attempt(region="us-east4"),)))
    assert ledger.read(ID) == written


def test_writing_what_is_there_already_writes_nothing(ledger: Ledger) -> None:
    record = ledger.create(OURS)
    ledger.write(record, replace(OURS, cancel_request=None))
    assert ledger.read(ID).generation == record.generation


def test_a_record_that_was_filed_is_not_written_again(ledger: Ledger) -> None:
    record = ledger.create(OURS)
    ledger.file(ledger.write(record, ended(OURS)))
    with pytest.raises(Conflict):
        ledger.write(record, replace(OURS, attempts=(samples.attempt(),)))


def test_an_ended_run_moves_to_the_month_of_its_id(ledger: Ledger, store: Store) -> None:
    ledger.file(ledger.write(ledger.create(OURS), ended(OURS)))
    assert names(store) == [CLOSED_NAME]
    assert ledger.open_ids() == []
    assert ledger.find(ID).run == ended(OURS)
    with pytest.raises(UnknownRun):
        ledger.read(ID)


@pytest.mark.parametrize(
    ("run_id", "month"),
    [("nightly", "undated"), ("20240131-ours", "2024/01"), ("20240131", "undated"), ("123456-7", "undated")],
)
def test_a_closed_run_is_found_by_any_kind_of_id(run_id: str, month: str, ledger: Ledger, store: Store) -> None:
    run = samples.run(id=run_id)
    ledger.file(ledger.write(ledger.create(run), ended(run)))
    assert names(store) == [f"runs/closed/{month}/{run_id}.json"]
    assert ledger.find(run_id).run == ended(run)
    with pytest.raises(SpotError):
        ledger.create(run)


def test_an_id_that_ends_like_another_is_not_taken_for_it(ledger: Ledger) -> None:
    run = samples.run(id="nightly")
    ledger.file(ledger.write(ledger.create(run), ended(run)))
    for other in ("ly", "y", "nightly-2"):
        with pytest.raises(UnknownRun, match=f"there is no run {other}"):
            ledger.find(other)


def test_a_crash_between_close_and_move_is_repaired_by_the_next_reconcile(ledger: Ledger, store: Store) -> None:
    record = ledger.write(ledger.create(OURS), ended(OURS))
    store.write(CLOSED_NAME, encode(record.run), if_generation=ABSENT)  # and there it died
    assert ledger.open_ids() == [ID]
    ledger.file(ledger.read(ID))
    ledger.file(record)
    assert names(store) == [CLOSED_NAME]


def test_a_run_is_not_filed_over_another_one_of_its_id(ledger: Ledger, store: Store) -> None:
    record = ledger.write(ledger.create(OURS), ended(OURS))
    other = encode(replace(ended(OURS), decisions=()))
    store.write(CLOSED_NAME, other, if_generation=ABSENT)
    with pytest.raises(SpotError, match=f"{CLOSED_NAME} is another run"):
        ledger.file(replace(record, run=replace(record.run, cancel_request=CancelRequest(at=samples.T0, by="x"))))
    assert names(store) == [CLOSED_NAME, OPEN_NAME]
    assert store.read(CLOSED_NAME).data == other


def test_an_open_run_is_not_filed(ledger: Ledger) -> None:
    record = ledger.create(OURS)
    with pytest.raises(ValueError, match=f"run {ID} is open"):
        ledger.file(record)
    assert ledger.open_ids() == [ID]


@pytest.mark.parametrize("run_id", ["", "A", "a/b", "../a", "-a", "a" * 64, "é", "a\n", "\N{ARABIC-INDIC DIGIT ONE}"])
def test_what_is_no_id_names_no_run(run_id: str, ledger: Ledger) -> None:
    for ask in (ledger.read, ledger.find):
        with pytest.raises(Damaged) as caught:
            ask(run_id)
        assert repr(run_id) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_what_else_lies_among_the_open_runs_is_no_run(ledger: Ledger, store: Store) -> None:
    ledger.create(OURS)
    store.write("runs/open/notes.txt", b"", if_generation=ABSENT)
    assert ledger.open_ids() == [ID]


def record_with(change: Callable[[dict[str, Any]], object]) -> bytes:
    values = json.loads(encode(samples.run(samples.attempt(), id=ID)))
    change(values)
    return json.dumps(values).encode()


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        pytest.param(b"", Damaged, "Expecting value", id="empty"),
        pytest.param(encode(OURS)[:-30], Damaged, "", id="cut-off"),
        pytest.param(b"\xff", Damaged, "utf-8", id="not-text"),
        pytest.param(b"[]", Damaged, "", id="a-list"),
        pytest.param(b"null", Damaged, "", id="null"),
        pytest.param(b"[" * 200_000, Damaged, "nested too deep", id="too-deep"),
        pytest.param(b"1" * 5000, Damaged, "digits", id="a-number-too-long"),
        pytest.param(b"{}", Damaged, "format", id="no-format"),
        pytest.param(record_with(lambda run: run.update(format="1")), Damaged, "format is '1'", id="a-format-as-text"),
        pytest.param(
            record_with(lambda run: run.update(format=True)), Damaged, "format is true", id="a-format-as-truth"
        ),
        pytest.param(record_with(lambda run: run.update(format=0)), Damaged, "format is 0", id="format-0"),
        pytest.param(record_with(lambda run: run.update(format=2)), NewerFormat, "format 2", id="a-future-format"),
        pytest.param(record_with(lambda run: run.pop("spec")), Damaged, "spec", id="a-key-missing"),
        pytest.param(record_with(lambda run: run.update(attempts=7)), Damaged, "attempts", id="a-wrong-type"),
        pytest.param(
            record_with(lambda run: run["attempts"][0].update(region=[])),
            Damaged,
            "attempts: region",
            id="deep-inside",
        ),
        pytest.param(record_with(lambda run: run.update(state="asleep")), Damaged, "state", id="no-such-state"),
        pytest.param(
            record_with(lambda run: run["spec"].update(deadline="2026-11-25T00:00:00")),
            Damaged,
            "offset from UTC",
            id="a-time-without-offset",
        ),
        pytest.param(record_with(lambda run: run.update(id="another")), Damaged, "another", id="another-run"),
        pytest.param(
            record_with(lambda run: run["spec"]["machine"].update(count=10**9)),
            Damaged,
            "machine: count: 1000000000",
            id="machines-without-number",
        ),
    ],
)
def test_a_record_that_cannot_be_used_is_named_and_left_as_it_is(
    data: bytes, error: type[SpotError], says: str, ledger: Ledger, store: Store
) -> None:
    store.write(OPEN_NAME, data, if_generation=ABSENT)
    for ask in (ledger.read, ledger.find):
        with pytest.raises(error) as caught:
            ask(ID)
        message = str(caught.value)
        assert f"{store.uri}/{OPEN_NAME}" in message
        assert says in message
        assert "\n" not in message
        assert len(message) < 600
    with pytest.raises(SpotError):
        ledger.create(OURS)
    assert store.read(OPEN_NAME).data == data


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
TIMES = st.datetimes(
    datetime(2000, 1, 2),  # noqa: DTZ001  # the strategy adds the offset
    datetime(2199, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8))]),
)
DURATIONS = st.timedeltas(timedelta(), timedelta(days=3660))
WHOLE = st.integers(0, 10**10 - 1)
MONEY = st.floats(0, 1e9)
ERRORS = st.builds(JobError, code=st.integers(-(2**62), 2**62), message=TEXT)
IDS, REGIONS = st.from_regex(fields.ID, fullmatch=True), st.sampled_from(["us-central1", "northamerica-northeast2"])
ATTEMPTS = st.builds(
    Attempt,
    id=IDS,
    provisioning=st.sampled_from(Provisioning),
    region=REGIONS,
    intended_at=TIMES,
    timeout=DURATIONS,
    from_step=WHOLE,
    job=st.none()
    | st.sampled_from(["projects/our-project/locations/us-central1/customJobs/1", str(samples.ATTEMPT.job)]),
    state=st.sampled_from(JobState),
    started_at=st.none() | TIMES,
    advanced_at=st.none() | TIMES,
    ended_at=st.none() | TIMES,
    last_step=st.none() | WHOLE,
    starts=WHOLE,
    cancel=st.none() | st.builds(Cancel, at=TIMES, why=st.sampled_from(CancelReason)),
    outcome=st.none() | st.sampled_from(Outcome),
    error=st.none() | ERRORS,
)
TERMS = st.builds(
    PolicyConfig,
    strategy=st.sampled_from(Strategy),
    regions=st.lists(REGIONS, max_size=3).map(tuple),
    hand_over=st.booleans(),
    flex_start=st.booleans(),
    work=st.timedeltas(timedelta(seconds=1), timedelta(days=366)),
    provisioning_timeout=DURATIONS,
    expected_start=DURATIONS,
    worst_start=DURATIONS,
    reconcile_interval=DURATIONS,
    max_checkpoint_interval=DURATIONS,
    reserve=DURATIONS,
    tail=DURATIONS,
    max_preemptions=st.none() | WHOLE,
    max_errors=WHOLE,
    saved_share=st.floats(0, 1),
    disable_retries=st.booleans(),
    budget_usd=st.none() | MONEY,
    usd_per_hour=st.dictionaries(REGIONS, st.dictionaries(st.sampled_from(Provisioning), MONEY), max_size=2),
)
SPECS = st.builds(
    Spec,
    project=st.sampled_from(["our-project", "abc-12"]),
    root=st.sampled_from(["gs://bucket/prefix", "gs://b.c/d/e_f", "/srv/a folder"]),
    image=st.sampled_from([samples.SPEC.image, f"localhost:5000/a/b@sha256:{1:064x}"]),
    arguments=st.lists(TEXT, max_size=3).map(tuple),
    machine=st.builds(
        Machine,
        count=st.integers(1, fields.MAX_MACHINES),
        type=st.sampled_from(["g2-standard-8", "n1-highmem-2"]),
        accelerator=st.none() | st.just("NVIDIA_L4"),
        accelerator_count=st.integers(0, fields.MAX_GPUS),
        boot_disk_gb=WHOLE,
    ),
    service_account=st.sampled_from(["", "training@our-project.iam.gserviceaccount.com"]),
    deadline=TIMES,
    policy=TERMS,
)
RUNS = st.builds(
    Run,
    id=IDS,
    spec=SPECS,
    submitted_at=TIMES,
    state=st.sampled_from(RunState),
    ended_at=st.none() | TIMES,
    attempts=st.lists(ATTEMPTS, max_size=3).map(tuple),
    decisions=st.lists(st.builds(Decision, at=TIMES, action=TEXT, reason=TEXT), max_size=2).map(tuple),
    cancel_request=st.none() | st.builds(CancelRequest, at=TIMES, by=TEXT),
)


@given(RUNS)
def test_what_is_decoded_is_what_was_encoded(run: Run) -> None:
    data = encode(run)
    assert decode(data, "object") == run
    assert decode(encode(decode(data, "object")), "object") == run
