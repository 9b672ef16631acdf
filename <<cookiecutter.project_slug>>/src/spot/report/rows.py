"""Hold the rows of a report as formatted values, shared by terminal, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from spot.accounting.cost import Account, Entry, Verdict
from spot.accounting.phases import Phase
from spot.core.format import hours, state_of
from spot.core.run import Outcome, RunState
from spot.google import console_urls
from spot.report import wording as words


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    id: str
    state: RunState
    cost: str
    on_demand: str
    saved: str
    is_loss: bool
    deadline: str
    is_bad: bool
    """Whether the deadline was missed or the run failed."""
    preemptions: str
    goodput: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseRow:
    name: str
    time: str
    share: float
    """Of the billed time; 0 for the time without a machine."""
    percent: str
    meaning: str
    is_lost: bool

    @property
    def css(self) -> str:
        return self.name.replace(" ", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    id: str
    where: str
    submitted: datetime
    waited: str
    billed: str
    useful: str
    price: str
    cost: str
    outcome: str
    """Or the state of the job while it is active."""
    error: str
    """From Vertex AI; empty where the outcome says as much."""
    job_url: str
    log_url: str


def run_row(account: Account) -> RunRow:
    return RunRow(
        id=account.run.id,
        state=account.run.state,
        cost="?" if account.usd is None else words.usd(account.usd),
        on_demand=words.usd(account.on_demand.usd) if account.on_demand else "?",
        saved=words.saved(account),
        is_loss=account.is_loss,
        deadline=words.brief_deadline(account),
        is_bad=is_bad(account),
        preemptions=str(account.run.preemptions),
        goodput="" if account.goodput is None else words.percent(account.goodput),
    )


def is_bad(account: Account) -> bool:
    return account.verdict is Verdict.MISSED or account.run.state is RunState.FAILED


def phase_rows(account: Account) -> Iterator[PhaseRow]:
    """Yield the phases that took any time, then the time without a machine; none if nothing was billed."""
    if not account.billed:
        return
    for phase, took in account.phases.items():
        if took:
            share, meaning = took / account.billed, words.MEANING[phase]
            yield _phase(phase, took, share, meaning, is_lost=phase is Phase.REPLAYED)
    if account.waiting:
        yield _phase(words.WAITING, account.waiting, 0.0, words.WAITED)


def _phase(name: str, took: timedelta, share: float, meaning: str, *, is_lost: bool = False) -> PhaseRow:
    percent = words.percent(share) if share else ""
    return PhaseRow(name=name, time=hours(took), share=share, percent=percent, meaning=meaning, is_lost=is_lost)


def attempt_row(entry: Entry) -> AttemptRow:
    attempt = entry.attempt
    replaces = f" for {attempt.replaces}" if attempt.replaces else ""
    expected = attempt.outcome in {Outcome.NO_CAPACITY, Outcome.PREEMPTED, Outcome.HANDED_OVER}
    return AttemptRow(
        id=attempt.id,
        where=f"{attempt.provisioning} {attempt.region}{replaces}",
        submitted=attempt.intended_at,
        waited=hours(entry.waited),
        billed=hours(entry.billed) if entry.billed else "",
        useful=hours(entry.phases[Phase.TRAINING]) if entry.billed else "",
        price=words.rate(entry.usd_per_hour) if entry.billed else "",
        cost="?" if entry.usd is None else words.usd(entry.usd) if entry.billed else "",
        outcome=str(attempt.outcome or state_of(attempt)),
        error=attempt.error.message if attempt.error and not expected else "",
        job_url=console_urls.console(attempt.job) if attempt.job else "",
        log_url=console_urls.logs(attempt.job) if attempt.job else "",
    )
