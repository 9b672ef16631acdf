"""Run the verbs on prices: what an hour costs, and what a run will cost."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from spot.cli import console
from spot.cli.runs import overrides
from spot.config.load import load
from spot.config.settings import Settings
from spot.core.errors import Exit
from spot.core.format import hours
from spot.core.run import Machine, Provisioning, Strategy
from spot.core.tables import table
from spot.pricing.estimate import MTBF, Assumptions, Course, Estimate, assumptions, estimates, on_demand, on_spot
from spot.pricing.quotes import FEE, Quote, age_warning, described, quotes
from spot.pricing.table import FILE, PriceError, save
from spot.supervisor.submit import overridden

UNKNOWN = "no price is known"
REFRESHED = (
    "{prices} prices in {regions} regions, from {skus_used} of {skus_read} SKUs, {skus_unknown} in an unknown form"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateResult:
    """Hold what a run will cost in each region, and how long it will take."""

    machine: Machine
    work: timedelta
    deadline: timedelta
    """From submit."""
    strategy: Strategy
    assumed: Assumptions
    estimates: Sequence[Estimate]
    unpriced: Sequence[str]
    """Regions without a price."""
    warning: str | None
    demand: Course
    """On demand only."""
    spot: Course | None
    """On spot only; None if it never ends."""


def prices(options: Namespace) -> int:
    """Show what an hour costs in each region."""
    settings, now = load(options.settings), datetime.now(UTC)
    refreshed = _refresh(settings, now) if options.refresh else None
    prices, machine = settings.price_table(), settings.machine()
    regions = prices.regions(machine.type) if options.all else settings.cloud.regions
    found = quotes(machine, regions, prices)
    unpriced = [] if options.all else _unpriced(found, regions)
    warning = age_warning(found, now)
    document = {
        "machine": machine,
        "prices": [_quote_values(one) for one in found],
        "unpriced": unpriced,
        "refreshed": refreshed,
        "warning": warning,
    }
    parts: list[RenderableType] = []
    if refreshed:
        parts += [Text(f"{FILE}: {REFRESHED.format_map(refreshed)}"), ""]
    parts += [Text(f"$ per hour on Vertex AI: {described(machine)}"), ""]
    if not found and not unpriced:
        parts.append(f"{UNKNOWN} in any region")
    else:
        disk = f"The boot disk of {machine.boot_disk_gb} GB is charged on top."
        fee = f"Prices include Vertex AI's fee: {FEE:.0%} of the on-demand price, on spot too."
        parts += [_prices_table(found, unpriced), "", Text(f"{disk} {fee}", style="dim")]
    console.show(document, [*parts, *_warned(warning)], options.json)
    return Exit.DONE


def estimate(options: Namespace) -> int:
    """Estimate what a run will cost in each region."""
    settings, now = overridden(load(options.settings), overrides(options)), datetime.now(UTC)
    machine, policy, regions = settings.machine(), settings.policy_config(), settings.cloud.regions
    found = quotes(machine, regions, settings.price_table())
    if not found:
        raise PriceError(f"{UNKNOWN} for {described(machine)} in {', '.join(regions)}", fix="spot prices --all")
    mtbf = timedelta(hours=options.mtbf_hours) if options.mtbf_hours else MTBF
    assumed = assumptions(policy, settings.arguments(), mtbf)
    result = EstimateResult(
        machine=machine,
        work=policy.work,
        deadline=timedelta(hours=settings.policy.deadline_hours),
        strategy=policy.strategy,
        assumed=assumed,
        estimates=estimates(policy.work, found, assumed),
        unpriced=_unpriced(found, regions),
        warning=age_warning(found, now),
        demand=on_demand(policy.work, assumed),
        spot=on_spot(policy.work, assumed),
    )
    parts: list[RenderableType] = [
        Text(f"{hours(result.work)} of work on {described(machine)}, a boot disk of {machine.boot_disk_gb} GB"),
        *("", _estimates_table(result), "", _courses_table(result), *_late(result)),
        *("", _assumptions_table(assumed), *_warned(result.warning)),
    ]
    console.show(_estimate_values(result), parts, options.json)
    return Exit.DONE


def _refresh(settings: Settings, now: datetime) -> dict[str, int]:
    """Save today's prices over the project's own, and return what was found."""
    from spot.pricing.refresh import fetch  # the billing client is slow to load

    folder = settings.folder or Path()
    found = fetch(now.date())
    save(found.rates, folder)
    regions = {region for _, region in found.rates}
    counts = {"skus_read": found.read, "skus_used": found.used, "skus_unknown": found.unreadable}
    return {"prices": len(found.rates), "regions": len(regions), **counts}


def _unpriced(found: Sequence[Quote], regions: Sequence[str]) -> list[str]:
    known = {one.region for one in found}
    return [region for region in regions if region not in known]


def _prices_table(found: Sequence[Quote], unpriced: Sequence[str]) -> Table:
    shown = table("region", ">on-demand", ">spot", ">saving", ">disk", "dated", "from")
    for one in found:
        undated = ", GPU undated" if one.undated and one.dated else ""
        shown.add_row(
            one.region,
            f"{one.on_demand:.3f}",
            f"{one.spot:.3f}",
            _saving(1 - one.spot / one.on_demand),
            f"{one.disk:.3f}",
            str(one.dated or "undated"),
            f"{' and '.join(one.sources)}{undated}",
        )
    for region in unpriced:
        shown.add_row(region, *[""] * 5, UNKNOWN)
    return shown


def _estimates_table(result: EstimateResult) -> Table:
    shown = table("region", ">$/h on-demand", ">$/h spot", ">run on-demand", ">run on spot", ">saving")
    for one in result.estimates:
        shown.add_row(
            one.quote.region,
            f"{one.quote.usd_per_hour(Provisioning.ON_DEMAND):.3f}",
            f"{one.quote.usd_per_hour(Provisioning.SPOT):.3f}",
            f"${one.on_demand_usd:.2f}",
            "" if one.spot_usd is None else f"${one.spot_usd:.2f}",
            "" if one.saving is None else _saving(one.saving),
        )
    for region in result.unpriced:
        shown.add_row(region, UNKNOWN)
    return shown


def _courses_table(result: EstimateResult) -> Table:
    shown = table("", ">preemptions", ">billed", ">submit to end", f">deadline in {hours(result.deadline)}")
    for name, course in ((Provisioning.ON_DEMAND, result.demand), (Provisioning.SPOT, result.spot)):
        if course:
            spare = result.deadline - course.total
            slack = (
                Text(f"{hours(spare)} of slack")
                if spare >= timedelta()
                else Text(f"{hours(-spare)} late", style="bold red")
            )
            shown.add_row(name, f"{course.preemptions:.1f}", hours(course.billed), hours(course.total), slack)
        else:
            shown.add_row(name, "", "", "never", "no progress between preemptions")
    return shown


def _late(result: EstimateResult) -> Iterator[RenderableType]:
    """Say what follows if spot alone, or everything, would be late."""
    if result.demand.total > result.deadline:
        late = f"on-demand is late by {hours(result.demand.total - result.deadline)}"
        yield from ("", Text(f"{late}: raise policy.deadline_hours, or reduce the work", style="bold red"))
    elif result.spot and result.spot.total <= result.deadline:
        return
    elif result.strategy is Strategy.SPOT:
        yield from ("", Text("policy.strategy is spot, which promises no deadline", style="bold red"))
    elif result.strategy is Strategy.HYBRID:
        yield from ("", Text("policy.strategy is hybrid: on-demand meets the deadline, at its price"))


def _saving(share: float) -> Text:
    return Text(f"{share:.0%}") if share >= 0 else Text(f"LOSS {-share:.0%}", style="bold red")


def _assumptions_table(assumed: Assumptions) -> Table:
    mtbf = "16 H100 Spot VMs in October 2025, or --mtbf-hours" if assumed.mtbf == MTBF else "--mtbf-hours"
    interval = "half of checkpoint-interval, or of max_checkpoint_interval_minutes"
    shown = table("assumed", ">", "from")
    shown.add_row("time between preemptions", hours(assumed.mtbf), mtbf)
    shown.add_row("detection delay", hours(assumed.detection_delay), "half of policy.reconcile_interval_minutes")
    shown.add_row("lost work", hours(assumed.lost_work), interval)
    shown.add_row("start", hours(assumed.start), "policy.expected_start_minutes")
    shown.add_row("billed part of it", hours(assumed.restore), "measured restores take 2 to 6 minutes")
    shown.add_row("capacity", "always", "spot forecast replays measured capacity")
    return shown


def _warned(warning: str | None) -> list[RenderableType]:
    return ["", Text(f"warning: {warning}", style="yellow")] if warning else []


def _quote_values(quote: Quote) -> dict[str, Any]:
    return {
        "region": quote.region,
        "usd_per_hour": {kind: quote.usd_per_hour(kind) for kind in Provisioning},
        "of_it_disk": quote.disk,
        "dated": quote.dated.isoformat() if quote.dated else None,
        "undated": quote.undated,
        "from": quote.sources,
    }


def _estimate_values(result: EstimateResult) -> dict[str, Any]:
    return {
        "machine": result.machine,
        "work_hours": result.work,
        "deadline_hours": result.deadline,
        "strategy": result.strategy,
        "estimates": [
            {
                **_quote_values(one.quote),
                "on_demand_usd": one.on_demand_usd,
                "spot_usd": one.spot_usd,
                "saving": one.saving,
            }
            for one in result.estimates
        ],
        "unpriced": result.unpriced,
        "courses": {Provisioning.ON_DEMAND: _course(result.demand), Provisioning.SPOT: _course(result.spot)},
        "assumed": {f"{name}_hours": value for name, value in asdict(result.assumed).items()},
        "warning": result.warning,
    }


def _course(course: Course | None) -> dict[str, Any] | None:
    if course is None:
        return None
    return {"preemptions": course.preemptions, "billed_hours": course.billed, "total_hours": course.total}
