"""Draw the chances of a replay by minute, the same for every policy: the time of each start, and saves on SIGTERM."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from spot.core.run import PolicyConfig, Provisioning

SPAN = 10_080
"""Minutes after which the drawn times repeat: a week."""
SOONEST = 5
"""The fewest minutes in which a machine is provisioned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartupRanges:
    """State the least and most minutes of each part of a start; every minute between is equally likely."""

    spot: tuple[int, int] = (SOONEST, 15)
    """From the minute with capacity to RUNNING."""
    on_demand: tuple[int, int] = (SOONEST, 15)
    """From submit to RUNNING."""
    restore: tuple[int, int] = (2, 6)
    """From RUNNING to the first new step."""

    @classmethod
    def of(cls, policy: PolicyConfig, measured: timedelta | None = None) -> "StartupRanges":
        """Return the default ranges, on-demand up to the worst start of the policy, spot with a measured start."""
        spot = [*cls().spot, *([-(-measured // timedelta(minutes=1))] if measured else [])]
        most = policy.worst_start // timedelta(minutes=1) - cls().restore[1]
        return cls(spot=(min(spot), max(spot)), on_demand=(SOONEST, max(most, SOONEST)))


@dataclass(frozen=True, slots=True, kw_only=True)
class StartupTimes:
    """Hold the minutes to RUNNING and the minutes of a restore, by the minute since submit."""

    minutes: Mapping[tuple[Provisioning, str], list[tuple[int, int]]]
    saving: list[float]
    """By the minute of a preemption, the least share of saved preemptions at which this one is saved."""
    offset: int = 0

    @classmethod
    def drawn(cls, ranges: StartupRanges, regions: Iterable[str], seed: int) -> "StartupTimes":
        """Draw the times of each region independently of the other regions."""
        minutes = {}
        for region in regions:
            for kind, (least, most) in ((Provisioning.SPOT, ranges.spot), (Provisioning.ON_DEMAND, ranges.on_demand)):
                rng = random.Random(f"{seed} {kind} {region}")
                provisioned = rng.choices(range(least, most + 1), k=SPAN)
                restored = rng.choices(range(ranges.restore[0], ranges.restore[1] + 1), k=SPAN)
                minutes[kind, region] = list(zip(provisioned, restored, strict=True))
        rng = random.Random(f"{seed} saves")
        return cls(minutes=minutes, saving=[rng.random() for _ in range(SPAN)])

    def provisioning(self, provisioning: Provisioning, region: str, minute: int) -> int:
        """Return the minutes to RUNNING of a machine that is granted in this minute."""
        return self.minutes[provisioning, region][(self.offset + minute) % SPAN][0]

    def restore(self, provisioning: Provisioning, region: str, minute: int) -> int:
        """Return the minutes to the first new step of a machine that is RUNNING since this minute."""
        return self.minutes[provisioning, region][(self.offset + minute) % SPAN][1]

    def saves(self, minute: int, share: float) -> bool:
        """Return whether a trainer that is preempted in this minute saves before it is killed."""
        return self.saving[(self.offset + minute) % SPAN] < share

    def at(self, offset: int) -> "StartupTimes":
        """Return the same times for a submit `offset` minutes later."""
        return replace(self, offset=offset)
