"""Keep when each open run was last reconciled, and from where: `supervisor.json`.

A report of delays rests on it and no decision, so that a failure is only logged.
"""

import json
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from spot.core.errors import SpotError
from spot.core.fields import ID
from spot.storage.base import ABSENT, Conflict, NotFound, Store

NAME, FORMAT, TRIES = "supervisor.json", 1, 3
MOST = 200
"""Runs to keep; ended runs are dropped as the oldest."""
_HOME = re.compile(r"[a-z-]{1,20}")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile:
    """Hold the last reconcile of a run."""

    at: datetime
    home: str
    """Where the supervisor ran: local, github."""


def read(store: Store) -> Mapping[str, Reconcile]:
    """Return the last reconciles by run; none if they cannot be read."""
    try:
        return _read(store)[0]
    except SpotError as error:
        _log.warning("%s/%s was not read: %s", store.uri, NAME, error)
        return {}


def write(store: Store, run_ids: Iterable[str], at: datetime, home: str) -> None:
    """Record a reconcile of open runs, and keep what others recorded about other runs."""
    mine = {run_id: Reconcile(at=at, home=home) for run_id in run_ids}
    try:
        for _ in range(TRIES):
            known, generation = _read(store)
            later = {run_id: one for run_id, one in known.items() if run_id not in mine or one.at > at}
            kept = sorted((mine | later).items(), key=lambda item: item[1].at)[-MOST:]
            runs = {run_id: {"at": one.at.isoformat(), "home": one.home} for run_id, one in kept}
            data = json.dumps({"format": FORMAT, "runs": runs}, indent=1).encode()
            try:
                store.write(NAME, data, if_generation=generation)
            except Conflict:
                continue
            return
    except SpotError as error:
        _log.warning("%s/%s was not written: %s", store.uri, NAME, error)


def _read(store: Store) -> tuple[dict[str, Reconcile], int]:
    """Return the record and its generation; a damaged record counts as empty and is overwritten."""
    try:
        found = store.read(NAME)
    except NotFound:
        return {}, ABSENT
    try:
        runs = json.loads(found.data)["runs"].items()
        return {run_id: _checked(run_id, **values) for run_id, values in runs}, found.generation
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        _log.warning("%s/%s is damaged: %s", store.uri, NAME, error)
        return {}, found.generation


def _checked(run_id: str, at: str, home: str) -> Reconcile:
    moment = datetime.fromisoformat(at).astimezone(UTC)
    if not ID.fullmatch(run_id) or not _HOME.fullmatch(home) or not 2000 <= moment.year <= 2200:
        raise ValueError("an invalid entry")
    return Reconcile(at=moment, home=home)
