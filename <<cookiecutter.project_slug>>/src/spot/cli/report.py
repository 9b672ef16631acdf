"""Run `spot report`: what a run, or every run of some time, cost, and where the time went."""

import re
import sys
from argparse import Namespace
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from rich.console import RenderableType

from spot.accounting.cost import Account, Totals, account
from spot.cli import console
from spot.config.load import load
from spot.core.errors import Exit, SpotError
from spot.core.fields import one_line
from spot.core.run import Observation, Run
from spot.report import as_json, markdown, page, terminal
from spot.storage.records.ledger import READERS, Ledger
from spot.supervisor import service
from spot.supervisor.training_status import TrainingStatus

LONGEST = timedelta(days=3650)
_Found = TypeVar("_Found", Account, Totals)


def report(options: Namespace) -> int:
    if (options.run is None) == (options.since is None):
        raise SpotError("expected either RUN or --since", fix="spot report --since 90d")
    if options.json and options.markdown:
        raise SpotError("--json and --markdown both write to standard output: choose one")
    now = datetime.now(UTC)
    since = None if options.since is None else moment(options.since, now)
    settings = load(options.settings)
    ledger, reader = service.ledger_of(settings), service.status_reader(settings)
    if since is None:
        run = ledger.find(options.run).run
        seen, problem = _seen(reader, run)
        unread, values = {run.id: problem} if problem else {}, partial(as_json.report, problem=problem)
        one = account(run, seen, now)
        _show(options, one, text=terminal.report, markdown=markdown.report, html=page.report, values=values)
    else:
        totals, unread = gather(ledger, reader, since, now)
        _show(options, totals, text=terminal.many, markdown=markdown.many, html=page.many, values=as_json.many)
    for run_id, why in unread.items():
        print(f"spot: {run_id} is reported from its record alone: {why}", file=sys.stderr)
    return Exit.AGAIN if unread and since is None else Exit.DONE


def moment(text: str, now: datetime) -> datetime:
    """Parse `90d`, `12h` before `now`, or the beginning of a day, `2026-09-01`. Raises `SpotError`."""
    try:
        if ago := re.fullmatch(r"(\d{1,5})([dh])", text, re.ASCII):
            back = timedelta(days=int(ago[1])) if ago[2] == "d" else timedelta(hours=int(ago[1]))
        else:
            back = now - datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise SpotError(f"--since {text!r}: expected 90d, 12h or a date such as 2026-09-01") from error
    if not timedelta() < back <= LONGEST:
        raise SpotError(f"--since {text!r}: expected a time within the last {LONGEST.days} days")
    return now - back


def gather(ledger: Ledger, reader: TrainingStatus, since: datetime, now: datetime) -> tuple[Totals, dict[str, str]]:
    """Return the accounts of the closed runs submitted since then, and why the bucket could not be read for some.

    Raises `SpotError`.
    """
    runs, skipped = ledger.submitted_since(since, now)
    with ThreadPoolExecutor(READERS) as pool:
        seen = list(pool.map(lambda run: _seen(reader, run), runs))
    totals = Totals(
        since=since,
        until=now,
        accounts=tuple(account(run, its, now) for run, (its, _) in zip(runs, seen, strict=True)),
        skipped=tuple(skipped),
    )
    return totals, {run.id: problem for run, (_, problem) in zip(runs, seen, strict=True) if problem}


def _show(
    options: Namespace,
    found: _Found,
    *,
    text: Callable[[_Found], list[RenderableType]],
    markdown: Callable[[_Found], str],
    html: Callable[[_Found], str],
    values: Callable[[_Found], dict[str, Any]],
) -> None:
    if options.html:
        console.save(options.html, "--html", html(found))
    if options.markdown:
        print(markdown(found))
    elif options.json:
        console.show(values(found), [], as_json=True)
    else:
        console.write(*([f"written: {options.html}"] if options.html else text(found)))


def _seen(reader: TrainingStatus, run: Run) -> tuple[Observation | None, str | None]:
    """Return what the bucket says about a run, or why it cannot be read."""
    try:
        return reader.observe(run), None
    except SpotError as error:
        return None, one_line(error)
