"""Test that any object in the place of a record is read as a valid record, or is damaged. Nothing else is raised."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot.core import fields
from spot.core.history import Cancel, CancelReason, CancelRequest, Decision
from spot.core.job import JobError
from spot.core.run import Outcome, Run
from spot.storage import paths
from spot.storage.base import ABSENT, Damaged, NewerFormat, Store, Written
from spot.storage.records import codec, completion, lease, manifest, markers
from spot.storage.records.completion import Completion
from spot.storage.records.lease import Lease
from spot.storage.records.ledger import Ledger
from spot.supervisor.training_status import _progress
from tests.machinery import samples
from tests.machinery.storage.memory import MemoryStore
from tests.machinery.storage.records.test_manifest import EXAMPLE

RUN = samples.run(
    samples.ended(Outcome.PREEMPTED, error=JobError(code=8, message="no machine"), started_at=samples.T0),
    samples.attempt(replaces="a1", cancel=Cancel(at=samples.T0, why=CancelReason.ASKED)),
    id="20261124-000000-ab12",
    decisions=(Decision(at=samples.T0, action="submit", reason="1 h"),),
    cancel_request=CancelRequest(at=samples.T0, by="ann"),
    budget_usd=5.0,
)
COMMIT = EXAMPLE.commit
OBJECTS = {name: Written(generation=1, size=1, crc32c=1) for name in (paths.MODEL, paths.METRICS)}
KINDS: dict[str, tuple[str, bytes, Callable[[Store], object]]] = {
    "ledger": (f"runs/open/{RUN.id}.json", codec.encode(RUN), lambda store: Ledger(store).read(RUN.id).run),
    "closed": (
        f"runs/closed/2026/11/{RUN.id}.json",
        codec.encode(RUN),
        lambda store: Ledger(store).read_closed(f"runs/closed/2026/11/{RUN.id}.json"),
    ),
    "manifest": (EXAMPLE.name, EXAMPLE.to_json(), lambda store: _progress(manifest.read(store, "run", COMMIT))),
    "lease": (
        paths.writer("run"),
        codec.encode(Lease(token=3, holder="a2.1", successor="a3.1", replaced=("a1",))),
        lambda store: lease.read(store, "run"),
    ),
    "started": (
        paths.marker("run", "a1", 1, markers.STARTED),
        json.dumps({"format": 1, "time": "2026-11-24T00:00:00Z", "host": "vm"}).encode(),
        lambda store: markers.starts(store, "run", "a1"),
    ),
    "ended": (
        paths.marker("run", "a1", 0, markers.ENDED),
        json.dumps({"format": 1, "time": "2026-11-24T00:00:00Z", "exit_code": 1}).encode(),
        lambda store: markers.starts(store, "run", "a1"),
    ),
    "completion": (
        paths.output("run", paths.COMPLETION),
        codec.encode(Completion(run="run", time=samples.T0, objects=OBJECTS)),
        lambda store: completion.read(store, "run"),
    ),
}
LITERALS = st.sampled_from(
    ["1e999", "-1e999", "NaN", "Infinity", "9" * 400, "1" + "0" * 25, "-1", "true", "null", '"\\ud800"', "[" * 50_000]
    + [f'"{year}-01-01T00:00:00+00:00"' for year in ("0001", "1999", "2201", "9999")]
    + [
        '"2026-11-24T00:00:00"',
        '"9999-12-31T23:59:59-23:59"',
        '"us-central1\\n"',
        '"../../other"',
        '"attacker.example.com?x="',
    ]
    + ["[" * 30 + "]" * 30, '{"a":' * 30 + "1" + "}" * 30, "1e300", "5e-324", "1e9", "9999999999", "3.2e8"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner))
ANYTHING = LITERALS | VALUES.map(json.dumps)


def read(kind: str, data: bytes) -> object:
    """Return what the reader of a kind makes of an object in its place. Raise `Damaged` or `NewerFormat` only."""
    name, _, reader = KINDS[kind]
    store = MemoryStore()
    store.write(name, data, if_generation=ABSENT)
    try:
        return reader(store)
    except (Damaged, NewerFormat) as error:
        message = str(error)
        assert name in message
        assert message.isprintable()
        assert len(message) < 500
        return None


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_as_it_is_written_is_read(kind: str) -> None:
    if kind != "completion":  # its results do not exist here
        assert read(kind, KINDS[kind][1]) is not None


@pytest.mark.parametrize("kind", KINDS)
@given(draw=st.data())
def test_a_record_with_anything_anywhere_is_valid_or_damaged(kind: str, draw: st.DataObject) -> None:
    values: Any = json.loads(KINDS[kind][1])
    place = values
    while True:
        key = draw.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or draw.draw(st.booleans()):
            break
        place = place[key]
    place[key] = "\0here\0"
    data = json.dumps(values).replace('"\\u0000here\\u0000"', draw.draw(ANYTHING)).encode()
    found = read(kind, data)
    if isinstance(found, Run):
        assert codec.decode(Run, codec.encode(found), "again", "", "") == found
        is_safe(found)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.binary(max_size=40) | ANYTHING.map(str.encode))
def test_an_object_of_any_bytes_is_damaged(kind: str, data: bytes) -> None:
    read(kind, data)


def is_safe(run: Run) -> None:
    """Assert what the rest of the machinery relies on."""
    spec = run.spec
    assert re.fullmatch(r"[a-z][a-z0-9-]+", spec.project)
    assert re.fullmatch(r"[a-z0-9./:_-]+@sha256:[0-9a-f]{64}", spec.image)
    assert all(
        re.fullmatch(r"[a-z]+-[a-z]+[0-9]+", region) for region in (*spec.policy.regions, *spec.policy.usd_per_hour)
    )
    for attempt in run.attempts:
        assert re.fullmatch(r"[a-z]+-[a-z]+[0-9]+", attempt.region)
        assert re.fullmatch(
            r"projects/[a-z0-9-]+/locations/[a-z0-9-]+/customJobs/[0-9]+",
            attempt.job or "projects/1/locations/a/customJobs/1",
        )
    for moment in (run.submitted_at, spec.deadline, *(one.intended_at for one in run.attempts)):
        assert moment.tzinfo is UTC
        assert 2000 <= moment.year <= 2200
    assert timedelta() < spec.policy.work <= codec.LONGEST


@pytest.mark.parametrize("seconds", [0, 0.5, -1, 1e9])
def test_a_work_that_rates_cannot_be_divided_by_is_damage(seconds: float) -> None:
    values = json.loads(KINDS["ledger"][1])
    values["spec"]["policy"]["work"] = seconds
    assert read("ledger", json.dumps(values).encode()) is None


@pytest.mark.parametrize(
    ("region", "valid"),
    [
        ("us-central1", True),
        ("northamerica-northeast2", True),
        ("us-central1\n", False),
        ("us-central1.evil.com", False),
        ("attacker.example.com?x=", False),
        ("", False),
        ("US-CENTRAL1", False),
        ("us-central\u0661", False),
    ],
)
def test_a_region_that_is_none_is_damage_wherever_it_stands(region: str, valid: bool) -> None:
    places = [
        samples.run(samples.attempt(region=region, job=None)),
        samples.run(samples.attempt(job=f"projects/1/locations/{region}/customJobs/1")),
        samples.run(regions=("us-east4", region)),
        samples.run(usd_per_hour={region: {}}),
    ]
    for run in places:
        if valid:
            assert codec.decode(Run, codec.encode(run), "object", "a run", "fix") == run
        else:
            with pytest.raises(Damaged):
                codec.decode(Run, codec.encode(run), "object", "a run", "fix")


def test_a_manifest_under_the_name_of_another_is_damage() -> None:
    """Its step would never become the newest durable step, and the end of training would wait for it for ever."""
    store = MemoryStore()
    store.write(EXAMPLE.name, replace(EXAMPLE, step=8).to_json(), if_generation=ABSENT)
    with pytest.raises(Damaged, match=r"holds the manifest run/manifests/0000000008-"):
        manifest.read(store, "run", COMMIT)
    assert manifest.newest(store, "run") is None


def test_what_cannot_be_read_again_is_not_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        codec.encode(replace(EXAMPLE, score=float("nan")))
    assert datetime.fromisoformat(json.loads(EXAMPLE.to_json())["time"]) == EXAMPLE.time
    assert fields.one_line("a\n\x1b[2Jb\u202e") == "a \ufffd[2Jb\ufffd"
