"""Replace assumptions of the policy by what `spot verify-live` measured. The result is pinned at submit."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from spot.core.run import Run
from spot.policy.slack import SLOW_START_MARGIN
from spot.storage.records.facts import LiveFacts
from spot.trainer.runtime.signals import DEFAULT_GRACE_S

SPOT_START, ON_DEMAND_START = ("start-gpu", "start-spot"), "start-on-demand"
ERROR_LAG, GRACE = "error-lag", "cancel-grace"
RESTORE = timedelta(minutes=6)
"""From the start of the trainer to the first new step, at most."""
LONGEST_START, LONGEST_LAG = timedelta(hours=2), timedelta(minutes=30)
"""A record of the bucket cannot stop a run: longer times are cut."""
LONGEST_SAVE = timedelta(seconds=30)
"""From the newest checkpoint to the end of a trainer that saved on SIGTERM."""
LEAST_GRACE = timedelta(seconds=2)


def calibrated(run: Run, known: LiveFacts, stated: Collection[str] = ()) -> Run:
    """Return the run with measured times. `stated` has the keys of [policy] that spot.toml sets: these stay.

    Safety bounds only grow: one measurement is no worst case.
    """
    policy, changes = run.spec.policy, dict[str, Any]()
    if (start := spot_start(known)) and "expected_start_minutes" not in stated:
        changes["expected_start"] = start + RESTORE
    if (start := known.seconds(ON_DEMAND_START)) and "worst_start_minutes" not in stated:
        changes["worst_start"] = max(policy.worst_start, min(start, LONGEST_START) * SLOW_START_MARGIN + RESTORE)
    if lag := known.seconds(ERROR_LAG):
        changes["error_lag"] = max(policy.error_lag, min(lag, LONGEST_LAG) * 2)
    if (grace := known.seconds(GRACE)) and grace.total_seconds() < DEFAULT_GRACE_S:
        changes["grace"] = max(grace, LEAST_GRACE)
    return run.with_policy(**changes, saved_share=saved_share(known))


def spot_start(known: LiveFacts) -> timedelta | None:
    """Return the measured time from create to RUNNING on spot."""
    found = known.seconds(*SPOT_START)
    return min(found, LONGEST_START) if found else None


def saved_share(known: LiveFacts) -> float:
    """Return the share of preemptions before which the trainer saved, as if one more had come without a save."""
    ends = [(one.saved_at, one.signal_at) for one in known.preemptions]
    saved = [1 for saved_at, signal_at in ends if saved_at and signal_at and signal_at - saved_at <= LONGEST_SAVE]
    return len(saved) / (len(ends) + 1)
