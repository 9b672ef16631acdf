"""Word a forecast: its headline, its odds and its assumptions, for the terminal and the chart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text

from spot.core.format import counted, hours
from spot.core.run import Run
from spot.simulation.capacity import Supply
from spot.simulation.forecast import Baseline, Forecast, ReplayResult, ReplayResults
from spot.simulation.startup_times import StartupRanges

FIGURES: dict[str, Callable[[ReplayResult], float]] = {
    "preemptions": lambda replay: replay.preemptions,
    "attempts": lambda replay: replay.asked,
    "spot_hours": lambda replay: replay.spot_hours,
    "on_demand_hours": lambda replay: replay.on_demand_hours,
    "hours_without_machine": lambda replay: replay.waited_hours,
}
"""The figures of a replay besides cost and end, by their names in JSON."""
LEAST = 0.001
"""Shares below this are not distinguished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastResult:
    """Hold a forecast and everything that it was made of."""

    run: Run
    """The run of the settings; a sweep varies it."""
    supply: Supply
    sweep: str | None
    """What varies from case to case: deadline or regions."""
    replays: int
    seed: int
    forecasts: Sequence[Forecast]
    notes: Sequence[str]

    def is_own(self, found: Forecast) -> bool:
        """Return whether a case of a sweep is the run of the settings."""
        spec, own = found.case.run.spec, self.run.spec
        return (spec.policy.regions, spec.deadline) == (own.policy.regions, own.deadline)


def money(usd: float) -> str:
    """Format dollars: `$12.34`, `$1,234`."""
    return f"${usd:,.2f}" if usd < 1000 else f"${usd:,.0f}"


def percent(share: float) -> str:
    """Format a share: `< 0.1%`, `5.3%`, `21%`."""
    if 0 < share < LEAST:
        return f"< {LEAST:.1%}"
    return f"{share:.1%}" if 0 < abs(share) < 0.1 else f"{share:.0%}"


def headline(found: Forecast) -> Text:
    """Return the expected cost, the saving or LOSS, and the odds to be late."""
    ours = found.ours
    number = len(ours.replays)
    text = Text(f"Expect {money(ours.mean_usd)}", style="bold")
    if ours.unfinished:
        text.append(f" and no model in {ours.unfinished} of {number} replays", style="bold red")
    else:
        text.append(": ").append_text(_saving(1 - ours.mean_usd / found.on_demand.mean_usd))
        text.append(_against_the_window(found))
    late = f"{ours.missed} of {number} late ({chance(ours)}, {counted(ours.independent, 'independent window')})."
    return text.append(". ").append(late, style="bold red" if ours.missed else "")


def _against_the_window(found: Forecast) -> str:
    """Compare with the fixed window; say nothing if that policy may end without a model."""
    if found.spot_window.unfinished:
        return ""
    less = 1 - found.ours.mean_usd / found.spot_window.mean_usd
    if abs(less) < LEAST:
        return f", as much as the {Baseline.SPOT_WINDOW}"
    return f", {percent(abs(less))} {'less' if less > 0 else 'more'} than the {Baseline.SPOT_WINDOW}"


def saved(found: Forecast) -> Text:
    """Return the saving of a case against on-demand only, or its LOSS."""
    if found.saving is None:
        return Text(f"no model: {found.ours.unfinished}", style="bold red")
    if found.saving > -LEAST:
        return Text(percent(max(found.saving, 0.0)), style="green")
    return Text(f"LOSS {percent(-found.saving)}", style="bold red")


def _saving(saving: float) -> Text:
    if abs(saving) < LEAST:
        return Text("as much as on-demand only")
    if saving > 0:
        return Text(f"{percent(saving)} less than on-demand only", style="bold green")
    return Text(f"a LOSS of {percent(-saving)} against on-demand only", style="bold red")


def chance(samples: ReplayResults) -> str:
    """Return the share of late replays, or the bound that zero of them allow."""
    if samples.missed_at_most is not None:
        return f"95 % upper bound {percent(max(samples.missed_at_most, LEAST))}"
    return percent(samples.missed / len(samples.replays))


def rests_on(result: ForecastResult) -> list[str]:
    """Return the assumptions of a forecast."""
    policy, starts = result.run.spec.policy, StartupRanges.of(result.run.spec.policy)
    number = min(one.ours.independent for one in result.forecasts)
    windows = (
        f"{counted(result.replays, 'random window')} of the capacity (seed {result.seed}), the same for every policy"
        f" and case; {number} of them do not overlap."
    )
    model = (
        f"Provisioning takes {_range(starts.spot)} on spot and {_range(starts.on_demand)} on demand"
        f" (policy.worst_start_minutes), not billed. A restore takes {_range(starts.restore)}."
        f" A preemption costs up to {hours(policy.max_checkpoint_interval)} of work."
        f" Reconcile interval {hours(policy.reconcile_interval)}. The work takes exactly the stated hours, as if a"
        " succeeded run had measured it. Without such a run it counts double until a checkpoint."
    )
    return [*(["* the run of the settings"] if result.sweep else []), windows, model]


def _range(minutes: tuple[int, int]) -> str:
    return f"{minutes[0]}-{minutes[1]} min"
