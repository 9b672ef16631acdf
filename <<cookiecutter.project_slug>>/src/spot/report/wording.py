"""What a report says, in the words that are the same on a terminal, in Markdown and in HTML."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from spot.accounting.cost import EVEN, Account, Verdict
from spot.accounting.phases import Phase
from spot.accounting.totals import Totals
from spot.core.format import clock, counted, hours
from spot.core.run import Outcome, RunState

MEANING = {
    Phase.TRAINING: "steps that count",
    Phase.SAVING: "standing still for checkpoints",
    Phase.STARTING: "machine there, no trainer yet",
    Phase.RESTORING: "trainer there, no new step yet",
    Phase.STANDING_BY: "ready beside what it relieves",
    Phase.REPLAYED: "trained after a save, and lost",
    Phase.OTHER: "nothing tells",
}
WAITING = "waiting"
WAITED = "no machine, nothing billed"
UPPER_BOUND = (
    "Cost is an upper bound: the hours from RUNNING to the end of each job, at the price pinned at submit."
    " Vertex AI does not bill the time in which a job waits for a machine again."
    " Storage and network are not in it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    text: str
    is_loss: bool


def headline(account: Account) -> Headline:
    """What it cost, against on-demand. A loss is called one."""
    run, cost = account.run, account.usd
    if cost is None:
        return Headline(text="Cost not known: a price is missing", is_loss=False)
    so_far = " so far" if run.state is RunState.OPEN else ""
    if not account.billed:
        return Headline(text=f"{usd(0)}{so_far}: no machine ran", is_loss=False)
    text = f"{usd(cost)}{so_far}, {_against(account.usd_saved, account.share_saved)}"
    if account.verdict is Verdict.NO_MODEL:
        text = f"{usd(cost)} and no model"
    if account.is_loss:
        return Headline(text=f"LOSS: {text}", is_loss=True)
    return Headline(text=text, is_loss=False)


def total_headline(totals: Totals) -> Headline:
    """The same for many runs, as far as their prices are known."""
    if not totals.priced:
        return Headline(text="Cost not known: a price is missing for each run", is_loss=False)
    runs = counted(len(totals.priced), "run")
    if not totals.usd:
        return Headline(text=f"{usd(0)} for {runs}: no machine ran", is_loss=False)
    text = f"{usd(totals.usd)} for {runs}, {_against(totals.usd_saved, totals.share_saved)}"
    if totals.share_saved is None:
        text = f"{usd(totals.usd)} for {runs} and no model"
    return Headline(text=f"LOSS: {text}" if totals.is_loss else text, is_loss=totals.is_loss)


def facts(account: Account) -> list[tuple[str, str]]:
    """The rest of the account, a line each."""
    run = account.run
    lines = [
        ("state", state(account)),
        *([("why", run.decisions[-1].reason)] if account.verdict is Verdict.NO_MODEL and run.decisions else []),
        ("deadline", f"{clock(run.spec.deadline)}, {deadline(account)}"),
        ("cost", total_cost(account)),
        ("on-demand", on_demand(account)),
        *_difference(account),
        ("wall clock", wall(account)),
    ]
    if account.goodput is not None and account.goodput_of_wall is not None:
        of_wall = f", {percent(account.goodput_of_wall)} of the wall clock"
        lines.append(("goodput", f"{percent(account.goodput)} of {hours(account.billed)} billed{of_wall}"))
    if steps := progress(account):
        lines.append(("progress", steps))
    lines.append(("interrupted", interruptions(account)))
    return lines


def total_facts(totals: Totals) -> list[tuple[str, str]]:
    """What many runs come to."""
    missing = len(totals.accounts) - len(totals.priced)
    without = f", without {counted(missing, 'run')} of no known price" if missing else ""
    verdicts = [
        f"{totals.count(verdict)} {word}"
        for verdict, word in (
            (Verdict.MET, "met"),
            (Verdict.MISSED, "MISSED"),
            (Verdict.NO_MODEL, "ended without a model"),
        )
        if totals.count(verdict) or verdict is not Verdict.NO_MODEL
    ]
    lines = [
        ("cost", f"at most {usd(totals.usd)}{without}"),
        ("on-demand", usd(totals.usd_on_demand)),
        _kept(totals.usd_saved, totals.share_saved, is_loss=totals.is_loss),
        ("deadlines", ", ".join(verdicts)),
        ("preempted", f"{counted(totals.preemptions, 'time')}"),
    ]
    if totals.goodput is not None:
        lines.append(("goodput", f"{percent(totals.goodput)} of {hours(totals.billed)} billed"))
    return lines


def saved(account: Account) -> str:
    """In a table: `58 %`, `LOSS 61 %`."""
    if account.verdict is Verdict.NO_MODEL and account.usd:
        return f"LOSS {usd(account.usd)}"
    if account.usd_saved is None:
        return "?"
    if account.share_saved is None:
        return f"LOSS {usd(-account.usd_saved)}" if account.is_loss else ""
    share = percent(abs(account.share_saved))
    return f"LOSS {share}" if account.is_loss else share if account.share_saved >= EVEN else "none"


def brief_deadline(account: Account) -> str:
    """In a table."""
    spare = account.to_spare or timedelta()
    match account.verdict:
        case Verdict.MET:
            return f"met by {hours(spare)}"
        case Verdict.MISSED:
            return f"LATE by {hours(-spare)}"
        case Verdict.DUE:
            return f"in {hours(spare)}"
        case Verdict.NO_MODEL:
            return str(account.run.state)


def state(account: Account) -> str:
    run = account.run
    if run.state is RunState.OPEN:
        done = account.is_complete
        return f"open, {'its model is there since' if done else 'as it stands at'} {clock(account.end)}"
    request = run.cancel_request
    by = f" by {request.by}" if request and run.state is RunState.CANCELLED else ""
    return f"{run.state}{by}, {clock(account.end)}"


def deadline(account: Account) -> str:
    """Met or missed, and by how much."""
    spare = account.to_spare
    match account.verdict:
        case Verdict.MET:
            return f"met with {hours(spare or timedelta())} to spare"
        case Verdict.MISSED:
            so_far = "" if account.is_complete else " so far"
            return f"MISSED by {hours(-(spare or timedelta()))}{so_far}"
        case Verdict.DUE:
            return f"in {hours(spare or timedelta())}"
        case Verdict.NO_MODEL:
            return f"no model: the run was {account.run.state}" if _cancelled(account) else "no model: the run failed"


def total_cost(account: Account) -> str:
    """And how it falls to spot and on-demand, if it does."""
    if account.usd is None:
        return "not known: no price for what was billed"
    parts: dict[str, float] = {}
    for entry in account.entries:
        kind = entry.attempt.provisioning
        parts[kind] = parts.get(kind, 0.0) + (entry.usd or 0.0)
    paid = [f"{usd(amount)} {kind}" for kind, amount in parts.items() if amount]
    return f"at most {usd(account.usd)}{': ' + ', '.join(paid) if len(paid) > 1 else ''}"


def on_demand(account: Account) -> str:
    """What on-demand alone would have cost, and for what."""
    found = account.on_demand
    if found is None:
        return "not known: no price"
    if account.verdict is Verdict.NO_MODEL:
        return "nothing to compare with: there is no model"
    if not found.work:
        return "nothing to compare with: no step was made that counts"
    start = f", {hours(found.restore)} for a start" if found.restore else ""
    end = f", {hours(found.finish)} for the end of the job" if found.finish else ""
    what = f"{hours(found.work)} for the same steps{start}{end}"
    return f"{usd(found.usd)}: {what}, at {rate(found.usd_per_hour)} in {found.region}"


def _difference(account: Account) -> list[tuple[str, str]]:
    """What spot saved or lost, if that can be said."""
    saved, share = account.usd_saved, account.share_saved
    if account.is_loss and account.verdict is Verdict.NO_MODEL:
        return [("LOSS", f"{usd(account.usd or 0.0)}: paid for no model")]
    return [] if saved is None or share is None else [_kept(saved, share, is_loss=account.is_loss)]


def _kept(saved: float, share: float | None, *, is_loss: bool) -> tuple[str, str]:
    """One rule for all: less than a hundredth of on-demand's cost is neither saved nor lost."""
    of = "" if share is None else f" ({percent(abs(share))})"
    if is_loss:
        return "LOSS", f"{usd(-saved)}{of}"
    if share is not None and abs(share) < EVEN:
        less = f": {usd(abs(saved))} {'more' if saved < 0 else 'less'}, which is less than 1 %"
        return "saved", f"nothing{less if round(saved, 2) else ''}"
    return "saved", f"{usd(saved)}{of}"


