"""Run `spot forecast`: replay a run over capacity, and show its cost, its end and its odds to be late."""

import logging
from argparse import Namespace
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

from spot.cli import console, forecast_tables
from spot.cli.forecast_tables import FIGURES, ForecastResult
from spot.cli.runs import overrides
from spot.config.load import load
from spot.config.settings import Settings
from spot.core.errors import Exit
from spot.core.format import named
from spot.core.run import Run
from spot.pricing.quotes import age_warning, described, quotes
from spot.simulation.capacity import Supply, assumed, from_file, measured
from spot.simulation.forecast import Baseline, ReplayResults, compare, quantile
from spot.simulation.startup_times import StartupRanges, StartupTimes
from spot.simulation.traces import Trace, read
from spot.simulation.windows import windows
from spot.supervisor import preflight
from spot.supervisor.submit import SubmitError, overridden, plan, run_of

_MINUTE = timedelta(minutes=1)
_KEYS = {Baseline.OURS: "policy", Baseline.ON_DEMAND: "on_demand_only", Baseline.SPOT_WINDOW: "fixed_spot_window"}

_log = logging.getLogger(__name__)


def forecast(options: Namespace) -> int:
    """Show a forecast of the run that the settings and options describe."""
    settings = load(options.settings)
    result = _result(options, settings, datetime.now(UTC))
    if options.svg:
        console.save(options.svg, "--svg", console.svg(forecast_tables.parts(result), forecast_tables.WIDE))
    console.show(_values(result), forecast_tables.parts(result), options.json)
    return Exit.DONE


def _result(options: Namespace, settings: Settings, now: datetime) -> ForecastResult:
    run = _run(settings, options, now)
    regions = run.spec.policy.regions
    age = age_warning(quotes(settings.machine(), regions, settings.price_table()), now)
    notes = [line for line in (preflight.budget_note(run), age) if line]
    if run.spec.policy.flex_start:
        notes.append("FLEX_START is left out: its start times were never measured")
        run = _with_policy(run, flex_start=False)
    supply = _supply(options, run)
    found = windows(supply.trace, regions, supply.machines, -(-(run.spec.deadline - run.submitted_at) // _MINUTE))
    start_times = StartupTimes.drawn(StartupRanges.of(run.spec.policy), regions, options.seed)
    _log.info("%d replays of %d policies", options.replays, len(Baseline))
    return ForecastResult(
        supply=supply,
        replays=options.replays,
        seed=options.seed,
        forecast=compare(run, found, start_times, found.drawn(options.replays, options.seed)),
        notes=notes,
    )


def _run(settings: Settings, options: Namespace, now: datetime) -> Run:
    """Return the run that a submit would record now, without pins. Raises `SpotError` as a submit does."""
    settings = overridden(settings, overrides(options))
    run = run_of(settings, None, now, image=settings.cloud.image, arguments=settings.arguments())
    run = _with_policy(run, work_is_measured=True)  # a replay states the work exactly
    if warnings := plan(run, force=True, save=settings.save).warnings:
        raise SubmitError(warnings[0])
    if without := run.spec.policy.unpriced:
        raise SubmitError(
            f"no price is known for {described(run.spec.machine)} in {', '.join(without)}: choose other --regions",
            fix="spot prices --refresh",
        )
    return run


def _with_policy(run: Run, **changes: Any) -> Run:
    return replace(run, spec=replace(run.spec, policy=replace(run.spec.policy, **changes)))


def _supply(options: Namespace, run: Run) -> Supply:
    """Return the capacity to replay. Raises `SpotError`."""
    machine, regions = run.spec.machine, run.spec.policy.regions
    if (options.mtbf_hours is None) != (options.outage_minutes is None):
        raise SubmitError("--mtbf-hours and --outage-minutes go together: time to a preemption, and time without spot")
    if options.mtbf_hours is not None and options.trace is not None:
        raise SubmitError("--trace and --mtbf-hours exclude each other: capacity is measured or generated")
    if options.mtbf_hours is not None:
        return assumed(
            regions,
            machine,
            between=timedelta(hours=options.mtbf_hours),
            outage=timedelta(minutes=options.outage_minutes),
            deadline=run.spec.deadline - run.submitted_at,
            seed=options.seed,
        )
    return measured(machine, regions) if options.trace is None else from_file(read(options.trace), machine, regions)


def _values(result: ForecastResult) -> dict[str, Any]:
    """Return a forecast for JSON, with every replay."""
    forecast, supply = result.forecast, result.supply
    spec = forecast.run.spec
    return {
        "machine": spec.machine.type,
        **named(spec.machine, "accelerator", "accelerator_count"),
        **named(spec.policy, "strategy", "regions", "work", "usd_per_hour"),
        "deadline_hours": spec.deadline - forecast.run.submitted_at,
        "capacity": supply.origin,
        "notes": [*supply.notes, *result.notes],
        **named(result, "replays", "seed"),
        "saving": forecast.saving,
        **{key: _samples(supply.trace, forecast.of(baseline)) for baseline, key in _KEYS.items()},
    }


def _samples(trace: Trace, one: ReplayResults) -> dict[str, Any]:
    return {
        "usd": {"mean": one.mean_usd, **_quantiles(one.usd)},
        "hours": _quantiles(one.ends),
        **named(one, "late", "late_upper_bound", "independent", "unfinished"),
        **{name: one.mean(attrgetter(name)) for name in FIGURES},
        "replays": [
            {"from": trace.start + timedelta(minutes=replay.start), **named(replay, "usd", "hours", "late", *FIGURES)}
            for replay in one.replays
        ],
    }


def _quantiles(ordered: tuple[float, ...]) -> dict[str, float | None]:
    shares = {"p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}
    return {name: quantile(ordered, share) for name, share in shares.items()}
