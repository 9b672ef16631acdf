"""Run the verbs on runs: submit, reconcile, watch, status, cancel, logs, export."""

import contextlib
import getpass
import json
import os
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from spot.cli import console, run_tables
from spot.config.load import load
from spot.core.clock import SystemClock
from spot.core.errors import Exit
from spot.core.fields import one_line
from spot.core.format import clock, counted, named
from spot.core.run import Observation, Run, RunState
from spot.core.tables import facts
from spot.google import console_urls
from spot.policy.slack import Slack
from spot.report.publish import publish
from spot.storage.records import reconciles
from spot.storage.records.codec import encode
from spot.storage.records.reconciles import Home
from spot.supervisor import preflight, service
from spot.supervisor.reconcile import RunResult, Supervisor, describe
from spot.supervisor.resume import plan_resume
from spot.supervisor.service import RunsResult
from spot.supervisor.submit import SubmitOptions, SubmitPlan, plan_submit

CLOUD_RUN = "CLOUD_RUN_JOB"
"""Environment variable that Cloud Run sets in its jobs."""


def submit(options: Namespace) -> int:
    return _submit(options, plan_submit(load(options.settings), overrides(options), _now()))


def resume(options: Namespace) -> int:
    return _submit(options, plan_resume(load(options.settings), options.parent, overrides(options), _now()))


def _submit(options: Namespace, planned: SubmitPlan) -> int:
    plan: RenderableType = facts(planned.facts)
    if options.dry_run:
        where = f"projects/{planned.run.spec.project}/locations/{planned.first.region}/customJobs"
        parts = [plan, f"\nthe request: POST {where}", json.dumps(planned.request, indent=2)]
        console.show({"plan": plan_values(planned), "request": planned.request}, parts, options.json)
        return Exit.DONE
    result = service.submit(_supervisor(options), planned)
    one = result.reconciled
    parts = [plan, Text(), Text(run_tables.line(one, _now()), style=run_tables.mood(one))]
    if one.is_open:
        parts += ["", f"spot watch {one.run_id}    reconcile and show it until it has ended"]
        parts += [f"spot status {one.run_id}   show it", "gh workflow enable supervise.yml   let GitHub reconcile it"]
    console.show({"plan": plan_values(planned), **result_values(one)}, parts, options.json)
    return result.exit_code


def reconcile(options: Namespace) -> int:
    """Reconcile once. An open run is no failed execution of the Cloud Run job, which an e-mail reports."""
    code = _show(options, service.reconcile(_supervisor(options), options.run))
    return Exit.DONE if code is Exit.AGAIN and CLOUD_RUN in os.environ else code


def watch(options: Namespace) -> int:
    supervisor = _supervisor(options)
    run_ids, result = service.watched(supervisor.ledger, options.run), None
    with _watching(as_json=options.json) as show:
        while True:
            result = service.watch(supervisor, run_ids, result)
            show(result, _now())
            if all(one.needs_operator for one in result.runs if one.is_open):
                return result.exit_code
            time.sleep(options.every)


def status(options: Namespace) -> int:
    settings = load(options.settings)
    ledger = service.ledger_of(settings)
    known, now = reconciles.read(ledger.store), _now()
    result = service.status(ledger, service.status_reader(settings), known, options.run)
    values = [
        {**(run_values(one.run, one.seen, now) if one.run else {"id": one.run_id}), "problem": one.problem}
        for one in result.runs
    ]
    document = {"runs": values} if options.run is None else values[0]
    slower = known.slower(settings.cloud.supervisor, settings.policy_config().reconcile_interval)
    parts = [run_tables.runs(result.runs, now, alone=options.run is not None), *([slower] if slower else [])]
    console.show(document, parts, options.json)
    return result.exit_code


def cancel(options: Namespace) -> int:
    result = service.cancel(_supervisor(options), options.run, by=user())
    code = _show(options, result)
    is_cancelled = all(one.run and one.run.state is RunState.CANCELLED for one in result.runs)
    return Exit.DONE if is_cancelled else code


def logs(options: Namespace) -> int:
    links = service.logs(service.ledger_of(load(options.settings)), options.run, options.attempt)
    values = named(links, "run", "attempt", "logs", "console", "follow")
    console.show(values, [f"{name:8} {value or 'none yet'}" for name, value in values.items()], options.json)
    return links.exit_code


