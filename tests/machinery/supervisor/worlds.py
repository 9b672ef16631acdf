"""Draw worlds without I/O to try the policy in: capacity, starts, saves, delays and faults.

A world is a few short cyclic lists, so that a failing one is short enough to read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from hypothesis import strategies as st

from spot.core.run import Provisioning, Run, Strategy
from spot.policy.slack import SETTLE
from tests.machinery import samples

MINUTE = timedelta(minutes=1)
NEVER = 10**9


class Quota(StrEnum):
    GRANTED = "granted"
    REFUSED = "refused at create"
    LATE = "the job fails with it"
    SILENT = "the job is queued for ever"


class Fault(StrEnum):
    """Fail a create."""

    NONE = "none"
    LOST = "no answer, no job"
    UNANSWERED = "no answer, and a job"
    RATE_LIMIT = "rate limit exceeded"


class Failure(StrEnum):
    """Fail a job at its start."""

    NONE = "none"
    STOCKOUT = "stockout"
    INTERNAL = "internal error"
    USER = "training failed"


class StandbyBehaviour(StrEnum):
    """Select the behaviour of a standby that is ready."""

    REPLACES = "replaces the holder and trains"
    STALLS = "replaces the holder and never trains"
    WAITS = "never gets the lease"


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    spot: tuple[int, ...] = ()
    """Minutes with capacity, without, with, and so on; capacity for ever after the last."""
    spot_quota: Quota = Quota.GRANTED
    on_demand_quota: Quota = Quota.GRANTED

    def has_spot(self, minute: int) -> bool:
        up = True
        for length in self.spot:
            if minute < length:
                return up
            minute, up = minute - length, not up
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Describe a world; durations in minutes. Faults and failures come once, all other tuples are cyclic."""

    regions: Mapping[str, Region]
    gaps: tuple[int, ...] = (1,)
    """Between two reconciles."""
    spot_starts: tuple[tuple[int, int], ...] = ((3, 2),)
    """Minutes until the job runs, and from then until it trains."""
    on_demand_starts: tuple[tuple[int, int], ...] = ((3, 2),)
    checkpoints: tuple[int, ...] = (5,)
    """Training time between two checkpoints."""
    saves: tuple[bool, ...] = (False,)
    """Whether a preempted trainer saves."""
    restarts: tuple[bool, ...] = (False,)
    """Whether Vertex AI restarts a preempted trainer inside its job."""
    error_delays: tuple[int, ...] = (1,)
    cancels: tuple[int, ...] = (1,)
    """Until a cancelled job has ended."""
    patience: tuple[int, ...] = (NEVER,)
    """How long a job waits without capacity until it fails."""
    lingers: tuple[int, ...] = (0,)
    """From the complete model to the end of the job."""
    standbys: tuple[StandbyBehaviour, ...] = (StandbyBehaviour.REPLACES,)
    behind: tuple[int, ...] = (0,)
    """The error of the supervisor's clock: it jumps back and forth."""
    faults: tuple[Fault, ...] = ()
    failures: tuple[Failure, ...] = ()
    asked_to_end: int = NEVER
    """The minute in which a user cancels the run."""

    @property
    def calm(self) -> int:
        """Return the minute from which there is capacity everywhere and the clock is right."""
        return max(sum(region.spot) for region in self.regions.values())


NAMES = ("us-central1", "us-east4", "europe-west4")
HEAVY = st.sampled_from((1, 2, 3, 5, 8, 12, 20, 30, 45, 90, 180, 400, 900))
"""Durations as they are measured: most are short, a few are very long."""
SPOT_QUOTA = (*[Quota.GRANTED] * 5, *Quota)
BUDGETS = st.none() | st.sampled_from((0.05, 0.5, 1.0, 2.0, 5.0, 20.0))


def some(values: st.SearchStrategy[int], most: int = 4) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(values, min_size=1, max_size=most).map(tuple)


def starts(most: int) -> st.SearchStrategy[tuple[tuple[int, int], ...]]:
    """Draw waiting and restoring times: together at most so many minutes, at least one of waiting."""
    one = st.integers(1, most).flatmap(lambda total: st.tuples(st.integers(1, total), st.just(total)))
    return st.lists(one.map(lambda pair: (pair[0], pair[1] - pair[0])), min_size=1, max_size=3).map(tuple)


