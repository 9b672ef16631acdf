"""Show a rehearsal: one line per event, and a table at its end."""

from datetime import datetime, timedelta

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from spot.accounting.cost import Account
from spot.core.format import hours, percent, state_of
from spot.core.run import Attempt
from spot.demo.runner import Comparison, Event, Result
from spot.demo.virtual_clock import EPOCH

WIDTH = 120
RIGHT = {"at", "waited", "ran", "lost", "cost"}
"""The columns with numbers."""


def print_event(console: Console, event: Event, *, verbose: bool = False) -> None:
    detail = f": {event.detail}" if verbose and event.detail else ""
    line = Text(f"{since(event.at):>8}  {event.text}{detail}")
    console.print(line, no_wrap=not verbose, overflow="fold" if verbose else "ellipsis")


def since(moment: datetime) -> str:
    """Return the time since the submit, as `+3:05`."""
    minutes = int((moment - EPOCH) / timedelta(minutes=1))
    return f"+{minutes // 60}:{minutes % 60:02d}"


def attempts(result: Result) -> Table:
    """Return the attempts as a table that fits 80 columns."""
    table = Table(box=box.SIMPLE, show_edge=False, padding=0)
    for name in ("at", "", "where", "waited", "ran", "outcome", "steps", "lost", "cost"):
        table.add_column(name, justify="right" if name in RIGHT else "left", overflow="fold")
    for cost in result.account.attempts:
        attempt = cost.attempt
        reached, lost = _reached(attempt, result), _lost(attempt, result)
        table.add_row(
            since(attempt.intended_at),
            attempt.id,
            f"{attempt.provisioning} {attempt.region}",
            hours(cost.waited),
            hours(cost.billed) if cost.billed else "",
            attempt.outcome or state_of(attempt),
            f"{attempt.from_step}-{reached}" if reached else "",
            "" if lost is None else str(lost),
            f"${cost.usd:.2f}" if cost.usd else "",
        )
    return table


def ending(result: Result) -> RenderableType:
    """Return the attempts, the metric, and cost, deadline and model in a line each."""
    comparison, run = result.comparison, result.run
    if comparison is None:
        return Group("", attempts(result), "", Text(f"run {run.id} ended: {run.state}", style="bold red"))
    lost = sum(_lost(attempt, result) or 0 for attempt in run.attempts)
    steps = f"{comparison.steps} steps, {lost} of them computed twice"
    metric = "no metric" if comparison.value is None else f"{comparison.metric} {comparison.value:.4f} on held-out data"
    verdict = (_cost_line(result.account), _deadline_line(result.account), _model_line(comparison))
    return Group("", attempts(result), "", f"{steps}; {metric}", "", *verdict)


def _cost_line(bill: Account) -> Text:
    if bill.usd is None or bill.on_demand is None or bill.share_saved is None:
        return Text("cost: no price is known")
    verdict = f"{percent(abs(bill.share_saved))} {'saved' if bill.share_saved > 0 else 'MORE'}"
    text = f"cost      ${bill.usd:.2f}, on demand ${bill.on_demand.usd:.2f}: {verdict}"
    return Text(text, style=_style(good=bill.share_saved > 0))


def _deadline_line(bill: Account) -> Text:
    spare = bill.to_spare or timedelta()
    in_time = spare >= timedelta()
    return Text(
        f"deadline  {f'met, {hours(spare)} to spare' if in_time else f'{hours(-spare)} LATE'}",
        style=_style(good=in_time),
    )


def _model_line(comparison: Comparison) -> Text:
    if comparison.identical:
        return Text("weights   identical to an uninterrupted training, metrics and order too", style=_style(good=True))
    same = {True: "identical", False: "DIFFERENT"}
    text = (
        f"weights   {same[comparison.same_weights]}, metrics {same[comparison.same_metrics]},"
        f" order {same[comparison.same_order]}"
    )
    return Text(text, style=_style(good=False))


def _style(*, good: bool) -> str:
    return "bold green" if good else "bold red"


def _reached(attempt: Attempt, result: Result) -> int:
    """Return the last step of an attempt; 0 if it made none."""
    reached = result.reached.get(attempt.id, 0)
    return max(reached, attempt.last_step or 0) if reached else 0


def _lost(attempt: Attempt, result: Result) -> int | None:
    """Return the steps after the last checkpoint, which the next start computes again; None while unknown."""
    reached = _reached(attempt, result)
    return max(reached - attempt.last_step, 0) if reached and attempt.last_step is not None else None
