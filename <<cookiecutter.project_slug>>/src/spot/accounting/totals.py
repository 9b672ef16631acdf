"""Add up the accounts of many runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from spot.accounting.cost import EVEN, Account, Verdict
from spot.accounting.phases import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Hold the accounts of the runs submitted from `since` to `until`, oldest first."""

    since: datetime
    until: datetime
    accounts: tuple[Account, ...]
    skipped: tuple[str, ...]
    """The reason for each record that could not be read."""

    @property
    def priced(self) -> Sequence[Account]:
        """Return the accounts with both prices; money is added up over these only."""
        return [one for one in self.accounts if one.usd_saved is not None]

    @property
    def usd(self) -> float:
        return sum(one.usd or 0.0 for one in self.priced)

    @property
    def usd_on_demand(self) -> float:
        return sum(one.on_demand.usd for one in self.priced if one.on_demand)

    @property
    def usd_saved(self) -> float:
        return self.usd_on_demand - self.usd

    @property
    def share_saved(self) -> float | None:
        return self.usd_saved / self.usd_on_demand if self.usd_on_demand else None

    @property
    def is_loss(self) -> bool:
        return bool(self.usd) if self.share_saved is None else self.share_saved <= -EVEN

    @property
    def preemptions(self) -> int:
        return sum(one.run.preemptions for one in self.accounts)

    @property
    def billed(self) -> timedelta:
        return sum((one.billed for one in self.accounts), timedelta())

    @property
    def goodput(self) -> float | None:
        useful = sum((one.phases[Phase.TRAINING] for one in self.accounts), timedelta())
        return useful / self.billed if self.billed else None

    def count(self, verdict: Verdict) -> int:
        return sum(one.verdict is verdict for one in self.accounts)
