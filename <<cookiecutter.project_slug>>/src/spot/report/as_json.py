"""Reports as plain values, for `--json`. docs/costs.md lists the keys; they only ever become more."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from spot.accounting.cost import HOUR, Account, Entry, OnDemand, Verdict
from spot.accounting.phases import Phase
from spot.accounting.totals import Totals
from spot.core.run import RunState
from spot.google import console_urls


def report(account: Account, problem: str | None) -> dict[str, Any]:
    """One run, with its attempts and its decisions."""
    run = account.run
    return {
        **summary(account),
        "on_demand": _on_demand(account.on_demand),
        "phases_hours": _phases(account.phases),
        "attempts": [_attempt(entry) for entry in account.entries],
        "decisions": [{"at": one.at.isoformat(), "action": one.action, "reason": one.reason} for one in run.decisions],
        "model": run.model if run.state is RunState.SUCCEEDED else None,
        "problem": problem,
    }


def summary(account: Account) -> dict[str, Any]:
    """A run among others."""
    run, progress, spare = account.run, account.seen.progress if account.seen else None, account.to_spare
    return {
        "run": run.id,
        "state": run.state,
        "submitted_at": run.submitted_at.isoformat(),
        "end": account.end.isoformat(),
        "deadline": run.spec.deadline.isoformat(),
        "deadline_verdict": account.verdict.name.lower(),
        "hours_to_spare": None if spare is None else _hours(spare),
        "usd": _usd(account.usd),
        "usd_on_demand": _usd(account.on_demand.usd if account.on_demand else None),
        "usd_saved": _usd(account.usd_saved),
        "share_saved": _share(account.share_saved),
        "is_loss": account.is_loss,
        "wall_hours": _hours(account.wall),
        "waiting_hours": _hours(account.waiting),
        "billed_hours": _hours(account.billed),
        "goodput": _share(account.goodput),
        "goodput_of_wall": _share(account.goodput_of_wall),
        "preemptions": run.preemptions,
        "step": progress.step if progress else None,
        "total_steps": progress.total_steps if progress else None,
    }


def many(totals: Totals) -> dict[str, Any]:
    """Many runs, and what they come to."""
    return {
        "since": totals.since.isoformat(),
        "until": totals.until.isoformat(),
        "totals": {
            "runs": len(totals.accounts),
            "runs_priced": len(totals.priced),
            "usd": _usd(totals.usd),
            "usd_on_demand": _usd(totals.usd_on_demand),
            "usd_saved": _usd(totals.usd_saved),
            "share_saved": _share(totals.share_saved),
            "is_loss": totals.is_loss,
            "deadlines_met": totals.count(Verdict.MET),
            "deadlines_missed": totals.count(Verdict.MISSED),
            "without_model": totals.count(Verdict.NO_MODEL),
            "preemptions": totals.preemptions,
            "billed_hours": _hours(totals.billed),
            "goodput": _share(totals.goodput),
        },
        "runs": [summary(account) for account in totals.accounts],
        "skipped": list(totals.skipped),
    }


def _attempt(entry: Entry) -> dict[str, Any]:
    attempt = entry.attempt
    return {
        "attempt": attempt.id,
        "provisioning": attempt.provisioning,
        "region": attempt.region,
        "replaces": attempt.replaces,
        "outcome": attempt.outcome,
        "submitted_at": attempt.intended_at.isoformat(),
        "started_at": _moment(attempt.started_at),
        "took_over_at": _moment(entry.took_over_at),
        "ended_at": _moment(attempt.ended_at),
        "waited_hours": _hours(entry.waited),
        "billed_hours": _hours(entry.billed),
        "phases_hours": _phases(entry.phases),
        "usd_per_hour": _usd(entry.usd_per_hour),
        "usd": _usd(entry.usd),
        "from_step": attempt.from_step,
        "last_step": attempt.last_step,
        "error": attempt.error.message if attempt.error else None,
        "console": console_urls.console(attempt.job) if attempt.job else None,
        "logs": console_urls.logs(attempt.job) if attempt.job else None,
    }


def _on_demand(found: OnDemand | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "region": found.region,
        "usd_per_hour": _usd(found.usd_per_hour),
        "work_hours": _hours(found.work),
        "restore_hours": _hours(found.restore),
        "finish_hours": _hours(found.finish),
    }


def _phases(phases: Mapping[Phase, timedelta]) -> dict[str, float]:
    return {phase.name.lower(): _hours(took) for phase, took in phases.items()}


def _moment(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _hours(duration: timedelta) -> float:
    return round(duration / HOUR, 4)


def _usd(amount: float | None) -> float | None:
    return None if amount is None else round(amount, 4)


def _share(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
