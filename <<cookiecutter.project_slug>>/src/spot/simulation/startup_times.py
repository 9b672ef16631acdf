"""How long each start of a replay takes: known by region, kind and minute, so that every policy meets the same luck."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from spot.core.run import Provisioning

SPAN = 10_080
"""Minutes after which the luck begins again: a week."""
KINDS = (Provisioning.SPOT, Provisioning.ON_DEMAND)
"""Those whose starts a replay has a model of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Starts:
    """Least and most minutes, all between them equally likely."""

    spot: tuple[int, int] = (5, 15)
    """From the minute when there is capacity to RUNNING."""
    on_demand: tuple[int, int] = (5, 15)
    """From submit to RUNNING."""
    restore: tuple[int, int] = (2, 6)
    """From RUNNING to the first new step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartupTimes:
    """Minutes are since submit."""

    provisioned: Mapping[tuple[Provisioning, str], list[int]]
    restored: Mapping[tuple[Provisioning, str], list[int]]
    offset: int = 0

    def provisioning(self, provisioning: Provisioning, region: str, minute: int) -> int:
        """Minutes to RUNNING for a machine that was got in this minute. Raises KeyError for what was not drawn."""
        return self.provisioned[provisioning, region][(self.offset + minute) % SPAN]

    def restore(self, provisioning: Provisioning, region: str, minute: int) -> int:
        """Minutes to the first new step for a machine that runs since this minute."""
        return self.restored[provisioning, region][(self.offset + minute) % SPAN]

    def at(self, offset: int) -> StartupTimes:
        """The same luck, for a submit so many minutes later."""
        return replace(self, offset=offset)


def drawn(starts: Starts, regions: Iterable[str], seed: int) -> StartupTimes:
    """Those of a region do not depend on which others there are."""
    provisioned, restored = {}, {}
    for region in regions:
        for kind in KINDS:
            least, most = starts.spot if kind is Provisioning.SPOT else starts.on_demand
            luck = random.Random(f"{seed} {kind} {region}")
            provisioned[kind, region] = luck.choices(range(least, most + 1), k=SPAN)
            restored[kind, region] = luck.choices(range(starts.restore[0], starts.restore[1] + 1), k=SPAN)
    return StartupTimes(provisioned=provisioned, restored=restored)
