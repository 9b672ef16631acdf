"""Run the verbs on prices: what an hour costs, and what a run will cost."""

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
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
from spot.core.errors import Exit, SpotError
from spot.core.format import hours, named
from spot.core.run import Machine, Provisioning, Strategy
from spot.core.tables import table
from spot.google.machine_types import training_regions
from spot.pricing.estimate import MTBF, Assumptions, Course, Estimate, assumptions, estimates, mtbf, on_demand, on_spot
from spot.pricing.quotes import FEE, Quote, age_warning, described, quotes
from spot.pricing.refresh import fetch
from spot.pricing.table import FILE, save
from spot.supervisor import preflight
from spot.supervisor.submit import SubmitError, overridden, run_of

Courses = Mapping[Provisioning, Course | None]
"""None for a run that never ends."""
UNKNOWN = "no price is known"
REFRESHED = (
    "{prices} prices in {regions} regions, from {skus_used} of {skus_read} SKUs, {skus_unknown} in an unknown form"
)


def prices(options: Namespace) -> int:
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
    settings, now = overridden(load(options.settings), overrides(options)), datetime.now(UTC)
    run = run_of(settings, None, now, image=settings.cloud.image, arguments=settings.arguments())
    if error := preflight.machine_error(run):
        raise SubmitError(error)
    machine, policy = run.spec.machine, run.spec.policy
    regions, prices = policy.regions, settings.price_table()
    trains = training_regions(machine.accelerator)
    others = [region for region in prices.regions(machine.type) if region in trains or not trains]
    found = quotes(machine, dict.fromkeys((*regions, *others)), prices)
    ours = [one for one in found if one.region in regions]
    if not ours:
        raise SpotError(f"{UNKNOWN} for {described(machine)} in {', '.join(regions)}", fix="spot prices --all")
    each = timedelta(hours=options.mtbf_hours) if options.mtbf_hours else MTBF
    assumed = assumptions(policy, run.spec.flags, mtbf(machine, each))
    found_in = estimates(policy.work, found, assumed)
    deadline = timedelta(hours=settings.policy.deadline_hours)
    courses = {
        Provisioning.ON_DEMAND: on_demand(policy.work, assumed),
        Provisioning.SPOT: on_spot(policy.work, assumed),
    }
    unpriced, warning = _unpriced(ours, regions), age_warning(ours, now)
    document = {
        "machine": machine,
        **named(policy, "work", "strategy"),
        "deadline_hours": deadline,
        "estimates": [
            {
                **_quote_values(one.quote),
                "configured": one.quote.region in regions,
                **named(one, "on_demand_usd", "spot_usd", "saving"),
            }
            for one in found_in
        ],
        "unpriced": unpriced,
        "courses": {kind: one and named(one, "preemptions", "billed", "total") for kind, one in courses.items()},
        "assumed": named(assumed, *(field.name for field in fields(assumed))),
        "warning": warning,
    }
    parts: list[RenderableType] = [
        Text(f"{hours(policy.work)} of work on {described(machine)}, a boot disk of {machine.boot_disk_gb} GB"),
        *("", _estimates_table(found_in, regions, unpriced), *_cheaper(found_in, regions, policy.strategy)),
        *("", _courses_table(courses, deadline)),
        *_late(courses, deadline, policy.strategy),
        *("", _assumptions_table(assumed, machine), *_warned(warning)),
    ]
    console.show(document, parts, options.json)
    return Exit.DONE


def _refresh(settings: Settings, now: datetime) -> dict[str, int]:
    """Save today's prices over the project's own, and return what was found."""
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


def _estimates_table(found: Sequence[Estimate], regions: Sequence[str], unpriced: Sequence[str]) -> Table:
    heads = ("region", ">$/h on-demand", ">$/h spot", ">run on-demand", ">run on spot", ">saving", "configured")
    shown = table(*heads, whole=["region"])
    for one in found:
        shown.add_row(
            one.quote.region,
            f"{one.quote.usd_per_hour[Provisioning.ON_DEMAND]:.3f}",
            f"{one.quote.usd_per_hour[Provisioning.SPOT]:.3f}",
            f"${one.on_demand_usd:.2f}",
            "" if one.spot_usd is None else f"${one.spot_usd:.2f}",
            "" if one.saving is None else _saving(one.saving),
            "yes" if one.quote.region in regions else "",
        )
    for region in unpriced:
        shown.add_row(region, UNKNOWN, *[""] * 4, "yes")
    return shown


def _cheaper(found: Sequence[Estimate], regions: Sequence[str], strategy: Strategy) -> Iterator[RenderableType]:
    """Say what the cheapest region would save, if it is not among the configured ones."""

    def cost(one: Estimate) -> float:
        return one.on_demand_usd if strategy is Strategy.ON_DEMAND or one.spot_usd is None else one.spot_usd

    best, ours = min(found, key=cost), min((one for one in found if one.quote.region in regions), key=cost)
    if (saved := cost(ours) - cost(best)) > 0:
        yield ""
        yield Text(
            f"Add {best.quote.region} to cloud.regions: a run would cost ${saved:.2f} less than in {ours.quote.region}"
            f" ({saved / cost(ours):.0%}). Reading a bucket in another region is billed."
        )


def _courses_table(courses: Courses, deadline: timedelta) -> Table:
    shown = table("", ">preemptions", ">billed", ">submit to end", f">deadline in {hours(deadline)}")
    for name, course in courses.items():
        if course:
            spare = deadline - course.total
            slack = Text(f"{hours(spare)} of slack")
            if spare < timedelta():
                slack = Text(f"{hours(-spare)} late", style="bold red")
            shown.add_row(name, f"{course.preemptions:.1f}", hours(course.billed), hours(course.total), slack)
        else:
            shown.add_row(name, "", "", "never", "no progress between preemptions")
    return shown


def _late(courses: Courses, deadline: timedelta, strategy: Strategy) -> Iterator[RenderableType]:
    """Say what follows if spot alone, or everything, would be late."""
    late = {kind: course.total - deadline if course else timedelta.max for kind, course in courses.items()}
    if (by := late[Provisioning.ON_DEMAND]) > timedelta():
        text = f"on-demand is late by {hours(by)}: raise policy.deadline_hours, or reduce the work"
        yield from ("", Text(text, style="bold red"))
    elif late[Provisioning.SPOT] <= timedelta():
        return
    elif strategy is Strategy.SPOT:
        yield from ("", Text("policy.strategy is spot, which promises no deadline", style="bold red"))
    elif strategy is Strategy.HYBRID:
        yield from ("", Text("policy.strategy is hybrid: on-demand meets the deadline, at its price"))


def _saving(share: float) -> Text:
    return Text(f"{share:.0%}") if share >= 0 else Text(f"LOSS {-share:.0%}", style="bold red")


def _assumptions_table(assumed: Assumptions, machine: Machine) -> Table:
    measured = "16 H100 Spot VMs in October 2025, or --mtbf-hours"
    source = measured if assumed.mtbf == mtbf(machine) else "--mtbf-hours"
    source += f", divided by {machine.count} machines" if machine.count > 1 else ""
    interval = "half of checkpoint-interval, or of max_checkpoint_interval_minutes"
    shown = table("assumed", ">", "from")
    shown.add_row("time between preemptions", hours(assumed.mtbf), source)
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
        **named(quote, "region", "undated"),
        "usd_per_hour": quote.usd_per_hour,
        "of_it_disk": quote.disk,
        "dated": quote.dated.isoformat() if quote.dated else None,
        "from": quote.sources,
    }
