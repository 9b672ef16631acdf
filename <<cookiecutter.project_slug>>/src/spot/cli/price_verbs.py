"""The verbs about money beforehand: what an hour costs, and what a run will."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from spot.cli.price_views import Estimated, Priced, show_estimates, show_prices
from spot.config.settings import Settings, load
from spot.core.errors import Exit
from spot.pricing.estimate import MTBF, assumptions, estimates
from spot.pricing.quotes import Quote, age_warning, described, quotes
from spot.pricing.refresh import Found, ask
from spot.pricing.table import PriceError, merged, save
from spot.supervisor.submit import regions_of


def prices(options: Namespace) -> int:
    settings, now = load(options.settings), datetime.now(UTC)
    refreshed = _refresh(settings, now) if options.refresh else None
    table, machine = settings.price_table(), settings.machine()
    regions = table.regions(machine.type) if options.all else settings.cloud.regions
    found = quotes(machine, regions, table)
    priced = Priced(
        machine=machine,
        quotes=found,
        without=[] if options.all else _without(found, regions),
        refreshed=refreshed,
        warning=age_warning(found, now),
    )
    show_prices(priced, as_json=options.json)
    return Exit.DONE


def estimate(options: Namespace) -> int:
    settings, now = load(options.settings), datetime.now(UTC)
    machine, policy = settings.machine(), settings.policy
    regions = settings.cloud.regions if options.regions is None else regions_of(options.regions)
    found = quotes(machine, regions, settings.price_table())
    if not found:
        raise PriceError(
            f"no price is known for {described(machine)} in {', '.join(regions)}: spot prices --all lists where one is"
        )
    mtbf = timedelta(hours=options.mtbf_hours) if options.mtbf_hours else MTBF
    work = timedelta(hours=options.work_hours or policy.work_hours)
    assumed = assumptions(settings.policy_config(), settings.arguments(), mtbf)
    estimated = Estimated(
        machine=machine,
        work=work,
        deadline=timedelta(hours=policy.deadline_hours),
        strategy=policy.strategy,
        assumed=assumed,
        estimates=estimates(work, found, assumed),
        without=_without(found, regions),
        warning=age_warning(found, now),
    )
    show_estimates(estimated, as_json=options.json)
    return Exit.DONE


def _refresh(settings: Settings, now: datetime) -> Found:
    """Prices of today over those of the project that the catalogue does not have."""
    folder = settings.folder or Path()
    found = ask(now.date())
    save(merged(folder, found.rates), folder)
    return found


def _without(found: Sequence[Quote], regions: Sequence[str]) -> list[str]:
    known = {one.region for one in found}
    return [region for region in regions if region not in known]
