"""How often to save: the interval that wastes the least training time."""

from __future__ import annotations

import math
from dataclasses import dataclass

SHORTEST_S = 30.0
LONGEST_S = 600.0
PRIOR_S = 7200.0
"""The mean time between preemptions before any was seen."""
DURABLE_FACTOR = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the run's own markers and manifests say."""

    preemptions: int
    compute_seconds: float

    @property
    def mean_time_between_preemptions_s(self) -> float:
        """The prior counts as one preemption in `PRIOR_S` seconds."""
        return (PRIOR_S + self.compute_seconds) / (1 + self.preemptions)


def automatic_interval_s(*, cost_s: float | None, durable_s: float, history: History) -> float:
    """Young's first-order optimum, sqrt(2 * cost * MTBF), within bounds.

    `cost_s` is what one save takes from training, None before the first; `durable_s` the time until one is durable.
    J. W. Young, "A first order approximation to the optimum checkpoint interval", CACM 17(9), 1974.
    """
    if cost_s is None:
        return SHORTEST_S
    optimum = math.sqrt(2 * cost_s * history.mean_time_between_preemptions_s)
    return min(max(optimum, SHORTEST_S, DURABLE_FACTOR * durable_s), max(LONGEST_S, DURABLE_FACTOR * durable_s))


def worth_withdrawing(*, fresh_s: float, remaining_s: float) -> bool:
    """On a stop: drop the save in flight for a fresh one? Only if the fresh one will be durable in time.

    `fresh_s` is how long a save takes to be durable. Where that does not fit in the time that remains, the one in
    flight with its head start is the better bet.
    """
    return fresh_s <= remaining_s
