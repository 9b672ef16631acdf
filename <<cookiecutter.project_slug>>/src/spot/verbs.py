"""What each verb of the command line does, and the exit code it ends with."""

from __future__ import annotations

import getpass
import os
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from bucket.gcs import EMULATOR
from bucket.store import Conflict, open_store
from spot import links, rules, views
from spot.cli import Exit
from spot.evidence import BucketEvidence
from spot.image import ask_registry, pin
from spot.ledger import Ledger, Record
from spot.reconcile import Passed, Supervisor
from spot.run import CancelRequest, Run, RunState, Spec, Strategy
from spot.settings import Settings, load
from spot.submit import SubmitError, merged_flags, new_id, pinned_data, plan
from spot.vertex import VertexJobs, wire

GIVE_UP_S = 30.0
"""A person waits for an answer of the bucket for so long; the trainer is more patient."""
TRIES = 5


def submit(options: Namespace) -> int:
    settings = _settings(options)
    planned = plan(_run(settings, options, datetime.now(UTC)), force=options.force)
    if options.dry_run:
        request = wire(planned.run, planned.first) if planned.first else None
        views.show_plan(planned, request, as_json=options.json)
        return Exit.DONE
    supervisor = _supervisor(settings)
    supervisor.ledger.create(planned.run)
    passed = supervisor.reconcile_run(planned.run.id)
    views.show_submitted(planned, passed, as_json=options.json)
    return Exit.USAGE if passed.needs_someone else Exit.DONE


def reconcile(options: Namespace) -> int:
    supervisor = _supervisor(_settings(options))
    if options.run:
        supervisor.ledger.find(options.run)
    passes = [supervisor.reconcile_run(options.run)] if options.run else supervisor.reconcile()
    views.show_passes(passes, datetime.now(UTC), as_json=options.json)
    return _code(passes)


def watch(options: Namespace) -> int:
    supervisor = _supervisor(_settings(options))
    ids = [options.run] if options.run else supervisor.ledger.open_ids()
    ended: dict[str, Passed] = {}
    with views.watching(as_json=options.json) as show:
        while True:
            passes = [ended.get(run_id) or supervisor.reconcile_run(run_id) for run_id in ids]
            passes = [_found(supervisor, passed) for passed in passes]
            show(passes, datetime.now(UTC))
            ended = {passed.run_id: passed for passed in passes if _ended(passed)}
            if len(ended) == len(ids):
                return _code(passes)
            time.sleep(options.every)


def status(options: Namespace) -> int:
    settings = _settings(options)
    ledger, evidence, now = _ledger(settings), BucketEvidence(), datetime.now(UTC)
    if not options.run:
        runs = [ledger.read(run_id).run for run_id in ledger.open_ids()]
        views.show_runs([(run, evidence.observe(run)) for run in runs], now, as_json=options.json)
        return Exit.OPEN if runs else Exit.DONE
    run = ledger.find(options.run).run
    views.show_run(run, evidence.observe(run), now, as_json=options.json)
    return _code_of(run.state)


def cancel(options: Namespace) -> int:
    supervisor = _supervisor(_settings(options))
    record = _request_cancel(supervisor.ledger, options.run)
    if record.run.state is not RunState.OPEN:
        views.show_line(f"run {record.run.id} has {record.run.state} already", record.run, as_json=options.json)
        return _code_of(record.run.state)
    passed = supervisor.reconcile_run(options.run)
    views.show_passes([passed], datetime.now(UTC), as_json=options.json)
    if passed.needs_someone:
        return Exit.USAGE
    return Exit.DONE if passed.run and passed.run.state is RunState.CANCELLED else Exit.OPEN


def logs(options: Namespace) -> int:
    run = _ledger(_settings(options)).find(options.run).run
    attempts = [attempt for attempt in run.attempts if options.attempt in {None, attempt.id}]
    if not attempts:
        known = ", ".join(attempt.id for attempt in run.attempts) or "none yet"
        raise SubmitError(f"run {run.id} has no attempt {options.attempt or 'yet'}: it has {known}")
    with_job = [attempt for attempt in attempts if attempt.job]
    if not with_job:
        raise SubmitError(f"{attempts[-1].id} of run {run.id} has no job, and so no log: spot status {run.id}")
    job = str(with_job[-1].job)
    places = {
        "attempt": with_job[-1].id,
        "logs": links.logs(job),
        "console": links.console(job),
        "follow": links.follow(job),
    }
    views.show_places(places, as_json=options.json)
    return Exit.DONE


