"""Runs, passes, plans and findings as plain values, for `--json` and for tables."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from spot.core.format import clock, hours
from spot.core.run import Observation, Provisioning, Run, Strategy
from spot.doctor.finding import Finding
from spot.google import console_urls
from spot.policy.failover import on_demand_can_finish
from spot.policy.slack import Slack, assess
from spot.storage.records.ledger import encode
from spot.supervisor.reconcile import PassResult, describe
from spot.supervisor.submit import Plan


def run(run: Run, seen: Observation | None, now: datetime) -> dict[str, Any]:
    """The record of a run, and how it stands now: None if the bucket did not say."""
    values: dict[str, Any] = json.loads(encode(run))
    for attempt in values["attempts"]:
        attempt["console"] = console_urls.console(attempt["job"]) if attempt["job"] else None
    return {**values, "now": _now(run, seen, now) if seen else None}


def _now(run: Run, seen: Observation, now: datetime) -> dict[str, Any]:
    situation, progress = assess(run, seen, now), seen.progress
    return {
        "at": now.isoformat(),
        "step": _step(seen),
        "total_steps": progress.total_steps if progress else None,
        "completed_at": seen.completed_at.isoformat() if seen.completed_at else None,
        "work_hours": _hours(situation.work),
        "slack_hours": _hours(situation.slack),
        "late_start": situation.late_start.isoformat(),
        "safety_line": situation.safety_line.isoformat(),
        "latest_on_demand": situation.latest_on_demand.isoformat(),
        "usd_spent": usd if (usd := run.usd_spent(now)) is None else round(usd, 4),
    }


def _step(seen: Observation) -> int:
    return seen.progress.step if seen.progress else 0


def passed(passed: PassResult) -> dict[str, Any]:
    """What a pass did for one run."""
    return {
        "run": passed.run_id,
        "state": passed.run.state if passed.run else None,
        "actions": [
            {"at": item.at.isoformat(), "action": item.action, "reason": item.reason} for item in passed.actions
        ],
        "waiting_for": passed.waiting_for,
        "problem": passed.problem,
        "needs_operator": passed.needs_operator,
        "step": _step(passed.seen) if passed.seen else None,
    }


def finding(finding: Finding) -> dict[str, Any]:
    return {"check": finding.check, "status": finding.status, "detail": finding.detail, "fix": finding.fix}


def plan(plan: Plan) -> dict[str, Any]:
    """The plan of a run that begins."""
    run, situation = plan.run, plan.situation
    return {
        "run": run.id,
        "image": run.spec.image,
        "arguments": list(run.spec.arguments),
        "first": describe(plan.action),
        "deadline": run.spec.deadline.isoformat(),
        "late_start": situation.late_start.isoformat(),
        "safety_line": situation.safety_line.isoformat(),
        "latest_on_demand": situation.latest_on_demand.isoformat(),
        "usd_per_hour": {region: dict(prices) for region, prices in run.spec.policy.usd_per_hour.items()},
        "warnings": list(plan.warnings),
    }


def plan_lines(plan: Plan) -> list[tuple[str, str]]:
    """The same for a table."""
    run, situation = plan.run, plan.situation
    spec, policy = run.spec, run.spec.policy
    gpu = f"{spec.machine.accelerator_count} x {spec.machine.accelerator}" if spec.machine.accelerator else "no GPU"
    lines = [
        ("run", run.id),
        ("image", spec.image),
        ("machine", f"{spec.machine.type}, {gpu}"),
        ("trainer", " ".join(spec.arguments) or "its defaults"),
        ("first", describe(plan.action)),
        ("deadline", f"{clock(spec.deadline)}, in {hours(situation.left)}; {hours(policy.work)} of work stated"),
    ]
    if policy.strategy is Strategy.HYBRID:
        lines += _fallback(run, situation)
    lines.append(("price", _prices(run)))
    if policy.budget_usd is not None:
        lines.append(("budget", f"${policy.budget_usd:.2f}: pays for {hours(plan.first.timeout)} of the first attempt"))
    lines += [("warning", warning) for warning in plan.warnings]
    return lines


def _fallback(run: Run, situation: Slack) -> list[tuple[str, str]]:
    if not on_demand_can_finish(run, situation):
        return [("on-demand", "never: the budget does not pay for it")]
    line, latest = clock(situation.safety_line), clock(situation.latest_on_demand)
    return [
        ("on-demand", f"from {clock(situation.late_start)}, if nothing advances until then"),
        ("safety line", f"{line}; latest on-demand start {latest}"),
    ]


def _hours(duration: timedelta) -> float:
    return round(duration / timedelta(hours=1), 4)


def _prices(run: Run) -> str:
    known = [
        f"{region} {', '.join(f'{kind} ${prices[kind]:.2f}/h' for kind in Provisioning if kind in prices)}"
        for region, prices in run.spec.policy.usd_per_hour.items()
        if prices
    ]
    return "; ".join(known) or "not known for this machine"
