"""Capacity as nobody measured it: up and down times drawn from a stated mean, for want of a trace."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from spot.simulation.traces import Series, Trace

ENOUGH = 10**9
"""Machines while there is capacity: the stated means are those of as many as the run needs."""
_START = datetime(2000, 1, 1, tzinfo=UTC)


def generated(regions: Iterable[str], *, between: timedelta, outage: timedelta, length: timedelta, seed: int) -> Trace:
    """Both exponential: `between` is the mean time from capacity to the preemption, `outage` the mean time without.

    Measured ones are not so kind: most outages are short, and some last for days.
    """
    minutes = int(length / timedelta(minutes=1))
    series = {}
    for region in regions:
        changes = list(_changes(random.Random(f"{seed} {region}"), between, outage, minutes))
        series[region] = Series(
            minutes=tuple(float(minute) for minute, _ in changes),
            counts=tuple(ENOUGH if up else 0 for _, up in changes),
            known=((0, minutes),),
        )
    return Trace(name="generated capacity", start=_START, series=series)


def _changes(luck: random.Random, between: timedelta, outage: timedelta, minutes: int) -> Iterator[tuple[int, bool]]:
    """When it changes, and whether there is capacity from then on; at first as likely as at any other time."""
    up = luck.random() < between / (between + outage)
    at = 0.0
    while at < minutes:
        yield round(at), up
        at += max(luck.expovariate(1 / ((between if up else outage) / timedelta(minutes=1))), 1.0)
        up = not up
