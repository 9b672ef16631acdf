"""Return reports as the values of `--json`. docs/json.md lists the keys."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from spot.accounting.cost import Account, AttemptCost, Totals, Verdict
from spot.accounting.phases import Phase
from spot.core.format import named
from spot.core.run import RunState
from spot.google import console_urls


def report(account: Account, problem: str | None) -> dict[str, Any]:
    """Return one run, with its attempts and decisions; `problem` says why the bucket could not be read."""
    run, on_demand = account.run, account.on_demand
    return {
        **_summary(account),
        "on_demand": on_demand and named(on_demand, "region", "usd_per_hour", "billed"),
        "phases_hours": _phases(account.phases),
        "attempts": [_attempt(cost) for cost in account.attempts],
        "decisions": run.decisions,
        "alarms": run.alarms,
        "evaluation": account.observation and account.observation.evaluation,
        "model": run.model if run.state is RunState.SUCCEEDED else None,
        "problem": problem,
    }


def many(totals: Totals) -> dict[str, Any]:
    return {
        **named(totals, "since", "until", "skipped"),
        "totals": {
            "runs": len(totals.accounts),
            "runs_priced": len(totals.priced),
            "deadlines_met": totals.count(Verdict.MET),
            "deadlines_missed": totals.count(Verdict.MISSED),
            "without_model": totals.count(Verdict.NO_MODEL),
            **named(totals, "usd", "usd_on_demand", "usd_saved", "share_saved", "is_loss"),
            **named(totals, "preemptions", "billed", "goodput"),
        },
        "runs": [_summary(account) for account in totals.accounts],
    }


def _summary(account: Account) -> dict[str, Any]:
    run, progress = account.run, account.observation.progress if account.observation else None
    return {
        "run": run.id,
        **named(run, "state", "submitted_at", "preemptions"),
        "parent": run.parent.run if run.parent else None,
        "parent_usd": run.parent.usd if run.parent else None,
        "deadline": run.spec.deadline,
        "deadline_verdict": account.verdict.name.lower(),
        "hours_to_spare": account.to_spare,
        "usd_on_demand": account.on_demand.usd if account.on_demand else None,
        "machine": run.spec.machine,
        "hours_without_machine": account.without_machine,
        **named(account, "end", "usd", "usd_saved", "share_saved", "is_loss"),
        **named(account, "wall", "billed", "goodput"),
        "step": progress.step if progress else None,
        "total_steps": progress.total_steps if progress else None,
    }


def _attempt(cost: AttemptCost) -> dict[str, Any]:
    attempt = cost.attempt
    return {
        "attempt": attempt.id,
        "submitted_at": attempt.intended_at,
        **named(attempt, "provisioning", "region", "replaces", "outcome", "started_at", "ended_at"),
        **named(attempt, "from_step", "last_step"),
        **named(cost, "handed_over_at", "waited", "billed", "usd_per_hour", "usd"),
        "phases_hours": _phases(cost.phases),
        "error": attempt.error.message if attempt.error else None,
        "console": console_urls.console(attempt.job) if attempt.job else None,
        "logs": console_urls.logs(attempt.job) if attempt.job else None,
    }


def _phases(phases: Mapping[Phase, timedelta]) -> dict[str, timedelta]:
    return {phase.name.lower(): took for phase, took in phases.items()}
