"""The cases of a sweep: what patience buys, and what another region buys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from spot.core.run import Run
from spot.simulation.forecast import Case

PATIENCE = (1.1, 1.25, 1.5, 2.0, 3.0)
"""Times the work."""
_HOUR = timedelta(hours=1)


def deadlines(run: Run, most: timedelta) -> list[Case]:
    """From the nearest that on-demand can be sure to meet, up to `most`; that of the run is among them."""
    policy = run.spec.policy
    own = run.spec.deadline - run.submitted_at
    step = timedelta(minutes=30 if policy.work >= 5 * _HOUR else 6)
    nearest = math.ceil((policy.work + policy.worst_start + policy.reconcile_interval) / step) * step
    others = {nearest, *(round(times * policy.work / step) * step for times in PATIENCE)}
    hours = sorted({own, *(one for one in others if nearest <= one <= most)})
    return [_within(run, one, f"{round(one / _HOUR, 2):g} h") for one in hours]


def _within(run: Run, time: timedelta, label: str) -> Case:
    return Case(label=label, run=replace(run, spec=replace(run.spec, deadline=run.submitted_at + time)))


def regions(run: Run, others: Sequence[str]) -> list[Case]:
    """Each region of the run alone, then the first two together, three, and so on; with one only, beside `others`."""
    own = run.spec.policy.regions
    together = [own[:number] for number in range(2, len(own) + 1)] or [(*own, other) for other in others]
    return [_in(run, names) for names in [*((region,) for region in own), *together]]


def _in(run: Run, names: tuple[str, ...]) -> Case:
    policy = replace(run.spec.policy, regions=names)
    return Case(label=" + ".join(names), run=replace(run, spec=replace(run.spec, policy=policy)))
