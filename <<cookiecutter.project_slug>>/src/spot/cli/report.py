"""Run `spot report`: what a run, or every run of some time, cost, and where the time went."""

import sys
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from spot.accounting.cost import Totals, account
from spot.cli import console
from spot.config.load import load
from spot.core.errors import Exit, SpotError
from spot.core.fields import one_line
from spot.core.run import Observation, Run
from spot.report import as_json, markdown, page, terminal
from spot.storage.records.ledger import READERS, Ledger
from spot.supervisor import service
from spot.supervisor.training_status import TrainingStatus


def report(options: Namespace) -> int:
    if (options.run is None) == (options.since is None):
        raise SpotError("expected either RUN or --since", fix="spot report --since 90d")
    if options.json and options.markdown:
        raise SpotError("--json and --markdown both write to standard output: choose one")
    if options.since and (options.html or options.markdown):
        raise SpotError("--html and --markdown show one run, and --since many", fix="spot report RUN --html FILE")
    now, settings = datetime.now(UTC), load(options.settings)
    ledger, reader = service.ledger_of(settings), service.status_reader(settings)
    if options.since:
        totals, unread = gather(ledger, reader, now - options.since, now)
        console.show(as_json.many(totals), terminal.many(totals), options.json)
    else:
        run = ledger.find(options.run).run
        seen, problem = _seen(reader, run)
        unread, found = {run.id: problem} if problem else {}, account(run, seen, now)
        if options.html:
            console.save(options.html, "--html", page.report(found))
        if options.markdown:
            print(markdown.report(found))
        else:
            text = [f"written: {options.html}"] if options.html else terminal.report(found)
            console.show(as_json.report(found, problem), text, options.json)
    for run_id, why in unread.items():
        print(f"spot: {run_id} is reported from its record alone: {why}", file=sys.stderr)
    return Exit.AGAIN if unread and options.run else Exit.DONE


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


def _seen(reader: TrainingStatus, run: Run) -> tuple[Observation | None, str | None]:
    """Return what the bucket says about a run, or why it cannot be read."""
    try:
        return reader.observe(run), None
    except SpotError as error:
        return None, one_line(error)
