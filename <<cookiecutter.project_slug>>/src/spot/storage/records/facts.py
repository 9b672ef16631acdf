"""Keep what `spot verify-live` found out about the real services, and real preemptions: `live/facts.json`."""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated

from spot.core import fields
from spot.core.errors import SpotError
from spot.storage.base import Store
from spot.storage.records import codec

NAME, WHAT, FIX = "live/facts.json", "a record of live facts", "spot verify-live overwrites it"
MOST_PREEMPTIONS, MOST_LETTERS = 50, 500
Text = Annotated[str, re.compile(rf"[^\x00-\x1f\x7f-\x9f]{{0,{MOST_LETTERS}}}")]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Record the answer to one question about a service."""

    value: Text
    at: datetime
    as_assumed: bool
    seconds: fields.Quantity | None = None
    """A measured duration, if the question asks for one."""
    text: Text = ""
    """What the service said, verbatim."""
    job: fields.JobName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preemption:
    """Record one real preemption of an attempt."""

    job: fields.JobName
    ended_at: datetime
    signal_at: datetime | None
    """When the trainer ended after SIGTERM; None if it was killed without a record."""
    saved_at: datetime | None
    """When the newest checkpoint was taken."""
    code: int
    text: Text
    lag: timedelta
    """From the end of the job to the first reconcile that saw its error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveFacts:
    facts: Mapping[fields.Id, Fact] = field(default_factory=dict)
    preemptions: tuple[Preemption, ...] = ()
    """The newest last."""

    def seconds(self, *names: str) -> timedelta | None:
        """Return the duration in the first of these facts that has one."""
        found = (fact.seconds for name in names if (fact := self.facts.get(name)))
        return next((timedelta(seconds=one) for one in found if one is not None), None)

    def with_preemption(self, one: Preemption) -> "LiveFacts":
        """Return the facts with a preemption, once for each job: a supervisor may find it again."""
        found = {known.job: known for known in (one, *self.preemptions)}.values()
        newest = sorted(found, key=lambda known: known.ended_at)[-MOST_PREEMPTIONS:]
        return LiveFacts(facts=self.facts, preemptions=tuple(newest))


def quoted(text: str) -> str:
    """Return a text of a service as a record keeps it."""
    return fields.one_line(text)[:MOST_LETTERS]


def decode(data: bytes, uri: str) -> LiveFacts:
    """Raises `Damaged` or `NewerFormat`."""
    return codec.decode(LiveFacts, data, f"{uri}/{NAME}", WHAT, FIX)


def read(store: Store) -> LiveFacts:
    """Return the facts; none if they cannot be read, because each has an assumption in its place."""
    try:
        return codec.read_or_new(LiveFacts, store, NAME, WHAT, FIX)[0]
    except SpotError as error:
        _log.warning("%s", error)
        return LiveFacts()


def update(store: Store, change: Callable[[LiveFacts], LiveFacts]) -> LiveFacts:
    """Replace the facts by what `change` makes of them. Raises `SpotError`."""
    return codec.update(LiveFacts, store, NAME, WHAT, FIX, change)
