"""`python -m benchmarks.promotion`: compare the gate's rule with simpler rules over years of weekly retrainings.

Each retraining has a true quality. A rule sees held-out samples of it and of the champion. Exits with 1 if a promise of
docs/promotion.md does not hold.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from spot.config.settings import GateSettings
from spot.core.evaluation import Evaluation, Measurement, Paired
from spot.promotion.rule import GateVerdict, decide

YEARS, QUICK_YEARS, WEEKS = 250, 40, 52
SAMPLES = (360, 2000, 10_000)
DIFFERING = 0.03
"""Share of the samples that two models of equal quality answer differently."""
START, POINT = 0.90, 0.01
GATE = GateSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Describe where the quality of retrained models comes from, and how that of a model in use decays."""

    name: str
    retrained: Callable[[np.random.Generator, float], float]
    """The quality of a new model, by that of the champion."""
    decay: float = 0.0
    """Loss of quality of every older model in a week."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Hold what a rule did: means over the years."""

    promotions: float
    harmful: float
    """Promotions of a model that is more than a point worse."""
    quality: float
    end: float
    """Quality after the year."""


def _steady(rng: np.random.Generator, _champion: float) -> float:
    is_broken = rng.random() < 0.1
    return START - abs(rng.normal(0.03, 0.01)) if is_broken else START + rng.normal(0, 0.004)


STEADY = World(name="steady, one in ten is broken by 3 points", retrained=_steady)
CREEP = World(
    name="creep: each retraining is a little worse than the champion",
    retrained=lambda rng, champion: champion + rng.normal(-0.002, 0.004),
)
DRIFT = World(
    name="drift: a model loses 0.1 points a week, a fresh one does not",
    retrained=lambda rng, _champion: START + rng.normal(0, 0.004),
    decay=0.001,
)
WORLDS = (STEADY, CREEP, DRIFT)


def _ours(seen: Measurement) -> bool:
    found = Evaluation(run="new", measurements=(seen,), champion="old")
    decision = decide(found, GATE, "old")
    return decision is not None and decision.verdict is GateVerdict.PROMOTE


OURS = "the gate: gain >= 0 and lower bound > -1 point"
ALWAYS, GAIN, BOUND, SURE = "always", "gain > 0", "lower bound > -1 point", "lower bound > 0"
RULES: Mapping[str, Callable[[Measurement], bool]] = {
    ALWAYS: lambda _: True,
    GAIN: lambda seen: (seen.gain or 0) > 0,
    BOUND: lambda seen: seen.bounds[0] > -POINT,
    OURS: _ours,
    SURE: lambda seen: seen.bounds[0] > 0,
}


def sampled(new: float, champion: float, samples: int, rng: np.random.Generator) -> Measurement:
    """Return the answers of both models to the same samples."""
    gain = new - champion
    shares = [DIFFERING / 2 + max(gain, 0), DIFFERING / 2 + max(-gain, 0)]
    better, worse, _ = map(int, rng.multinomial(samples, [*shares, 1 - sum(shares)]))
    paired = Paired(
        challenger=0.9 + better / samples, champion=0.9 + worse / samples, squares=float(better + worse), spread=1.0
    )
    return Measurement(
        metric="accuracy", higher_is_better=True, samples=samples, score=paired.challenger, paired=paired
    )


def simulated(world: World, rule: str, samples: int, years: int) -> Outcome:
    """Return what a rule does over the years, each with its own seed."""
    found = np.array([_year(world, RULES[rule], samples, np.random.default_rng(year)) for year in range(years)])
    promotions, harmful, quality, end = (float(one) for one in found.mean(axis=0))
    return Outcome(promotions=promotions, harmful=harmful, quality=quality, end=end)


def _year(
    world: World, rule: Callable[[Measurement], bool], samples: int, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    champion, promotions, harmful, total = START, 0, 0, 0.0
    for _ in range(WEEKS):
        champion -= world.decay
        new = world.retrained(rng, champion)
        if rule(sampled(new, champion, samples, rng)):
            promotions, harmful, champion = promotions + 1, harmful + (new - champion < -POINT), new
        total += champion
    return promotions, harmful, total / WEEKS, champion


def promises(of: Callable[[World, str, int], Outcome]) -> list[tuple[str, bool]]:
    """Return the promises of docs/promotion.md, and whether each holds."""
    few, many = SAMPLES[0], SAMPLES[-1]
    ours = {(world.name, samples): of(world, OURS, samples) for world in WORLDS for samples in SAMPLES}
    return [
        ("few samples: at most 0.3 harmful promotions a year", ours[STEADY.name, few].harmful <= 0.3),
        ("few samples: fewer than with gain > 0", ours[STEADY.name, few].harmful < of(STEADY, GAIN, few).harmful),
        ("creep: no loss of quality with many samples", ours[CREEP.name, many].end >= START),
        ("creep: the bound alone loses quality", of(CREEP, BOUND, many).end < START - 2 * POINT),
        (
            "drift: half a point at most below fresh models",
            all(ours[DRIFT.name, n].quality > START - POINT / 2 for n in SAMPLES),
        ),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.promotion", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_YEARS} years instead of {YEARS}")
    years = QUICK_YEARS if parser.parse_args().quick else YEARS
    found = {
        (world.name, samples, rule): simulated(world, rule, samples, years)
        for world in WORLDS
        for samples in SAMPLES
        for rule in RULES
    }
    for world in WORLDS:
        table = Table(title=world.name, title_justify="left", box=SIMPLE_HEAD)
        for head in ("samples", "rule", "promotions", "harmful", "mean quality", "at the end"):
            table.add_column(head, justify="left" if head == "rule" else "right", no_wrap=True)
        for (name, samples, rule), one in found.items():
            if name == world.name:
                numbers = (f"{one.promotions:.1f}", f"{one.harmful:.2f}", f"{one.quality:.3f}", f"{one.end:.3f}")
                table.add_row(str(samples), rule, *numbers)
        Console(width=120).print(table)
    kept = promises(lambda world, rule, samples: found[world.name, samples, rule])
    for text, holds in kept:
        print(f"{'ok     ' if holds else 'NOT met'}  {text}")
    return 0 if all(holds for _, holds in kept) else 1


if __name__ == "__main__":
    sys.exit(main())
