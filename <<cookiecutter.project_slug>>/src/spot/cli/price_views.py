"""Prices and estimates as tables, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from spot.cli import console
from spot.core.format import hours
from spot.core.run import Machine, Provisioning, Strategy
from spot.pricing.estimate import MTBF, Assumptions, Course, Estimate, on_demand, on_spot
from spot.pricing.quotes import FEE, Quote, described
from spot.pricing.refresh import Found
from spot.pricing.table import FILE

UNKNOWN = "no price is known"
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """What an hour costs."""

    machine: Machine
    quotes: Sequence[Quote]
    without: Sequence[str]
    """Regions that have no price."""
    refreshed: Found | None
    warning: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimated:
    """What a run will cost."""

    machine: Machine
    work: timedelta
    deadline: timedelta
    """From submit."""
    strategy: Strategy
    assumed: Assumptions
    estimates: Sequence[Estimate]
    without: Sequence[str]
    """Regions that have no price."""
    warning: str | None

    @property
    def courses(self) -> tuple[tuple[Provisioning, Course | None], ...]:
        return (
            (Provisioning.ON_DEMAND, on_demand(self.work, self.assumed)),
            (Provisioning.SPOT, on_spot(self.work, self.assumed)),
        )


def show_prices(priced: Priced, *, as_json: bool) -> None:
    if as_json:
        console.write_json(_priced_values(priced))
        return
    parts: list[RenderableType] = []
    if priced.refreshed:
        parts += [Text(_refreshed_line(priced.refreshed)), ""]
    parts += [Text(f"$ an hour on Vertex AI: {described(priced.machine)}"), ""]
    if not priced.quotes and not priced.without:
        parts.append(f"{UNKNOWN} in any region")
    else:
        disk = f"The boot disk of {priced.machine.boot_disk_gb} GB comes on top"
        fee = f"Vertex AI's fee is in all of them: {FEE:.0%} of the on-demand price, on spot too"
        parts += [_prices_table(priced), "", Text(f"{disk}. {fee}.", style="dim")]
    console.write(*parts, *_warned(priced.warning))


def show_estimates(estimated: Estimated, *, as_json: bool) -> None:
    if as_json:
        console.write_json(_estimated_values(estimated))
        return
    disk = f"a boot disk of {estimated.machine.boot_disk_gb} GB"
    console.write(
        Text(f"{hours(estimated.work)} of work on {described(estimated.machine)}, {disk}"),
        "",
        _estimates_table(estimated),
        "",
        _courses_table(estimated),
        *_late(estimated),
        "",
        _assumptions_table(estimated.assumed),
        *_warned(estimated.warning),
    )


def _refreshed_line(found: Found) -> str:
    regions = len({region for _, region in found.rates})
    unreadable = f"; {found.unreadable} more were in no known form" if found.unreadable else ""
    return (
        f"{FILE}: {len(found.rates)} prices in {regions} regions, from {found.used} of the catalogue's"
        f" {found.read} SKUs{unreadable}"
    )


def _table(*names: str, left: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in names:
        table.add_column(name, justify="left" if name in left else "right", overflow="fold")
    return table


def _prices_table(priced: Priced) -> Table:
    left = ("region", "dated", "from")
    table = _table("region", "on-demand", "spot", "saving", "disk", "dated", "from", left=left)
    for one in priced.quotes:
        undated = ", GPU undated" if one.undated and one.dated else ""
        table.add_row(
            one.region,
            f"{one.on_demand:.3f}",
            f"{one.spot:.3f}",
            _saving(1 - one.spot / one.on_demand),
            f"{one.disk:.3f}",
            str(one.dated or "undated"),
            f"{' and '.join(one.sources)}{undated}",
        )
    for region in priced.without:
        table.add_row(region, *[""] * 5, UNKNOWN)
    return table


def _estimates_table(estimated: Estimated) -> Table:
    table = _table("region", "$/h on-demand", "$/h spot", "run on-demand", "run on spot", "saving", left=("region",))
    for one in estimated.estimates:
        table.add_row(
            one.quote.region,
            f"{one.quote.usd_per_hour(Provisioning.ON_DEMAND):.3f}",
            f"{one.quote.usd_per_hour(Provisioning.SPOT):.3f}",
            f"${one.on_demand_usd:.2f}",
            "" if one.spot_usd is None else f"${one.spot_usd:.2f}",
            "" if one.saving is None else _saving(one.saving),
        )
    for region in estimated.without:
        table.add_row(region, UNKNOWN)
    return table


def _courses_table(estimated: Estimated) -> Table:
    deadline = f"deadline in {hours(estimated.deadline)}"
    table = _table("", "preemptions", "billed", "submit to end", deadline, left=("",))
    for provisioning, course in estimated.courses:
        if course:
            spare = _spare(estimated.deadline - course.whole)
            table.add_row(provisioning, f"{course.preemptions:.1f}", hours(course.billed), hours(course.whole), spare)
        else:
            table.add_row(provisioning, "", "", "never", "no progress between preemptions")
    return table


def _late(estimated: Estimated) -> list[RenderableType]:
    """What happens where spot alone is not in time, or nothing is."""
    spot, demand = on_spot(estimated.work, estimated.assumed), on_demand(estimated.work, estimated.assumed)
    if demand.whole > estimated.deadline:
        late = f"not even on-demand is in time: {hours(demand.whole - estimated.deadline)} late"
        return ["", Text(f"{late}. Raise policy.deadline_hours, or lower the work", style="bold red")]
    if spot and spot.whole <= estimated.deadline:
        return []
    if estimated.strategy is Strategy.SPOT:
        return ["", Text("policy.strategy is spot, which promises no deadline", style="bold red")]
    if estimated.strategy is Strategy.HYBRID:
        return ["", Text("policy.strategy is hybrid: on-demand does in time what spot does not, at its price")]
    return []


def _spare(spare: timedelta) -> Text:
    if spare < timedelta():
        return Text(f"{hours(-spare)} late", style="bold red")
    return Text(f"{hours(spare)} to spare")


def _saving(share: float) -> Text:
    return Text(f"{share:.0%}") if share >= 0 else Text(f"LOSS {-share:.0%}", style="bold red")


def _assumptions_table(assumed: Assumptions) -> Table:
    mtbf = "16 H100 Spot VMs in October 2025, or --mtbf-hours" if assumed.mtbf == MTBF else "--mtbf-hours"
    table = _table("assumed", "", "from", left=("assumed", "from"))
    table.add_row("a preemption every", hours(assumed.mtbf), mtbf)
    table.add_row("its notice after", hours(assumed.unnoticed), "half of policy.reconcile_interval_minutes")
    table.add_row("its loss", hours(assumed.lost), "half of checkpoint-interval, else max_checkpoint_interval_minutes")
    table.add_row("a start", hours(assumed.start), "policy.expected_start_minutes")
    table.add_row("of it billed", hours(assumed.restore), "the middle of 2 to 6 minutes, see docs/prices.md")
    table.add_row("capacity", "always", "spot forecast replays what was seen of it")
    return table


def _warned(warning: str | None) -> list[RenderableType]:
    return ["", Text(f"warning: {warning}", style="yellow")] if warning else []


def _priced_values(priced: Priced) -> dict[str, Any]:
    refreshed = priced.refreshed
    return {
        "machine": asdict(priced.machine),
        "prices": [_quote_values(one) for one in priced.quotes],
        "without_price": list(priced.without),
        "refreshed": {
            "prices": len(refreshed.rates),
            "skus": {"read": refreshed.read, "used": refreshed.used, "unreadable": refreshed.unreadable},
        }
        if refreshed
        else None,
        "warning": priced.warning,
    }


def _quote_values(quote: Quote) -> dict[str, Any]:
    return {
        "region": quote.region,
        "usd_per_hour": {kind: round(quote.usd_per_hour(kind), 6) for kind in Provisioning},
        "of_it_disk": round(quote.disk, 6),
        "dated": quote.dated.isoformat() if quote.dated else None,
        "undated": list(quote.undated),
        "from": list(quote.sources),
    }


def _estimated_values(estimated: Estimated) -> dict[str, Any]:
    assumed = estimated.assumed
    return {
        "machine": asdict(estimated.machine),
        "work_hours": _hours(estimated.work),
        "deadline_hours": _hours(estimated.deadline),
        "strategy": estimated.strategy,
        "estimates": [
            {
                **_quote_values(one.quote),
                "on_demand_usd": round(one.on_demand_usd, 4),
                "spot_usd": one.spot_usd if one.spot_usd is None else round(one.spot_usd, 4),
                "saving": one.saving if one.saving is None else round(one.saving, 4),
            }
            for one in estimated.estimates
        ],
        "without_price": list(estimated.without),
        "courses": {kind: _course_values(course) for kind, course in estimated.courses},
        "assumed": {
            "mtbf_hours": _hours(assumed.mtbf),
            "notice_hours": _hours(assumed.unnoticed),
            "lost_hours": _hours(assumed.lost),
            "start_hours": _hours(assumed.start),
            "billed_of_it_hours": _hours(assumed.restore),
        },
        "warning": estimated.warning,
    }


def _course_values(course: Course | None) -> dict[str, float] | None:
    if course is None:
        return None
    return {
        "preemptions": round(course.preemptions, 4),
        "billed_hours": _hours(course.billed),
        "whole_hours": _hours(course.whole),
    }


def _hours(duration: timedelta) -> float:
    return round(duration / HOUR, 4)
