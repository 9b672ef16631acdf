"""Run the verbs on prices: what an hour costs, and what a run will cost."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from spot.cli import console
from spot.cli.runs import overrides
from spot.config.load import load
from spot.core.errors import Exit, SpotError
from spot.core.format import hours, named, percent
from spot.core.run import Machine, Provisioning, Strategy
from spot.core.tables import table
from spot.google.machine_types import training_regions
from spot.pricing.estimate import MTBF, RESTORE, Estimate, billed_on_spot, estimates, lost_work, mtbf
from spot.pricing.quotes import FEE, Quote, age_warning, described, quotes
from spot.pricing.refresh import fetch
from spot.pricing.table import FILE, save
from spot.supervisor import preflight
from spot.supervisor.submit import SubmitError, overridden, run_of

UNKNOWN = "no price is known"


def prices(options: Namespace) -> int:
    settings, now = load(options.settings), datetime.now(UTC)
    if options.refresh:
        save(fetch(now.date()), settings.folder or Path())
    machine, regions = settings.machine(), settings.cloud.regions
    found = quotes(machine, regions, settings.price_table())
    unpriced, warning = _unpriced(found, regions), age_warning(found, now)
    document = {
        "machine": machine,
        "prices": [named(one, "region", "usd_per_hour", "disk", "dated") for one in found],
        "unpriced": unpriced,
        "warning": warning,
    }
    note = (
        f"The boot disk of {machine.boot_disk_gb} GB is charged on top."
        f" Prices include Vertex AI's fee: {percent(FEE)} of the on-demand price, on spot too."
    )
    refreshed = [f"{FILE} has the prices of today", ""] if options.refresh else []
    parts: list[RenderableType] = [
        *(f"$ per hour on Vertex AI: {described(machine)}", "", *refreshed),
        *(_prices_table(found, unpriced), "", Text(note, style="dim"), *_warned(warning)),
    ]
    console.show(document, parts, options.json)
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
    known = quotes(machine, dict.fromkeys((*regions, *others)), prices)
    each = timedelta(hours=options.mtbf_hours) if options.mtbf_hours else MTBF
    between, lost = mtbf(machine, each), lost_work(policy, run.spec.flags)
    billed = billed_on_spot(policy.work, between, lost)
    found = estimates(policy.work, known, billed)
    ours = [one for one in found if one.quote.region in regions]
    if not ours:
        raise SpotError(f"{UNKNOWN} for {described(machine)} in {', '.join(regions)}", fix="spot prices --refresh")
    quoted = [one.quote for one in ours]
    unpriced, warning = _unpriced(quoted, regions), age_warning(quoted, now)
    document = {
        "machine": machine,
        **named(policy, "work", "strategy"),
        "estimates": [
            {
                **named(one.quote, "region", "usd_per_hour", "dated"),
                "configured": one.quote.region in regions,
                **named(one, "on_demand_usd", "spot_usd", "saving"),
            }
            for one in found
        ],
        "unpriced": unpriced,
        "preemptions": billed and billed / between,
        "assumed": {"mtbf_hours": between, "lost_work_hours": lost},
        "warning": warning,
    }
    expected = "On spot the run never ends: no progress between preemptions."
    if billed:
        expected = f"On spot, {billed / between:.1f} preemptions are expected, and {hours(billed)} are billed."
    parts: list[RenderableType] = [
        Text(f"{hours(policy.work)} of work on {described(machine)}, a boot disk of {machine.boot_disk_gb} GB"),
        *("", _estimates_table(found, regions, unpriced), *_cheaper(found, ours, policy.strategy)),
        *("", expected, "", _assumptions_table(between, lost, machine), *_warned(warning)),
    ]
    console.show(document, parts, options.json)
    return Exit.DONE


def _unpriced(found: Sequence[Quote], regions: Sequence[str]) -> list[str]:
    known = {one.region for one in found}
    return [region for region in regions if region not in known]


def _prices_table(found: Sequence[Quote], unpriced: Sequence[str]) -> Table:
    shown = table("region", ">on-demand", ">spot", ">saving", ">disk", "dated")
    for one in found:
        shown.add_row(
            one.region,
            f"{one.on_demand:.3f}",
            f"{one.spot:.3f}",
            _saving(1 - one.spot / one.on_demand),
            f"{one.disk:.3f}",
            str(one.dated or "undated"),
        )
    for region in unpriced:
        shown.add_row(region, UNKNOWN)
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


def _cheaper(found: Sequence[Estimate], configured: Sequence[Estimate], strategy: Strategy) -> Iterator[RenderableType]:
    """Say what the cheapest region would save, if it is not among the configured ones."""

    def cost(one: Estimate) -> float:
        return one.on_demand_usd if strategy is Strategy.ON_DEMAND or one.spot_usd is None else one.spot_usd

    best, ours = min(found, key=cost), min(configured, key=cost)
    if (saved := cost(ours) - cost(best)) > 0:
        yield ""
        yield Text(
            f"Add {best.quote.region} to cloud.regions: a run would cost ${saved:.2f} less than in {ours.quote.region}"
            f" ({percent(saved / cost(ours))}). Reading a bucket in another region is billed."
        )


def _saving(share: float) -> Text:
    return Text(percent(share)) if share >= 0 else Text(f"LOSS {percent(-share)}", style="bold red")


def _assumptions_table(between: timedelta, lost: timedelta, machine: Machine) -> Table:
    measured = "16 H100 Spot VMs in October 2025, or --mtbf-hours"
    source = measured if between == mtbf(machine) else "--mtbf-hours"
    source += f", divided by {machine.count} machines" if machine.count > 1 else ""
    shown = table("assumed", ">", "from")
    shown.add_row("time between preemptions", hours(between), source)
    shown.add_row("lost work", hours(lost), "half of the interval of checkpoints")
    shown.add_row("restore", hours(RESTORE), "measured restores take 2 to 6 minutes")
    shown.add_row("capacity", "always", "spot forecast replays measured capacity")
    return shown


def _warned(warning: str | None) -> list[RenderableType]:
    return ["", Text(f"warning: {warning}", style="yellow")] if warning else []
