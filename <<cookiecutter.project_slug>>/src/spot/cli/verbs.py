"""What each verb of the command line does, and the exit code it ends with."""

from __future__ import annotations

import getpass
import os
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from spot.cli import views
from spot.config.settings import Settings
from spot.core.errors import Exit, SpotError, TemporarilyUnavailable
from spot.core.run import CancelRequest, Run, RunState
from spot.google import console_urls
from spot.google.registry import ask_registry, pin
from spot.google.vertex import VertexJobs, wire
from spot.pricing.quotes import age_warning, quotes
from spot.storage.base import Conflict
from spot.storage.records.ledger import Ledger, Record
from spot.supervisor import project
from spot.supervisor.project import ledger_of, settings_of
from spot.supervisor.reconcile import PassResult, Supervisor
from spot.supervisor.submit import SubmitError, deadline_of, merged_flags, new_id, pinned_data, plan, terms_of
from spot.supervisor.training_status import BucketStatus, TrainingStatus

TRIES = 5


def submit(options: Namespace) -> int:
    settings = settings_of(options)
    now = datetime.now(UTC)
    planned = plan(_run(settings, options, now), force=options.force, save=settings.save)
    if planned.run.spec.policy.budget_usd is not None:
        found = quotes(settings.machine(), planned.run.spec.policy.regions, settings.price_table())
        planned = planned.noted(age_warning(found, now))
    if options.dry_run:
        views.show_plan(planned, wire(planned.run, planned.first), as_json=options.json)
        return Exit.DONE
    supervisor = _supervisor(settings)
    _record(supervisor.ledger, planned.run)
    passed = _found(supervisor.ledger, supervisor.reconcile_run(planned.run.id))
    views.show_submitted(planned, passed, datetime.now(UTC), as_json=options.json)
    code = _code([passed])
    return Exit.DONE if code is Exit.AGAIN else code  # it began, and whoever makes the next pass goes on with it


def reconcile(options: Namespace) -> int:
    supervisor = _supervisor(settings_of(options))
    if options.run is None:
        passes = supervisor.reconcile()
    else:
        passes = [supervisor.reconcile_run(supervisor.ledger.find(options.run).run.id)]
    passes = [_found(supervisor.ledger, passed) for passed in passes]
    views.show_passes(passes, datetime.now(UTC), as_json=options.json)
    return _code(passes)


def watch(options: Namespace) -> int:
    supervisor = _supervisor(settings_of(options))
    ledger = supervisor.ledger
    ids = ledger.open_ids() if options.run is None else [ledger.find(options.run).run.id]
    ended: dict[str, PassResult] = {}
    with views.watching(as_json=options.json) as show:
        while True:
            passes = [ended.get(run_id) or supervisor.reconcile_run(run_id) for run_id in ids]
            passes = [_found(ledger, passed) for passed in passes]
            show(passes, datetime.now(UTC))
            ended = {passed.run_id: passed for passed in passes if _ended(passed)}
            if all(passed.needs_operator for passed in passes if passed.run_id not in ended):
                return _code(passes)
            time.sleep(options.every)


def status(options: Namespace) -> int:
    settings = settings_of(options)
    ledger, evidence, now = ledger_of(settings), BucketStatus(give_up_s=project.GIVE_UP_S), datetime.now(UTC)
    if options.run is not None:
        run = ledger.find(options.run).run
        stands = _stands(run, evidence)
        views.show_run(stands, run, now, as_json=options.json)
        return _code([stands])
    found = [_found(ledger, _unread(run_id)) for run_id in ledger.open_ids()]
    found = [_stands(one.run, evidence) if one.run else one for one in found]
    views.show_runs(found, now, as_json=options.json)
    return _code(found)


def cancel(options: Namespace) -> int:
    supervisor = _supervisor(settings_of(options))
    record = _request_cancel(supervisor.ledger, options.run)
    if record.run.state is RunState.OPEN:
        passed = _found(supervisor.ledger, supervisor.reconcile_run(options.run))
    else:
        passed = replace(_unread(options.run), run=record.run, waiting_for=f"it had ended before: {record.run.state}")
    views.show_passes([passed], datetime.now(UTC), as_json=options.json)
    return Exit.DONE if passed.run and passed.run.state is RunState.CANCELLED else _code([passed])


