"""Word a report: the texts that terminal, Markdown and HTML share."""

from spot.accounting.cost import EVEN, Account, Totals, Verdict
from spot.accounting.phases import Phase
from spot.core.format import clock, counted, hours, percent
from spot.core.history import Parent
from spot.core.run import Outcome, RunState
from spot.pricing.quotes import described

MEANING = {
    Phase.TRAINING: "steps that count",
    Phase.SAVING: "paused for checkpoints",
    Phase.STARTING: "machine to trainer",
    Phase.RESTORING: "trainer to first new step",
    Phase.STANDBY: "ready to replace an attempt",
    Phase.LOST_WORK: "after the last usable checkpoint",
    Phase.UNATTRIBUTED: "not recorded",
}
UPPER_BOUND = (
    "Cost is an upper bound: the hours from RUNNING to the end of each job, at the price pinned at submit."
    " Vertex AI does not bill the time in which a job waits for a machine again."
    " Storage and network are excluded."
)


def headline(account: Account) -> str:
    """Return the cost of a run against on-demand; a loss is called LOSS."""
    if account.usd is None:
        return "Cost unknown: a price is missing"
    so_far = " so far" if account.run.state is RunState.OPEN else ""
    if not account.billed:
        return f"{usd(0)}{so_far}: no machine ran"
    against = f"{so_far}, {_against(account.usd_saved, account.share_saved)}"
    text = f"{usd(account.usd)}{' and no model' if account.verdict is Verdict.NO_MODEL else against}"
    return f"{'LOSS: ' if account.is_loss else ''}{text}"


def total_headline(totals: Totals) -> str:
    """Return the cost of many runs against on-demand, over the runs with known prices."""
    if not totals.priced:
        return "Cost unknown: every run lacks a price"
    runs, no_model = counted(len(totals.priced), "run"), totals.share_saved is None
    if not totals.usd:
        return f"{usd(0)} for {runs}: no machine ran"
    against = " and no model" if no_model else f", {_against(totals.usd_saved, totals.share_saved)}"
    return f"{'LOSS: ' if totals.is_loss else ''}{usd(totals.usd)} for {runs}{against}"


def _against(saved: float | None, share: float | None) -> str:
    if share is None:
        return "no useful step" if saved is not None else "on-demand price unknown"
    if abs(share) < EVEN:
        return "same as on-demand"
    return f"{percent(abs(share))} {'less' if share > 0 else 'more'} than on-demand"


def facts(account: Account) -> list[tuple[str, str]]:
    """Return the rest of an account, a line each."""
    run = account.run
    lines = [
        ("state", state(account)),
        ("machine", described(run.spec.machine)),
        *([("why", run.decisions[-1].reason)] if account.verdict is Verdict.NO_MODEL and run.decisions else []),
        ("deadline", f"{clock(run.spec.deadline)}, {deadline(account)}"),
        ("cost", "unknown: no price for the billed hours" if account.usd is None else f"at most {usd(account.usd)}"),
        *([("resumes", _parent(run.parent, account.usd))] if run.parent else []),
        ("on-demand", _on_demand(account)),
        ("wall clock", wall(account)),
    ]
    if account.goodput is not None:
        lines.append(("goodput", f"{percent(account.goodput)} of {hours(account.billed)} billed"))
    if steps := progress(account):
        lines.append(("progress", steps))
    alarms = [("ALARM", f"{clock(alarm.at)}, {alarm}") for alarm in run.alarms]
    return [*lines, ("interruptions", interruptions(account)), *alarms]


def total_facts(totals: Totals) -> list[tuple[str, str]]:
    missing = len(totals.accounts) - len(totals.priced)
    without = f", without {counted(missing, 'run')} of unknown price" if missing else ""
    failed = totals.count(Verdict.NO_MODEL)
    deadlines = f"{totals.count(Verdict.MET)} met, {totals.count(Verdict.MISSED)} MISSED"
    lines = [
        ("cost", f"at most {usd(totals.usd)}{without}"),
        ("on-demand", usd(totals.usd_on_demand)),
        ("deadlines", f"{deadlines}, {failed} without a model" if failed else deadlines),
        ("preemptions", str(totals.preemptions)),
    ]
    if totals.goodput is not None:
        lines.append(("goodput", f"{percent(totals.goodput)} of {hours(totals.billed)} billed"))
    return lines


def saved(account: Account) -> str:
    """Return the saving for a table: `58 %`, `LOSS 61 %`."""
    share = account.share_saved
    if account.is_loss:
        return "LOSS" if share is None else f"LOSS {percent(-share)}"
    return "" if share is None else percent(max(share, 0.0))


def deadline(account: Account) -> str:
    if account.to_spare is None:
        return str(account.run.state)
    word = {Verdict.MET: "met by", Verdict.MISSED: "LATE by"}.get(account.verdict, "in")
    return f"{word} {hours(abs(account.to_spare))}"


def state(account: Account) -> str:
    run, request = account.run, account.run.cancel_request
    if run.state is RunState.OPEN:
        return f"open, {'model complete since' if account.is_complete else 'as of'} {clock(account.end)}"
    by = f" by {request.by}" if request and run.state is RunState.CANCELLED else ""
    return f"{run.state}{by}, {clock(account.end)}"


def wall(account: Account) -> str:
    to = "to the model" if account.is_complete else "until now" if account.run.state is RunState.OPEN else "to the end"
    return f"{hours(account.wall)} from submit {to}, {hours(account.without_machine)} without a machine"


def progress(account: Account) -> str:
    found = account.observation.progress if account.observation else None
    if account.run.state is RunState.SUCCEEDED:
        return f"complete, {found.total_steps:,} steps" if found else "complete"
    return f"{found.step:,} of {found.total_steps:,} steps" if found else ""


def interruptions(account: Account) -> str:
    outcomes = [cost.attempt.outcome for cost in account.attempts]
    handed_over, dry = outcomes.count(Outcome.HANDED_OVER), outcomes.count(Outcome.NO_CAPACITY)
    parts = [counted(account.run.preemptions, "preemption")]
    parts += [counted(handed_over, "hand-over")] if handed_over else []
    parts += [f"{dry} without capacity"] if dry else []
    return f"{', '.join(parts)}; {counted(len(outcomes), 'attempt')}"


def _parent(parent: Parent, own: float | None) -> str:
    if parent.usd is None or own is None:
        return f"run {parent.run}, of unknown cost"
    return f"run {parent.run}, which cost at most {usd(parent.usd)}: together {usd(parent.usd + own)}"


def _on_demand(account: Account) -> str:
    found = account.on_demand
    if found is None:
        return "unknown: no price"
    if not found.billed:
        return f"not comparable: no {'model' if account.verdict is Verdict.NO_MODEL else 'useful step'}"
    return (
        f"{usd(found.usd)}: {hours(found.billed)} for the same steps, at {rate(found.usd_per_hour)} in {found.region}"
    )


def usd(amount: float) -> str:
    """Format dollars: `$12.31`, `-$2.00`."""
    return f"{'-' if round(amount, 2) < 0 else ''}${abs(amount):,.2f}"


def rate(usd_per_hour: float | None) -> str:
    return "unknown" if usd_per_hour is None else f"${usd_per_hour:.2f}/h"
