"""Run `spot forecast`: replay a run over capacity, and show its cost, its end and its odds to be late."""

import logging
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from spot.cli import console, forecast_tables
from spot.cli.forecast_tables import ForecastResult
from spot.cli.runs import overrides
from spot.config.load import load
from spot.config.settings import Settings
from spot.core.errors import Exit
from spot.core.format import counted, named
from spot.core.run import Run
from spot.policy.calibrate import calibrated, spot_start
from spot.pricing.quotes import age_warning, described, quotes
from spot.simulation import forecast as simulated
from spot.simulation.capacity import Supply, assumed, from_file, measured
from spot.simulation.forecast import Baseline, Case, Forecast, ReplayResults, compare, quantile
from spot.simulation.startup_times import StartupRanges, StartupTimes
from spot.simulation.traces import Trace, read, shipped, windows
from spot.storage.records.facts import LiveFacts
from spot.supervisor import preflight
from spot.supervisor.submit import SubmitError, overridden, plan, run_of
from spot.supervisor.training_status import live_facts

REPLAYS, REPLAYS_OF_SWEEP = 1000, 300
_MINUTE = timedelta(minutes=1)
_KEYS = {Baseline.OURS: "policy", Baseline.ON_DEMAND: "on_demand_only", Baseline.SPOT_WINDOW: "fixed_spot_window"}

_log = logging.getLogger(__name__)


def forecast(options: Namespace) -> int:
    settings = load(options.settings)
    result = _result(options, settings, datetime.now(UTC))
    if options.svg:
        picture = console.svg(forecast_tables.parts(result, forecast_tables.WIDE), forecast_tables.WIDE)
        console.save(options.svg, "--svg", picture)
    console.show(_values(result), forecast_tables.parts(result, console.columns()), options.json)
    return Exit.DONE


def _result(options: Namespace, settings: Settings, now: datetime) -> ForecastResult:
    known = live_facts(settings.root)
    run = _run(settings, options, now, known)
    starts = StartupRanges.of(run.spec.policy, spot_start(known))
    asked = run.spec.policy.regions
    if options.sweep == "regions" and len(asked) == 1:
        raise SubmitError("--sweep regions: there is one region only, give more with --regions")
    age = age_warning(quotes(settings.machine(), asked, settings.price_table()), now)
    notes = [line for line in (preflight.budget_note(run), age) if line]
    if run.spec.policy.flex_start:
        notes.append("FLEX_START is left out: its start times were never measured")
        run = run.with_policy(flex_start=False)
    supply = _supply(options, run)
    number = options.replays or (REPLAYS_OF_SWEEP if options.sweep else REPLAYS)
    return ForecastResult(
        run=run,
        supply=supply,
        starts=starts,
        sweep=options.sweep,
        replays=number,
        seed=options.seed,
        forecasts=_replayed(_cases(options.sweep, run, supply), supply, starts, number, options.seed),
        notes=notes,
    )


def _replayed(cases: Sequence[Case], supply: Supply, starts: StartupRanges, number: int, seed: int) -> list[Forecast]:
    """Replay every case in windows that are long enough for the longest."""
    longest = max(case.run.spec.deadline - case.run.submitted_at for case in cases)
    found = windows(supply.trace, supply.trace.regions, supply.machines, -(-longest // _MINUTE))
    start_times = StartupTimes.drawn(starts, supply.trace.regions, seed)
    _log.info("%s of %s", counted(number * len(cases) * len(Baseline), "replay"), counted(len(cases), "case"))
    return compare(cases, found, start_times, found.drawn(number, seed))


def _run(settings: Settings, options: Namespace, now: datetime, known: LiveFacts) -> Run:
    """Return the run that a submit would record now, without pins. Raises `SpotError` as a submit does."""
    settings = overridden(settings, overrides(options))
    run = run_of(settings, None, now, image=settings.cloud.image, arguments=settings.arguments())
    run = calibrated(run, known, settings.policy.model_fields_set)
    run = run.with_policy(work_is_measured=True)  # a replay states the work exactly
    if warnings := plan(run, force=True, save=settings.save).warnings:
        raise SubmitError(warnings[0])
    if without := run.spec.policy.unpriced:
        raise SubmitError(
            f"no price is known for {described(run.spec.machine)} in {', '.join(without)}: choose other --regions",
            fix="spot prices --refresh",
        )
    return run


def _supply(options: Namespace, run: Run) -> Supply:
    """Return the capacity to replay: measured, from a file, or generated. Raises `SpotError`."""
    machine, regions = run.spec.machine, run.spec.policy.regions
    if (options.mtbf_hours is None) != (options.outage_minutes is None):
        raise SubmitError("--mtbf-hours and --outage-minutes go together: time to a preemption, and time without spot")
    if options.mtbf_hours is None:
        if options.trace:
            return from_file(read(options.trace), machine, regions)
        return measured(shipped(), machine, regions)
    if options.trace:
        raise SubmitError("--trace and --mtbf-hours exclude each other: capacity is measured or generated")
    return assumed(
        regions,
        machine,
        between=timedelta(hours=options.mtbf_hours),
        outage=timedelta(minutes=options.outage_minutes),
        deadline=run.spec.deadline - run.submitted_at,
        seed=options.seed,
    )


def _cases(sweep: str | None, run: Run, supply: Supply) -> list[Case]:
    if sweep == "deadline":
        longest = max((end - begin for begin, end in supply.trace.known(supply.trace.regions)), default=0)
        return simulated.deadlines(run, longest * _MINUTE)
    if sweep == "regions":
        return simulated.regions(run)
    return [Case(label=", ".join(run.spec.policy.regions), run=run)]


def _values(result: ForecastResult) -> dict[str, Any]:
    """Return a forecast for JSON, with every replay."""
    run, supply = result.run, result.supply
    return {
        "machine": run.spec.machine,
        **named(run.spec.policy, "strategy", "regions", "work"),
        "deadline_hours": run.spec.deadline - run.submitted_at,
        "capacity": supply.origin,
        "notes": [*supply.notes, *result.notes],
        **named(result, "sweep", "replays", "seed"),
        "cases": [_case(supply.trace, found) for found in result.forecasts],
    }


def _case(trace: Trace, found: Forecast) -> dict[str, Any]:
    policy = found.case.run.spec.policy
    return {
        **named(found.case, "label", "deadline_hours"),
        "regions": policy.regions,
        "usd_per_hour": {region: policy.usd_per_hour[region] for region in policy.regions},
        "saving": found.saving,
        **{key: _samples(trace, found.of(baseline)) for baseline, key in _KEYS.items()},
    }


def _samples(trace: Trace, one: ReplayResults) -> dict[str, Any]:
    return {
        "usd": {"mean": one.mean_usd, **_quantiles(one.usd)},
        "hours": _quantiles(one.ends),
        **named(one, "late", "late_upper_bound", "independent", "unfinished"),
        "preemptions": one.mean_preemptions,
        "replays": [
            {
                "from": trace.start + timedelta(minutes=replay.start),
                **named(replay, "usd", "hours", "late", "preemptions"),
            }
            for replay in one.replays
        ],
    }


def _quantiles(ordered: tuple[float, ...]) -> dict[str, float | None]:
    shares = {"p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}
    return {name: quantile(ordered, share) for name, share in shares.items()}