def export(options: Namespace) -> int:
    result = service.export(load(options.settings), options.run, options.step, options.folder)
    lines = [f"step {result.step} of {result.run}, saved by {counted(result.ranks, 'rank')}, is in {options.folder}:"]
    lines += [f"{name:24} {size / 1e6:10.1f} MB" for name, size in result.files.items()]
    console.show(named(result, "run", "step", "ranks", "files"), lines, options.json)
    return Exit.DONE


def _show(options: Namespace, result: RunsResult) -> int:
    text = run_tables.runs(result.runs, _now(), alone=len(result.runs) == 1)
    console.show({"runs": [result_values(one) for one in result.runs]}, [text], options.json)
    return result.exit_code


def overrides(options: Namespace) -> SubmitOptions:
    names = {field.name for field in fields(SubmitOptions)}
    return SubmitOptions(**{name: value for name, value in vars(options).items() if name in names})


def _supervisor(options: Namespace) -> Supervisor:
    home = Home.CLOUD_RUN if CLOUD_RUN in os.environ else Home.LOCAL
    return service.supervisor_of(load(options.settings), SystemClock(), publish, home)


def _now() -> datetime:
    return datetime.now(UTC)


def user() -> str:
    """Return the name of the person who runs this command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        return f"user {os.getuid()}"


@contextlib.contextmanager
def _watching(*, as_json: bool) -> Iterator[Callable[[RunsResult, datetime], None]]:
    """Show each reconcile: in place on a terminal, as one line of JSON, or by its new lines in a log."""
    if as_json:
        yield lambda result, now: print(
            json.dumps(console.versioned({"at": now, "runs": [result_values(one) for one in result.runs]})), flush=True
        )
    elif console.on_terminal():
        with console.in_place() as show:
            yield lambda result, now: show(
                run_tables.runs(result.runs, now, alone=len(result.runs) == 1, is_brief=True)
            )
    else:
        yield _new_lines()


def _new_lines() -> Callable[[RunsResult, datetime], None]:
    shown: dict[str, str] = {}

    def show(result: RunsResult, now: datetime) -> None:
        if not result.runs:
            print("no run is open", flush=True)
        for one in result.runs:
            line = run_tables.line(one, now)
            if shown.get(one.run_id) != line:
                shown[one.run_id] = line
                print(f"{clock(now)} {one_line(line)}", flush=True)

    return show


def plan_values(plan: SubmitPlan) -> dict[str, Any]:
    spec = plan.run.spec
    return {
        "run": plan.run.id,
        **named(spec, "image", "arguments", "machine", "deadline"),
        "ranks": preflight.step(plan.run)[0],
        "first": describe(plan.action),
        **named(spec.policy, "work", "work_is_measured", "usd_per_hour"),
        **named(plan.slack, "on_demand_start", "latest_on_demand_start"),
        "warnings": [*plan.warnings, *plan.notes],
    }


def result_values(one: RunResult) -> dict[str, Any]:
    return {
        "run": one.run_id,
        "state": one.run.state if one.run else None,
        "alarms": [str(alarm) for alarm in one.alarms],
        **named(one, "actions", "waiting_for", "problem", "needs_operator"),
        "step": one.seen.step if one.seen else None,
    }


def run_values(run: Run, seen: Observation | None, now: datetime) -> dict[str, Any]:
    """Return the record of a run for JSON, and how it stands; `now` is None if the bucket could not be read."""
    values: dict[str, Any] = json.loads(encode(run))
    for attempt in values["attempts"]:
        attempt["console"] = console_urls.console(attempt["job"]) if attempt["job"] else None
    if seen is None:
        return {**values, "now": None}
    slack, progress = Slack.of(run, seen, now), seen.progress
    standing = {
        "at": now,
        **named(seen, "step", "completed_at", "evaluation"),
        "total_steps": progress.total_steps if progress else None,
        "slack_hours": slack.left,
        **named(slack, "work", "on_demand_start", "latest_on_demand_start"),
        "usd_spent": run.usd_spent(now),
    }
    return {**values, "now": standing}
