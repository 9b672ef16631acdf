"""Keep when each open run was last reconciled, and from where: `supervisor.json`.

A report of delays rests on it and no decision, so that a failure is only logged.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from spot.core import fields
from spot.core.errors import SpotError
from spot.storage.base import ABSENT, Conflict, Damaged, NotFound, Store
from spot.storage.records import codec

NAME, FIX, TRIES, MOST = "supervisor.json", "it is overwritten", 3, 200
"""`MOST` runs are kept; ended runs are dropped as the oldest."""
_log = logging.getLogger(__name__)


class Home(StrEnum):
    LOCAL = "local"
    GITHUB = "github"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile:
    at: datetime
    home: Home


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciles:
    runs: Mapping[fields.Id, Reconcile] = field(default_factory=dict)


def read(store: Store) -> Mapping[str, Reconcile]:
    """Return the last reconciles by run; none if they cannot be read."""
    try:
        return _read(store)[0]
    except SpotError as error:
        _log.warning("%s", error)
        return {}


def write(store: Store, run_ids: Iterable[str], at: datetime, home: Home) -> None:
    """Record a reconcile of open runs, and keep later records and those of other runs."""
    mine = {run_id: Reconcile(at=at, home=home) for run_id in run_ids}
    try:
        for _ in range(TRIES):
            known, generation = _read(store)
            kept = mine | {run_id: one for run_id, one in known.items() if run_id not in mine or one.at > at}
            newest = sorted(kept.items(), key=lambda item: item[1].at)[-MOST:]
            try:
                store.write(NAME, codec.encode(Reconciles(runs=dict(newest))), if_generation=generation)
            except Conflict:
                continue
            return
    except SpotError as error:
        _log.warning("%s", error)


def _read(store: Store) -> tuple[Mapping[str, Reconcile], int]:
    """Return the record and its generation; a damaged record counts as empty and is overwritten."""
    try:
        found = store.read(NAME)
    except NotFound:
        return {}, ABSENT
    try:
        record = codec.decode(Reconciles, found.data, f"{store.uri}/{NAME}", "a record of reconciles", FIX)
    except Damaged as error:
        _log.warning("%s", error)
        return {}, found.generation
    return record.runs, found.generation
