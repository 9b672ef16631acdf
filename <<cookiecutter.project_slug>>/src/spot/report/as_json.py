"""Return reports as the values of `--json`. docs/costs.md lists the keys; keys are only ever added."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from spot.accounting.cost import Account, AttemptCost, Totals, Verdict
from spot.accounting.phases import Phase
from spot.core.run import RunState
from spot.google import console_urls


def report(account: Account, problem: str | None) -> dict[str, Any]:
    """Return one run, with its attempts and decisions; `problem` says why the bucket could not be read."""
    run, on_demand = account.run, account.on_demand
    return {
        **_summary(account),
        "on_demand": on_demand
        and {
            "region": on_demand.region,
            "usd_per_hour": on_demand.usd_per_hour,
            "work_hours": on_demand.work,
            "restore_hours": on_demand.restore,
            "finish_hours": on_demand.finish,
        },
        "phases_hours": _phases(account.phases),
        "attempts": [_attempt(cost) for cost in account.attempts],
        "decisions": [_named(made, "at", "action", "reason") for made in run.decisions],
        "alarms": [_named(alarm, "at", "condition", "text") for alarm in run.alarms],
        "model": run.model if run.state is RunState.SUCCEEDED else None,
        "problem": problem,
    }


def many(totals: Totals) -> dict[str, Any]:
    """Return many runs and their totals."""
    return {
        "since": totals.since,
        "until": totals.until,
        "totals": {
            "runs": len(totals.accounts),
            "runs_priced": len(totals.priced),
            **_named(totals, "usd", "usd_on_demand", "usd_saved", "share_saved", "is_loss"),
            "deadlines_met": totals.count(Verdict.MET),
            "deadlines_missed": totals.count(Verdict.MISSED),
            "without_model": totals.count(Verdict.NO_MODEL),
            "preemptions": totals.preemptions,
            "billed_hours": totals.billed,
            "goodput": totals.goodput,
        },
        "runs": [_summary(account) for account in totals.accounts],
        "skipped": totals.skipped,
    }


def _summary(account: Account) -> dict[str, Any]:
    run, progress = account.run, account.observation.progress if account.observation else None
    return {
        "run": run.id,
        "state": run.state,
        "parent": run.parent.run if run.parent else None,
        "parent_usd": run.parent.usd if run.parent else None,
        "submitted_at": run.submitted_at,
        "end": account.end,
        "deadline": run.spec.deadline,
        "deadline_verdict": account.verdict.name.lower(),
        "hours_to_spare": account.to_spare,
        "usd": account.usd,
        "usd_on_demand": account.on_demand.usd if account.on_demand else None,
        **_named(account, "usd_saved", "share_saved", "is_loss"),
        "wall_hours": account.wall,
        "hours_without_machine": account.without_machine,
        "billed_hours": account.billed,
        "goodput": account.goodput,
        "goodput_of_wall": account.goodput_of_wall,
        "preemptions": run.preemptions,
        "step": progress.step if progress else None,
        "total_steps": progress.total_steps if progress else None,
    }


def _attempt(cost: AttemptCost) -> dict[str, Any]:
    attempt = cost.attempt
    return {
        "attempt": attempt.id,
        **_named(attempt, "provisioning", "region", "replaces", "outcome"),
        "submitted_at": attempt.intended_at,
        "started_at": attempt.started_at,
        "handed_over_at": cost.handed_over_at,
        "ended_at": attempt.ended_at,
        "waited_hours": cost.waited,
        "billed_hours": cost.billed,
        "phases_hours": _phases(cost.phases),
        "usd_per_hour": cost.usd_per_hour,
        "usd": cost.usd,
        "from_step": attempt.from_step,
        "last_step": attempt.last_step,
        "error": attempt.error.message if attempt.error else None,
        "console": console_urls.console(attempt.job) if attempt.job else None,
        "logs": console_urls.logs(attempt.job) if attempt.job else None,
    }


def _named(value: object, *names: str) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names}


def _phases(phases: Mapping[Phase, timedelta]) -> dict[str, timedelta]:
    return {phase.name.lower(): took for phase, took in phases.items()}
