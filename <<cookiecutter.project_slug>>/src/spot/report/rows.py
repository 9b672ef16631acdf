"""Format the rows of a report by column, for terminal, Markdown and HTML alike."""

from collections.abc import Iterator
from typing import Any

from spot.accounting.cost import Account, AttemptCost, Verdict
from spot.accounting.phases import Phase
from spot.core.evaluation import Measurement
from spot.core.format import hours, percent, state_of
from spot.core.run import Outcome, RunState
from spot.google import console_urls
from spot.report import wording as words

Row = dict[str, Any]


def of_run(account: Account) -> Row:
    """Return the values that every report of one run shows."""
    run = account.run
    return {
        "run": run,
        "headline": words.headline(account),
        "is_loss": account.is_loss,
        "facts": words.facts(account),
        "is_bad": is_bad(account),
        "model": run.model if run.state is RunState.SUCCEEDED else "",
        "model_url": console_urls.storage(run.model),
        "evaluation": evaluation_rows(account),
        "phases": [*phase_rows(account)],
        "attempts": [attempt_row(cost) for cost in account.attempts],
        "upper_bound": words.UPPER_BOUND,
    }


def is_bad(account: Account) -> bool:
    """Return whether the deadline was missed or the run failed."""
    return account.verdict is Verdict.MISSED or account.run.state is RunState.FAILED


def phase_rows(account: Account) -> Iterator[Row]:
    """Yield the phases that took any time, then the time without a machine; none if nothing was billed."""
    for phase, took in account.phases.items():
        if took:
            yield {
                "name": phase,
                "time": hours(took),
                "share": took / account.billed,
                "percent": percent(took / account.billed),
                "meaning": words.MEANING[phase],
                "css": f"phase-{phase.replace(' ', '-')}",
            }
    if account.billed and (without := account.without_machine):
        time = {"name": "no machine", "time": hours(without), "meaning": "not billed"}
        yield {**time, "share": 0.0, "percent": "", "css": "waited"}


def evaluation_rows(account: Account) -> list[tuple[str, ...]]:
    """Return heads and a row for each metric and slice, in three columns without a champion; none before a model."""
    found = account.observation.evaluation if account.observation else None
    rows = [_evaluation_row(one) for one in found.measurements] if found else []
    columns = 6 if any(row[3] for row in rows) else 3
    heads = ("metric", "samples", "score", "champion", "gain", "95 % bounds")
    return [row[:columns] for row in (heads, *rows)] if rows else []


def _evaluation_row(one: Measurement) -> tuple[str, ...]:
    name = f"{one.metric}, {one.slice}" if one.slice else one.metric
    if one.paired is None or one.gain is None:
        return name, str(one.samples), "?" if one.score is None else f"{one.score:.4g}", "", "", ""
    low, high = one.bounds
    means = (f"{mean:.4g}" for mean in (one.paired.challenger, one.paired.champion))
    return name, str(one.samples), *means, f"{one.gain:+.4g}", f"{low:+.4g} to {high:+.4g}"


def attempt_row(cost: AttemptCost) -> Row:
    """Return an attempt; its outcome is the state of the job while it is active."""
    attempt = cost.attempt
    replaces = f" for {attempt.replaces}" if attempt.replaces else ""
    implied = attempt.outcome in {Outcome.NO_CAPACITY, Outcome.PREEMPTED, Outcome.HANDED_OVER}
    return {
        "id": attempt.id,
        "where": f"{attempt.provisioning} {attempt.region}{replaces}",
        "submitted": attempt.intended_at,
        "waited": hours(cost.waited),
        "billed": hours(cost.billed) if cost.billed else "",
        "useful": hours(cost.phases[Phase.TRAINING]) if cost.billed else "",
        "price": words.rate(cost.usd_per_hour) if cost.billed else "",
        "cost": "?" if cost.usd is None else words.usd(cost.usd) if cost.billed else "",
        "outcome": str(attempt.outcome or state_of(attempt)),
        "error": attempt.error.message if attempt.error and not implied else "",
        "job_url": console_urls.console(attempt.job) if attempt.job else "",
        "log_url": console_urls.logs(attempt.job) if attempt.job else "",
    }