def wall(account: Account) -> str:
    to = "to the model" if account.is_complete else "until now" if account.run.state is RunState.OPEN else "to the end"
    return f"{hours(account.wall)} from submit {to}, {hours(account.waiting)} of it without a machine"


def progress(account: Account) -> str:
    found = account.seen.progress if account.seen else None
    if account.run.state is RunState.SUCCEEDED:
        return f"complete, {found.total_steps:,} steps" if found else "complete"
    return f"{found.step:,} of {found.total_steps:,} steps" if found else ""


def interruptions(account: Account) -> str:
    handed_over = sum(entry.attempt.outcome is Outcome.HANDED_OVER for entry in account.entries)
    tried = sum(entry.attempt.outcome is Outcome.NO_CAPACITY for entry in account.entries)
    parts = [counted(account.run.preemptions, "preemption")]
    parts += [counted(handed_over, "hand-over")] if handed_over else []
    parts += [f"{counted(tried, 'time')} no capacity"] if tried else []
    return f"{', '.join(parts)}; {counted(len(account.entries), 'attempt')}"


def usd(amount: float) -> str:
    """`$12.31`, `-$2.00`."""
    return f"{'-' if round(amount, 2) < 0 else ''}${abs(amount):,.2f}"


def rate(usd_per_hour: float | None) -> str:
    return "no known price" if usd_per_hour is None else f"${usd_per_hour:.2f}/h"


def percent(share: float) -> str:
    if 0 < share < 0.005:
        return "< 1 %"
    return f"{100 * share:.0f} %"


def _against(saved: float | None, share: float | None) -> str:
    """Cost against that of on-demand."""
    if share is None:
        return "no step was made that counts" if saved is not None else "on-demand has no known price"
    if abs(share) < EVEN:
        return "as much as on-demand"
    return f"{percent(abs(share))} {'less' if share > 0 else 'more'} than on-demand"


def _cancelled(account: Account) -> bool:
    return account.run.state is RunState.CANCELLED
