"""What a run costs at the least if all capacity and all start-ups are known beforehand: a dynamic programme.

Over the minute, the work left and what trains, from the deadline backwards. It is a true lower bound, because it may do
all that a policy may in a replay, and more: nothing is lost at a preemption, and a machine that is ready at some minute
can have been asked for in time whatever the run held until then. So a hand-over is as warm as can be, from anything to
anything, and costs what the new machine takes to restore.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Costs = NDArray[np.float64]
"""$ by the minutes of work left, from 0 up; infinite where the deadline cannot be met."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A machine that is got at some minute and can be used."""

    ready: int
    """The minute from which it trains."""
    billed: int
    """Minutes of restoring before that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One kind of machine in one region."""

    usd_per_minute: float
    has_capacity: Sequence[bool]
    """In each minute of the window."""
    starts: Sequence[Start | None]
    """By the minute at which the machine is got; None where it would be taken away before it trains."""


def least_cost(ways: Sequence[Way], *, deadline: int, most_work: int) -> Costs:
    """What each amount of work up to `most_work` costs from minute 0, with all of it done by `deadline`."""
    trains = [np.full((deadline + 1, most_work + 1), np.inf) for _ in ways]
    for table in trains:
        table[:, 0] = 0.0
    least: Costs = trains[0][deadline].copy()
    restored = [_usd_to_be_ready(way, deadline) for way in ways]
    for minute in range(deadline - 1, -1, -1):
        for way, table, usd in zip(ways, trains, restored, strict=True):
            if way.has_capacity[minute]:
                table[minute, 1:] = table[minute + 1, :-1] + way.usd_per_minute
                if minute in usd:
                    np.minimum(least, table[minute] + usd[minute], out=least)
        for table in trains:
            np.minimum(table[minute], least, out=table[minute])
    return least


def _usd_to_be_ready(way: Way, deadline: int) -> dict[int, float]:
    """$ until a machine of this kind trains, by the minute from which one can."""
    usd: dict[int, float] = {}
    for start in way.starts:
        if start is not None and start.ready <= deadline:
            billed = start.billed * way.usd_per_minute
            usd[start.ready] = min(usd.get(start.ready, billed), billed)
    return usd