def logs(options: Namespace) -> int:
    run = ledger_of(settings_of(options)).find(options.run).run
    attempts = [attempt for attempt in run.attempts if options.attempt in {None, attempt.id}]
    if options.attempt and not attempts:
        known = ", ".join(attempt.id for attempt in run.attempts) or "none yet"
        raise SubmitError(f"run {run.id} has no attempt {options.attempt}: it has {known}")
    newest = next((attempt for attempt in reversed(attempts) if attempt.job), None)
    job = newest.job if newest else None
    places = {
        "run": run.id,
        "attempt": newest.id if newest else options.attempt,
        "logs": console_urls.logs(job) if job else None,
        "console": console_urls.console(job) if job else None,
        "follow": console_urls.follow(job) if job else None,
    }
    views.show_places(places, as_json=options.json)
    if job:
        return Exit.DONE
    may_come = run.state is RunState.OPEN and (not options.attempt or attempts[-1] in run.active_attempts)
    return Exit.AGAIN if may_come else Exit.USAGE


def doctor(options: Namespace) -> int:
    from spot.doctor.diagnose import diagnose, subject_of
    from spot.doctor.finding import Status

    findings = diagnose(subject_of(settings_of(options)))
    views.show_findings(findings, as_json=options.json)
    found = {finding.status for finding in findings if finding.check != "credentials"}
    if any(finding.status is Status.FAILED for finding in findings):
        return Exit.USAGE
    return Exit.AGAIN if found == {Status.UNKNOWN} else Exit.DONE


def _supervisor(settings: Settings) -> Supervisor:
    return Supervisor(
        ledger=ledger_of(settings),
        jobs=VertexJobs(settings.cloud.vertex_endpoint, give_up_s=project.GIVE_UP_S),
        evidence=BucketStatus(give_up_s=project.GIVE_UP_S),
        clock=lambda: datetime.now(UTC),
        sleep=time.sleep,
    )


def _run(settings: Settings, options: Namespace, now: datetime) -> Run:
    """The run that was asked for: the settings, what the flags put over them, and everything it reads pinned."""
    image = settings.cloud.image if options.image is None else options.image
    if not image:
        raise SubmitError("no image: name the trainer's container with --image, or as cloud.image in spot.toml")
    policy = terms_of(settings, options)
    if options.budget_usd:
        policy = replace(policy, budget_usd=options.budget_usd)
    spec = settings.spec(
        image=pin(image, ask_registry),
        arguments=pinned_data(merged_flags(settings.arguments(), options.trainer), give_up_s=project.GIVE_UP_S),
        deadline=deadline_of(settings, options, now),
        policy=policy,
    )
    return Run(id=new_id(now) if options.run is None else options.run, spec=spec, submitted_at=now)


def _request_cancel(ledger: Ledger, run_id: str) -> Record:
    for _ in range(TRIES):
        record = ledger.find(run_id)
        if record.run.state is not RunState.OPEN or record.run.cancel_request:
            return record
        request = CancelRequest(at=datetime.now(UTC), by=_who())
        try:
            return ledger.write(record, replace(record.run, cancel_request=request))
        except Conflict:  # a supervisor wrote meanwhile
            continue
    raise SubmitError(f"run {run_id} is being written to all the time: try again")


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container that has no name for its user
        return f"user {os.getuid()}"


def _record(ledger: Ledger, run: Run) -> None:
    try:
        ledger.create(run)
    except TemporarilyUnavailable as error:
        raise TemporarilyUnavailable(
            f"{error}; whether run {run.id} was recorded is not known: with --run {run.id} it cannot begin twice"
        ) from error


def _unread(run_id: str) -> PassResult:
    return PassResult(run_id=run_id, run=None, seen=None, actions=(), waiting_for="")


def _found(ledger: Ledger, passed: PassResult) -> PassResult:
    """With its run, where it was not read: it may have been filed since it was listed, or long ago."""
    if passed.run is not None or passed.problem:
        return passed
    try:
        run = ledger.find(passed.run_id).run
    except SpotError as error:
        return _with_problem(passed, error)
    return replace(passed, run=run, waiting_for=f"it has ended: {run.state}")


def _stands(run: Run, evidence: Evidence) -> PassResult:
    """A run and what the bucket says of it, nothing being done."""
    passed = replace(_unread(run.id), run=run)
    try:
        return replace(passed, seen=evidence.observe(run))
    except SpotError as error:
        return _with_problem(passed, error)


def _with_problem(passed: PassResult, error: SpotError) -> PassResult:
    return replace(passed, problem=" ".join(str(error).split()), needs_operator=error.exit_code is Exit.USAGE)


def _ended(passed: PassResult) -> bool:
    return passed.run is not None and passed.run.state is not RunState.OPEN


def _code(passes: Sequence[PassResult]) -> Exit:
    states = {passed.run.state for passed in passes if passed.run}
    if states & {RunState.FAILED, RunState.CANCELLED}:
        return Exit.FAILED
    if any(passed.needs_operator for passed in passes):
        return Exit.USAGE
    return Exit.AGAIN if RunState.OPEN in states or any(passed.problem for passed in passes) else Exit.DONE
