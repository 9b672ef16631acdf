"""`spot forecast`: what a run will cost, when it will be done, and how likely it is late."""

from __future__ import annotations

import contextlib
import logging
import sys
from argparse import Namespace
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from spot.cli import console, forecast_views
from spot.cli.forecast_values import document
from spot.cli.forecast_views import Shown
from spot.config.settings import Settings, load
from spot.core.errors import Exit
from spot.core.run import Run
from spot.pricing.quotes import age_warning, described, quotes
from spot.report.forecast_svg import svg
from spot.simulation import sweeps
from spot.simulation.capacity import Supply, assumed, from_file, measured, stand_ins
from spot.simulation.forecast import Baseline, Case, Forecast, starts_of
from spot.simulation.forecast_workers import forecasts
from spot.simulation.startup_times import drawn
from spot.simulation.traces import Trace, read, shipped
from spot.simulation.windows import windows
from spot.supervisor.preflight import budget_warnings
from spot.supervisor.submit import SubmitError, deadline_of, new_id, plan, terms_of

REPLAYS, REPLAYS_OF_SWEEP = 1000, 300
"""Unless it is said: of a run, and of each case of a sweep."""
_MINUTE = timedelta(minutes=1)

_log = logging.getLogger(__name__)


def forecast(options: Namespace) -> int:
    settings = load(options.settings)
    if options.svg:
        _must_be_writable(options.svg)
    shown = _shown(options, settings, datetime.now(UTC))
    if options.svg:
        _write(options.svg, svg(shown))
    if options.json:
        console.write_json(document(shown))
    else:
        forecast_views.show(shown)
    return Exit.DONE


def _shown(options: Namespace, settings: Settings, now: datetime) -> Shown:
    run = _run(settings, options, now)
    asked = run.spec.policy.regions
    trace = _trace(options)
    taken = stand_ins(trace, asked).values() if trace and options.trace is None else asked
    others = _others(settings, trace, {*asked, *taken}) if options.sweep == "regions" and len(asked) == 1 else ()
    if others:
        run = _with_terms(run, usd_per_hour=settings.policy_config(regions=(*asked, *others)).usd_per_hour)
    notes = [*budget_warnings(run), *_age(settings, asked, now)]
    if run.spec.policy.flex_start:
        notes.append("FLEX_START is left out: nobody has measured when it comes")
        run = _with_terms(run, flex_start=False)
    supply = _supply(options, trace, run, (*asked, *others))
    number = options.replays or (REPLAYS_OF_SWEEP if options.sweep else REPLAYS)
    return Shown(
        run=run,
        supply=supply,
        sweep=options.sweep,
        replays=number,
        seed=options.seed,
        forecasts=_replayed(_cases(options.sweep, run, supply, others), supply, number, options.seed),
        notes=notes,
    )


def _age(settings: Settings, regions: Sequence[str], now: datetime) -> list[str]:
    warning = age_warning(quotes(settings.machine(), regions, settings.price_table()), now)
    return [warning] if warning else []


def _replayed(cases: Sequence[Case], supply: Supply, number: int, seed: int) -> list[Forecast]:
    """Every case in windows that are long enough for each of them."""
    longest = max(case.run.spec.deadline - case.run.submitted_at for case in cases)
    found = windows(supply.trace, supply.trace.regions, supply.machines, -(-longest // _MINUTE))
    luck = drawn(starts_of(cases[0].run.spec.policy), supply.trace.regions, seed)
    with _progress(number * len(cases) * len(Baseline)) as done:
        return forecasts(cases, found, luck, found.drawn(number, seed), done)


def _run(settings: Settings, options: Namespace, now: datetime) -> Run:
    """The run that the settings would submit now, nothing of it pinned. Raises `SubmitError` as submit does."""
    policy = terms_of(settings, options)
    spec = settings.spec(
        image=settings.cloud.image,
        arguments=settings.arguments(),
        deadline=deadline_of(settings, options, now),
        policy=policy,
    )
    run = Run(id=new_id(now), spec=spec, submitted_at=now)
    if doubts := plan(run, force=True, save=settings.save).doubts:
        raise SubmitError(doubts[0])
    if without := policy.unpriced:
        raise SubmitError(
            f"no price is known for {described(spec.machine)} in {', '.join(without)}: choose other --regions,"
            " or ask for more prices with spot prices --refresh"
        )
    return run


def _with_terms(run: Run, **changes: Any) -> Run:
    return replace(run, spec=replace(run.spec, policy=replace(run.spec.policy, **changes)))


def _trace(options: Namespace) -> Trace | None:
    """None where capacity is to be generated. Raises `TraceError`."""
    if (options.mtbf_hours is None) != (options.outage_minutes is None):
        raise SubmitError("--mtbf-hours and --outage-minutes go together: how long spot stays, and how long it is away")
    if options.mtbf_hours is not None and options.trace is not None:
        raise SubmitError("--trace and --mtbf-hours: capacity is either measured or generated, choose one")
    if options.mtbf_hours is not None:
        return None
    return shipped() if options.trace is None else read(options.trace)


def _others(settings: Settings, trace: Trace | None, taken: Collection[str]) -> tuple[str, ...]:
    """Regions that were measured and have a price, to be tried beside the only one of the run.

    The one that stands for it is `taken`: it cannot be had twice.
    """
    measured_ones = trace.regions if trace else ()
    prices = settings.policy_config(regions=measured_ones).usd_per_hour
    others = tuple(region for region in measured_ones if region not in taken and region in prices)
    if not others:
        raise SubmitError("--sweep regions: there is nothing to choose from, name more than one with --regions")
    return others


def _supply(options: Namespace, trace: Trace | None, run: Run, regions: tuple[str, ...]) -> Supply:
    machine = run.spec.machine
    if trace is None:
        return assumed(
            regions,
            machine,
            between=timedelta(hours=options.mtbf_hours),
            outage=timedelta(minutes=options.outage_minutes),
            deadline=run.spec.deadline - run.submitted_at,
            seed=options.seed,
        )
    return measured(trace, machine, regions) if options.trace is None else from_file(trace, machine, regions)


def _cases(sweep: str | None, run: Run, supply: Supply, others: Sequence[str]) -> list[Case]:
    if sweep == "deadline":
        longest = max((end - begin for begin, end in supply.trace.known(supply.trace.regions)), default=0)
        return sweeps.deadlines(run, longest * _MINUTE)
    if sweep == "regions":
        return sweeps.regions(run, others)
    return [Case(label=", ".join(run.spec.policy.regions), run=run)]


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, a line elsewhere."""
    if not sys.stderr.isatty():
        _log.info("%d replays, %d for each policy", total, total // len(Baseline))
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("replays", total=total)
        yield lambda number: progress.advance(task, number)


def _must_be_writable(path: Path) -> None:
    """So that nobody waits for a picture that cannot be kept. Leaves everything as it was."""
    with _writing(path):
        was_there = path.exists()
        path.open("a").close()
        if not was_there:
            path.unlink()


def _write(path: Path, text: str) -> None:
    with _writing(path):
        path.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SubmitError(f"--svg {path}: it cannot be written ({error.strerror})") from None