@st.composite
def runs(draw: st.DrawFn, strategies: tuple[Strategy, ...], budgets: st.SearchStrategy[float | None]) -> Run:
    """Draw a run whose deadline on-demand can meet, with no or much time to spare."""
    work, worst_start = draw(st.integers(1, 300)), draw(st.integers(1, 40))
    spare = draw(st.sampled_from((0, 1, 30, 60, 90, 120, 180, 240, 300, 400, 500, 600)))
    regions = NAMES[: draw(st.integers(1, len(NAMES)))]
    prices = {Provisioning.SPOT: 0.4, Provisioning.FLEX_START: 0.6, Provisioning.ON_DEMAND: 1.0}
    return samples.run(
        strategy=draw(st.sampled_from(strategies)),
        regions=regions,
        hand_over=draw(st.booleans()),
        flex_start=draw(st.booleans()),
        work=work * MINUTE,
        provisioning_timeout=draw(st.integers(1, 30)) * MINUTE,
        expected_start=draw(st.integers(1, 30)) * MINUTE,
        worst_start=worst_start * MINUTE,
        reconcile_interval=draw(st.integers(1, 30)) * MINUTE,
        max_checkpoint_interval=draw(st.integers(1, 30)) * MINUTE,
        reserve=draw(st.sampled_from((0, 30, 75, 300))) * MINUTE,
        max_preemptions=draw(st.none() | st.integers(0, 3)),
        budget_usd=draw(budgets),
        usd_per_hour=dict.fromkeys(regions, prices),
        deadline=samples.T0 + (work + worst_start + spare) * MINUTE,
    )


@st.composite
def kept_promises(draw: st.DrawFn, run: Run) -> World:
    """Draw a world in which the conditions of the deadline hold; spot is arbitrary.

    A cancelled job ends while the reconcile waits for it.
    """
    policy = run.spec.policy
    error_delays = draw(some(st.integers(0, 2), 2))
    longest = SETTLE // MINUTE
    regions = [
        Region(
            spot=draw(st.lists(HEAVY, max_size=12).map(tuple)),
            spot_quota=draw(st.sampled_from(SPOT_QUOTA)),
            on_demand_quota=draw(st.sampled_from((Quota.GRANTED, Quota.REFUSED))) if number else Quota.GRANTED,
        )
        for number, _ in enumerate(policy.regions)
    ]
    return World(
        regions=dict(zip(policy.regions, draw(st.permutations(regions)), strict=True)),
        gaps=draw(
            st.just((policy.reconcile_interval // MINUTE,)) | some(st.integers(1, policy.reconcile_interval // MINUTE))
        ),
        spot_starts=draw(st.lists(st.tuples(HEAVY, HEAVY), min_size=1, max_size=4).map(tuple)),
        on_demand_starts=draw(st.just(((policy.worst_start // MINUTE, 0),)) | starts(policy.worst_start // MINUTE)),
        checkpoints=draw(some(st.integers(1, policy.max_checkpoint_interval // MINUTE))),
        saves=draw(st.lists(st.booleans(), min_size=1, max_size=3).map(tuple)),
        restarts=draw(st.lists(st.booleans(), min_size=1, max_size=3).map(tuple)),
        error_delays=error_delays,
        cancels=draw(st.just((longest,)) | some(st.integers(1, longest), 2)),
        patience=draw(some(HEAVY | st.just(NEVER), 3)),
        lingers=draw(some(st.integers(0, 3), 2)),
        standbys=draw(st.lists(st.sampled_from(StandbyBehaviour), min_size=1, max_size=3).map(tuple)),
    )


@st.composite
def any_world(draw: st.DrawFn, run: Run) -> World:
    """Draw any world in which faults end and on-demand machines come in the stated time."""
    world = draw(kept_promises(run))
    waits = st.integers(1, run.spec.policy.worst_start // MINUTE)
    quota = st.sampled_from((Quota.GRANTED, Quota.GRANTED, Quota.REFUSED, Quota.LATE))
    return replace(
        world,
        regions={
            name: replace(region, spot_quota=draw(quota), on_demand_quota=draw(quota))
            for name, region in world.regions.items()
        },
        gaps=draw(some(st.integers(1, 90))),
        on_demand_starts=draw(st.lists(st.tuples(waits, HEAVY), min_size=1, max_size=3).map(tuple)),
        checkpoints=draw(some(st.integers(1, 90))),
        error_delays=draw(some(st.integers(0, 8), 2)),
        cancels=draw(some(st.integers(1, 30), 2)),
        lingers=draw(some(st.integers(0, 60), 2)),
        behind=draw(st.just((0,)) | some(st.integers(0, 200))),
        faults=draw(st.lists(st.sampled_from(Fault), max_size=4).map(tuple)),
        failures=draw(st.lists(st.sampled_from(Failure), max_size=4).map(tuple)),
        asked_to_end=draw(st.just(NEVER) | st.just(NEVER) | st.integers(0, 600)),
    )
