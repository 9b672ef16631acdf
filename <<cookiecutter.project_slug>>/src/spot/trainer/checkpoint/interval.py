"""Choose the checkpoint interval that wastes the least training time."""

import math

SHORTEST_S = 30.0
LONGEST_S = 600.0
PRIOR_S = 7200.0
"""The assumed mean time between preemptions before the first."""
DURABLE_FACTOR = 1.5


def mean_time_between_preemptions_s(*, preemptions: int, compute_s: float) -> float:
    """Return the estimate, with a prior of one preemption in `PRIOR_S` seconds."""
    return (PRIOR_S + compute_s) / (1 + preemptions)


def automatic_interval_s(*, cost_s: float | None, durable_s: float, mean_time_between_preemptions_s: float) -> float:
    """Return Young's first-order optimum, sqrt(2 * cost * MTBF), within bounds.

    `cost_s` is the training time lost per save, None before the first. `durable_s` is the time until it is durable.
    J. W. Young, "A first order approximation to the optimum checkpoint interval", CACM 17(9), 1974.
    """
    if cost_s is None:
        return SHORTEST_S
    optimum = math.sqrt(2 * cost_s * mean_time_between_preemptions_s)
    return min(max(optimum, SHORTEST_S, DURABLE_FACTOR * durable_s), max(LONGEST_S, DURABLE_FACTOR * durable_s))
