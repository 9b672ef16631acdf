"""Sum up the cost of every replay, and check each promise."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.policy_replays import Cost, Policy
from benchmarks.policy_settings import GPUS, SETTINGS, SLOW_SETTINGS, TOGETHER, Setting
from benchmarks.policy_windows import Part

TO_SPOT_WINDOW = {1: 0.91, 8: 0.89}
"""The most that ours may cost to what the fixed Spot window costs, by the number of GPUs."""
TO_UNIFORM = {1: 0.97, 8: 0.93}
OVER_GREEDY = 0.01
"""The most that ours may cost more in any region, of on-demand only."""
COST_ABOUT = {1: 0.346, 8: 0.468}
TOGETHER_ABOUT = {1: 0.20, 8: 0.22}
ABOUT = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One policy in some settings, over all windows of some part and all amounts of work."""

    ratio: float
    """Mean cost to on-demand only."""
    runs: int
    missed: int
    preemptions: float
    """A run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """One promise and what was measured."""

    text: str
    measured: str
    holds: bool


Of = Callable[[Policy, Collection[Setting], Part | None], Figures]
"""The figures of a policy in these settings, over the windows of a part, or all."""


def summed(costs: Sequence[Cost]) -> Of:
    """Every line has the same windows, so the mean over settings is that over all their runs."""
    by_place: dict[tuple[Policy, Setting, Part], list[Cost]] = {}
    for cost in costs:
        by_place.setdefault((cost.policy, cost.job.setting, cost.job.window.part), []).append(cost)

    def of(policy: Policy, settings: Collection[Setting], part: Part | None) -> Figures:
        parts = [part] if part else [*Part]
        found = [cost for setting in settings for part in parts for cost in by_place[policy, setting, part]]
        return Figures(
            ratio=fmean(cost.ratio for cost in found),
            runs=len(found),
            missed=sum(cost.missed for cost in found),
            preemptions=fmean(cost.preemptions for cost in found),
        )

    return of


def one_by_one(gpus: int) -> list[Setting]:
    """The regions, each alone."""
    return [it for it in SETTINGS if it.gpus == gpus and it.regions != TOGETHER]


def together(gpus: int) -> list[Setting]:
    return [it for it in SETTINGS if it.gpus == gpus and it.regions == TOGETHER]


def promises(of: Of, *, all_of_them: bool) -> list[Promise]:
    """Those of docs/policy.md, on all windows and on those held back, or only those that few windows can break."""
    kept = [
        _no_miss("no deadline missed", of, SETTINGS),
        _no_miss(
            "no deadline missed with on-demand starts of up to an hour, and the setting that says so", of, SLOW_SETTINGS
        ),
    ]
    if not all_of_them:
        return kept
    for gpus in GPUS:
        kept += [
            _about(f"one region, {machines(gpus)}", of, one_by_one(gpus), COST_ABOUT[gpus]),
            _about(f"two regions, {machines(gpus)}", of, together(gpus), TOGETHER_ABOUT[gpus]),
            _to(Policy.SPOT_WINDOW, of, gpus, TO_SPOT_WINDOW[gpus]),
            _to(Policy.UNIFORM, of, gpus, TO_UNIFORM[gpus]),
        ]
    return [*kept, _over_greedy(of)]


def _no_miss(text: str, of: Of, settings: Collection[Setting]) -> Promise:
    found = [of(policy, settings, None) for policy in (Policy.OURS, Policy.ALONE)]
    missed, runs = sum(it.missed for it in found), sum(it.runs for it in found)
    return Promise(text=text, measured=f"{missed} of {runs}", holds=missed == 0)


def _about(what: str, of: Of, settings: Collection[Setting], promised: float) -> Promise:
    ratio, held_back = (of(Policy.OURS, settings, part).ratio for part in (None, Part.HELD_BACK))
    return Promise(
        text=f"{what}: about {promised:.3f} of on-demand only",
        measured=_both(ratio, held_back),
        holds=ratio <= promised + ABOUT,
    )


def _to(other: Policy, of: Of, gpus: int, most: float) -> Promise:
    settings = one_by_one(gpus)
    ratio, held_back = (
        of(Policy.OURS, settings, part).ratio / of(other, settings, part).ratio for part in (None, Part.HELD_BACK)
    )
    return Promise(
        text=f"one region, {machines(gpus)}: at most {most:.2f} of {other}",
        measured=_both(ratio, held_back),
        holds=ratio <= most,
    )


def _over_greedy(of: Of) -> Promise:
    over = {
        (setting, part): of(Policy.OURS, [setting], part).ratio - of(Policy.GREEDY, [setting], part).ratio
        for setting in SETTINGS
        for part in (None, Part.HELD_BACK)
    }
    worst = max(over, key=lambda place: over[place])
    return Promise(
        text=f"at most {100 * OVER_GREEDY:.0f} point above greedy in any region",
        measured=f"{100 * over[worst]:+.1f} at most, {name(worst[0])}, {worst[1] or 'all'} windows",
        holds=over[worst] <= OVER_GREEDY,
    )


def _both(ratio: float, held_back: float) -> str:
    return f"{ratio:.3f}, held back {held_back:.3f}"


def place(setting: Setting) -> str:
    """`us-central1 + us-east4`."""
    return " + ".join(sorted(setting.regions))


def name(setting: Setting) -> str:
    """With the machines."""
    return f"{place(setting)}, {machines(setting.gpus)}"


def machines(gpus: int) -> str:
    """`1 GPU`, `8 GPUs together`: together or not at all."""
    return "1 GPU" if gpus == 1 else f"{gpus} GPUs together"
