"""Choose the checkpoint interval that wastes the least training time."""

import math
from dataclasses import dataclass

SHORTEST_S = 30.0
LONGEST_S = 600.0
PRIOR_S = 7200.0
"""The assumed mean time between preemptions before the first."""
DURABLE_FACTOR = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Summarize the run's markers and manifests."""

    preemptions: int
    compute_seconds: float

    @property
    def mean_time_between_preemptions_s(self) -> float:
        """Return the estimate, with a prior of one preemption in `PRIOR_S` seconds."""
        return (PRIOR_S + self.compute_seconds) / (1 + self.preemptions)


def automatic_interval_s(*, cost_s: float | None, durable_s: float, history: History) -> float:
    """Return Young's first-order optimum, sqrt(2 * cost * MTBF), within bounds.

    `cost_s` is the training time lost per save, None before the first. `durable_s` is the time until it is durable.
    J. W. Young, "A first order approximation to the optimum checkpoint interval", CACM 17(9), 1974.
    """
    if cost_s is None:
        return SHORTEST_S
    optimum = math.sqrt(2 * cost_s * history.mean_time_between_preemptions_s)
    return min(max(optimum, SHORTEST_S, DURABLE_FACTOR * durable_s), max(LONGEST_S, DURABLE_FACTOR * durable_s))


def worth_withdrawing(*, fresh_s: float, remaining_s: float) -> bool:
    """Return whether to drop the save in flight on a stop: only if a fresh save will be durable in time.

    `fresh_s` is the time a save takes to become durable. If it exceeds the time left, the save in flight, which has a
    head start, is more likely to finish.
    """
    return fresh_s <= remaining_s
