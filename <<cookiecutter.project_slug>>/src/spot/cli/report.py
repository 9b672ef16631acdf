"""`spot report`: what a run, or all of some time, have cost, and where the time went."""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from spot.accounting.cost import account
from spot.accounting.totals import Totals
from spot.cli import console
from spot.core.errors import Exit, SpotError
from spot.core.run import Observation, Run
from spot.report import as_json, html, report_markdown, terminal
from spot.storage.base import Damaged, NewerFormat
from spot.storage.records.ledger import Ledger, UnknownRun
from spot.supervisor import project
from spot.supervisor.project import ledger_of, settings_of
from spot.supervisor.training_status import BucketStatus, TrainingStatus

READERS = 8
LONGEST = timedelta(days=3650)


class ReportError(SpotError):
    """There is no such report; the message says what to do."""


def report(options: Namespace) -> int:
    if (options.run is None) == (options.since is None):
        raise ReportError("a report is of one run, or of many: name RUN, or give --since 90d")
    if options.json and options.markdown:
        raise ReportError("--json and --markdown both go to standard output: choose one")
    now = datetime.now(UTC)
    since = None if options.since is None else moment(options.since, now)
    ledger, evidence = ledger_of(settings_of(options)), BucketStatus(give_up_s=project.GIVE_UP_S)
    if since is None:
        return _one(options, ledger.find(options.run).run, evidence, now)
    totals, unseen = gather(ledger, evidence, since, now)
    _show(
        options,
        text=lambda: terminal.many(totals),
        markdown=lambda: report_markdown.many(totals),
        html=lambda: html.many(totals),
        values=lambda: as_json.many(totals),
    )
    for run_id, problem in unseen.items():
        print(f"spot: what is said of {run_id} rests on its record alone: {problem}", file=sys.stderr)
    return Exit.DONE


def moment(text: str, now: datetime) -> datetime:
    """`90d` and `12h` are so long before `now`, `2026-09-01` is the beginning of that day. Raises `ReportError`."""
    try:
        if ago := re.fullmatch(r"(\d{1,5})([dh])", text, re.ASCII):
            back = timedelta(**{"d": {"days": int(ago[1])}, "h": {"hours": int(ago[1])}}[ago[2]])
        else:
            back = now - datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise ReportError(f"--since {text!r}: write 90d, 12h or a day as 2026-09-01") from error
    if not timedelta() < back <= LONGEST:
        raise ReportError(f"--since {text!r}: expected a time within the {LONGEST.days} days before now")
    return now - back


def gather(ledger: Ledger, evidence: Evidence, since: datetime, now: datetime) -> tuple[Totals, Mapping[str, str]]:
    """The accounts of the closed runs that were submitted since then, and why the bucket said nothing of some of them.

    Raises `SpotError`.
    """
    with ThreadPoolExecutor(READERS) as pool:
        found = list(pool.map(lambda name: _read(ledger, name), ledger.closed_since(since, now)))
        runs = sorted(
            (run for run in found if isinstance(run, Run) and since <= run.submitted_at <= now),
            key=lambda run: (run.submitted_at, run.id),
        )
        seen = list(pool.map(lambda run: _seen(evidence, run), runs))
    totals = Totals(
        since=since,
        until=now,
        accounts=tuple(account(run, its, now) for run, (its, _) in zip(runs, seen, strict=True)),
        skipped=tuple(reason for reason in found if isinstance(reason, str)),
    )
    return totals, {run.id: problem for run, (_, problem) in zip(runs, seen, strict=True) if problem}


def _one(options: Namespace, run: Run, evidence: Evidence, now: datetime) -> int:
    seen, problem = _seen(evidence, run)
    found = account(run, seen, now)
    _show(
        options,
        text=lambda: terminal.report(found),
        markdown=lambda: report_markdown.report(found),
        html=lambda: html.report(found),
        values=lambda: as_json.report(found, problem),
    )
    if problem is None:
        return Exit.DONE
    print(f"spot: the report rests on the record alone: {problem}", file=sys.stderr)
    return Exit.AGAIN


def _show(
    options: Namespace,
    *,
    text: Callable[[], list[RenderableType]],
    markdown: Callable[[], str],
    html: Callable[[], str],
    values: Callable[[], dict[str, Any]],
) -> None:
    if options.html:
        _write(options.html, html())
    if options.json:
        console.write_json(values())
    elif options.markdown:
        print(markdown())
    elif options.html:
        print(f"written: {options.html}")
    else:
        console.write(*text())


def _write(path: Path, page: str) -> None:
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ReportError(f"--html {str(path)!r} cannot be written: {error.strerror}") from error


def _read(ledger: Ledger, name: str) -> Run | str:
    """A run, or why there is none."""
    try:
        return ledger.read_closed(name)
    except (Damaged, NewerFormat, UnknownRun) as error:
        return str(error)


def _seen(evidence: Evidence, run: Run) -> tuple[Observation | None, str | None]:
    """What the bucket says of a run, or why it does not."""
    try:
        return evidence.observe(run), None
    except SpotError as error:
        return None, " ".join(str(error).split())
