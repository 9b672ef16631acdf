"""A forecast as plain values, with every replay: what `spot forecast --json` prints (docs/forecast.md)."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

from spot.cli.forecast_views import Shown
from spot.simulation.forecast import Baseline, Forecast, Sample, Samples, quantile

_KEYS = {Baseline.OURS: "policy", Baseline.ON_DEMAND: "on_demand_only", Baseline.ARTICLE: "article"}


def document(shown: Shown) -> dict[str, Any]:
    run, supply = shown.run, shown.supply
    policy = run.spec.policy
    return {
        "machine": run.spec.machine.type,
        "accelerator": run.spec.machine.accelerator,
        "accelerator_count": run.spec.machine.accelerator_count,
        "strategy": policy.strategy,
        "regions": list(policy.regions),
        "work_hours": _round(policy.work / timedelta(hours=1)),
        "deadline_hours": _round((run.spec.deadline - run.submitted_at) / timedelta(hours=1)),
        "capacity": supply.origin,
        "notes": [*supply.notes, *shown.notes],
        "sweep": shown.sweep,
        "replays": shown.replays,
        "seed": shown.seed,
        "cases": [_case(shown, found) for found in shown.forecasts],
    }


def _case(shown: Shown, found: Forecast) -> dict[str, Any]:
    policy = found.case.run.spec.policy
    return {
        "label": found.case.label,
        "regions": list(policy.regions),
        "deadline_hours": _round(found.case.deadline_hours),
        "usd_per_hour": {region: dict(policy.usd_per_hour[region]) for region in policy.regions},
        "saving": _round(found.saving),
        **{key: _samples(shown, found.of(rival)) for rival, key in _KEYS.items()},
    }


def _samples(shown: Shown, one: Samples) -> dict[str, Any]:
    return {
        "usd": {"mean": _round(one.mean_usd), **_quantiles(one.usd)},
        "hours": _quantiles(one.ends),
        "missed": one.missed,
        "missed_at_most": _round(one.missed_at_most),
        "independent": one.independent,
        "unfinished": one.unfinished,
        "preemptions": _round(one.mean(lambda sample: sample.preemptions)),
        "machines_asked_for": _round(one.mean(lambda sample: sample.asked)),
        "spot_hours": _round(one.mean(lambda sample: sample.spot_hours)),
        "on_demand_hours": _round(one.mean(lambda sample: sample.on_demand_hours)),
        "hours_without": _round(one.mean(lambda sample: sample.waited_hours)),
        "replays": [_sample(shown, sample) for sample in one.samples],
    }


def _sample(shown: Shown, sample: Sample) -> dict[str, Any]:
    return {
        "from": (shown.supply.trace.start + timedelta(minutes=sample.start)).isoformat(),
        "usd": _round(sample.usd),
        "hours": _round(sample.hours),
        "missed": sample.missed,
        "preemptions": sample.preemptions,
        "machines_asked_for": sample.asked,
        "spot_hours": _round(sample.spot_hours),
        "on_demand_hours": _round(sample.on_demand_hours),
        "hours_without": _round(sample.waited_hours),
    }


def _quantiles(ordered: tuple[float, ...]) -> dict[str, float | None]:
    shares = {"p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}
    return {name: _round(quantile(ordered, share)) for name, share in shares.items()}


def _round(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else round(value, 4)
