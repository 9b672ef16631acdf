"""Vary the deadline or the regions of a run, to forecast each case."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from spot.core.run import Run
from spot.simulation.forecast import Case

DEADLINES = (1.1, 1.25, 1.5, 2.0, 3.0)
"""As multiples of the work."""
_HOUR = timedelta(hours=1)


def deadlines(run: Run, most: timedelta) -> list[Case]:
    """Return cases from the nearest deadline that on-demand is sure to meet up to `most`, the run's own among them."""
    policy = run.spec.policy
    own = run.spec.deadline - run.submitted_at
    step = timedelta(minutes=30 if policy.work >= 5 * _HOUR else 6)
    nearest = math.ceil((policy.work + policy.worst_start + policy.reconcile_interval) / step) * step
    times = {nearest, *(round(factor * policy.work / step) * step for factor in DEADLINES)}
    found = sorted({own, *(time for time in times if nearest <= time <= most)})
    return [_case(run, f"{round(time / _HOUR, 2):g} h", deadline=run.submitted_at + time) for time in found]


def regions(run: Run, others: Sequence[str]) -> list[Case]:
    """Return each region of the run alone, then the first two together, three, and so on.

    A run with one region is combined with each of `others` instead.
    """
    policy = run.spec.policy
    own = policy.regions
    together = [own[:number] for number in range(2, len(own) + 1)] or [(*own, other) for other in others]
    sets = [*((region,) for region in own), *together]
    return [_case(run, " + ".join(names), policy=replace(policy, regions=names)) for names in sets]


def _case(run: Run, label: str, **changes: Any) -> Case:
    return Case(label=label, run=replace(run, spec=replace(run.spec, **changes)))