def doctor(options: Namespace) -> int:
    from spot.doctor import diagnose, subject_of
    from spot.finding import Status

    findings = diagnose(subject_of(_settings(options)))
    views.show_findings(findings, as_json=options.json)
    return Exit.USAGE if any(finding.status is Status.FAILED for finding in findings) else Exit.DONE


def _settings(options: Namespace) -> Settings:
    settings = load(options.settings)
    if settings.cloud.storage_endpoint:
        os.environ.setdefault(EMULATOR, settings.cloud.storage_endpoint)
    return settings


def _ledger(settings: Settings) -> Ledger:
    return Ledger(open_store(settings.root, give_up_s=GIVE_UP_S))


def _supervisor(settings: Settings) -> Supervisor:
    return Supervisor(
        ledger=_ledger(settings),
        jobs=VertexJobs(settings.cloud.vertex_endpoint),
        evidence=BucketEvidence(),
        clock=lambda: datetime.now(UTC),
        sleep=time.sleep,
    )


def _run(settings: Settings, options: Namespace, now: datetime) -> Run:
    """The run that was asked for: the settings, what the flags put over them, and everything it reads pinned."""
    image = options.image or settings.cloud.image
    if not image:
        raise SubmitError("no image: name the trainer's container with --image, or as cloud.image in spot.toml")
    overrides: dict[str, object] = {}
    if options.strategy:
        overrides["strategy"] = Strategy(options.strategy)
    if options.regions:
        overrides["regions"] = _regions(options.regions)
    if options.budget_usd:
        overrides["budget_usd"] = options.budget_usd
    if options.work_hours:
        overrides["work"] = timedelta(hours=options.work_hours)
    terms = settings.terms(**overrides)
    spec = Spec(
        project=settings.cloud.project,
        root=settings.root,
        image=pin(image, ask_registry),
        arguments=pinned_data(merged_flags(settings.arguments(), options.trainer)),
        machine=settings.machine(),
        service_account=settings.cloud.service_account,
        deadline=now + timedelta(hours=options.deadline_hours or settings.policy.deadline_hours),
        terms=terms,
    )
    return Run(id=options.run or new_id(now), spec=spec, submitted_at=now)


def _regions(text: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",")]
    wrong = rules.regions(names) or next(filter(None, map(rules.region, names)), None)
    if wrong:
        raise SubmitError(f"--regions {text!r}: {wrong}")
    return tuple(names)


def _request_cancel(ledger: Ledger, run_id: str) -> Record:
    for _ in range(TRIES):
        record = ledger.find(run_id)
        if record.run.state is not RunState.OPEN or record.run.cancel_request:
            return record
        request = CancelRequest(at=datetime.now(UTC), by=getpass.getuser())
        try:
            return ledger.write(record, replace(record.run, cancel_request=request))
        except Conflict:  # a supervisor wrote meanwhile
            continue
    raise SubmitError(f"run {run_id} is being written to all the time: try again")


def _found(supervisor: Supervisor, passed: Passed) -> Passed:
    """A run that ended before this pass is read where it was filed."""
    if passed.run is not None or passed.problem:
        return passed
    return replace(passed, run=supervisor.ledger.find(passed.run_id).run)


def _ended(passed: Passed) -> bool:
    return passed.run is not None and passed.run.state is not RunState.OPEN


def _code(passes: Sequence[Passed]) -> Exit:
    states = {passed.run.state for passed in passes if passed.run}
    if states & {RunState.FAILED, RunState.CANCELLED}:
        return Exit.FAILED
    if any(passed.needs_someone for passed in passes):
        return Exit.USAGE
    return Exit.OPEN if RunState.OPEN in states or any(passed.problem for passed in passes) else Exit.DONE


def _code_of(state: RunState) -> Exit:
    return {RunState.SUCCEEDED: Exit.DONE, RunState.OPEN: Exit.OPEN}.get(state, Exit.FAILED)
