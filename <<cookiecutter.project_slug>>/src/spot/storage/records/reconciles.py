"""Keep when each open run was last reconciled, from where, and how far reconciles are apart: `supervisor.json`.

No decision about an open run rests on it, so that a failure is only logged.
"""

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from spot.core import fields
from spot.core.errors import SpotError
from spot.core.format import hours
from spot.storage.base import Store
from spot.storage.records import codec

NAME, WHAT, FIX, MOST = "supervisor.json", "a record of reconciles", "it is overwritten", 200
"""`MOST` runs and gaps of a home are kept; ended runs are dropped as the oldest."""
USUAL = 0.95
"""The share of the gaps that is at most the usual gap."""
_log = logging.getLogger(__name__)


class Home(StrEnum):
    LOCAL = "local"
    GITHUB = "github"
    CLOUD_RUN = "cloud-run"


DELIVERED: Mapping[str, timedelta] = {Home.CLOUD_RUN: timedelta(minutes=5), Home.GITHUB: timedelta(hours=5)}
"""The longest time between two reconciles, as a schedule delivers them.

Cloud Scheduler starts one every 3 minutes. GitHub was seen to take up to 4.6 hours for a schedule of 10 minutes.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile:
    at: datetime
    home: Home
    scheduled_at: datetime | None = None
    """When a schedule last reconciled the run, or when the run was first reconciled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciles:
    runs: Mapping[fields.Id, Reconcile] = field(default_factory=dict)
    gaps: Mapping[Home, tuple[timedelta, ...]] = field(default_factory=dict)
    """Times between two scheduled reconciles of an open run, by the home of the second."""

    def usual_gap(self, home: str) -> timedelta:
        """Return the 95th percentile of the gaps that `home` ended, zero before the first."""
        gaps = sorted(self.gaps.get(Home(home), ()))
        return gaps[math.ceil(USUAL * len(gaps)) - 1] if gaps else timedelta()

    def slower(self, home: str, configured: timedelta) -> str | None:
        """Return a sentence if reconciles come later than configured."""
        usual = self.usual_gap(home)
        return f"reconciles came every {hours(usual)}; configured {hours(configured)}" if usual > configured else None


def interval(home: str, minutes: float | str) -> timedelta:
    """Return the longest time between two reconciles: "auto" is what the home delivers."""
    return timedelta(minutes=minutes) if isinstance(minutes, int | float) else DELIVERED[home]


def read(store: Store) -> Reconciles:
    """Return the last reconciles; none if they cannot be read."""
    try:
        return codec.read_or_new(Reconciles, store, NAME, WHAT, FIX)[0]
    except SpotError as error:
        _log.warning("%s", error)
        return Reconciles()


def write(store: Store, run_ids: Iterable[str], at: datetime, home: Home) -> None:
    """Record a reconcile of open runs, and keep later records and those of other runs."""
    ids = set(run_ids)

    def change(known: Reconciles) -> Reconciles:
        mine = {run_id: _after(known.runs.get(run_id), at, home) for run_id in ids}
        kept = mine | {run_id: one for run_id, one in known.runs.items() if run_id not in mine or one.at > at}
        newest = sorted(kept.items(), key=lambda item: item[1].at)[-MOST:]
        return Reconciles(runs=dict(newest), gaps=_gaps(known, ids, at, home))

    try:
        codec.update(Reconciles, store, NAME, WHAT, FIX, change)
    except SpotError as error:
        _log.warning("%s", error)


def _after(before: Reconcile | None, at: datetime, home: Home) -> Reconcile:
    """Return the record of a run. A reconcile by hand leaves the time of the schedule."""
    scheduled_at = before.scheduled_at if before and home is Home.LOCAL else at
    return Reconcile(at=at, home=home, scheduled_at=scheduled_at)


def _gaps(known: Reconciles, run_ids: Iterable[str], at: datetime, home: Home) -> Mapping[Home, tuple[timedelta, ...]]:
    """Add the time since the schedule last reconciled any of these runs."""
    seen = [one.scheduled_at for run_id in run_ids if (one := known.runs.get(run_id)) and one.scheduled_at]
    if home is Home.LOCAL or not seen or (gap := at - max(seen)) <= timedelta():
        return known.gaps
    return {**known.gaps, home: (*known.gaps.get(home, ()), gap)[-MOST:]}
