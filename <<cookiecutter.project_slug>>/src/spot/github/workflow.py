"""Run the steps of the workflows: `python -m spot.github.workflow VERB`.

No run may stay open while supervise.yml is disabled. Retrain enables it before a run exists and again afterwards.
Supervise disables it last, without an open run, and looks again. So a submit between these calls is never missed.
"""

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from spot.config.load import load
from spot.config.settings import Settings
from spot.core.clock import SystemClock
from spot.core.errors import Exit, SpotError
from spot.core.fields import terminal
from spot.core.history import Condition
from spot.core.run import Run, RunState
from spot.github import images, issues, summary
from spot.github.api import GitHub, GitHubError
from spot.promotion.rule import GateVerdict
from spot.report.publish import publish
from spot.storage.records import champion, reconciles
from spot.storage.records.champion import Champion
from spot.storage.records.ledger import Ledger
from spot.storage.records.reconciles import Home
from spot.supervisor import service
from spot.supervisor.resume import plan_resume, resumed_id
from spot.supervisor.service import RunsResult
from spot.supervisor.submit import SubmitError, SubmitOptions, SubmitPlan, plan_submit

RETRAIN, SUPERVISE, KEEP_ALIVE = "retrain.yml", "supervise.yml", "keep-alive.yml"
SETTINGS = Path("spot.toml")
AS_SET = "as in spot.toml"
"""The choice of a strategy that overrides nothing."""


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return a line in which GitHub finds no command: it reads commands from logs as well."""
        return terminal(super().format(record)).replace("::", ": :").replace("##[", "# #[")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code. GitHub shows each known error on the page of the workflow run."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in ("google", "spot.storage", "urllib3"):  # single retries; the final error is reported anyway
        logging.getLogger(name).setLevel(logging.ERROR)
    functions = (find_image, deploy, retrain, supervise, promote, keep_alive)
    verbs = {one.__name__.replace("_", "-"): one for one in functions}
    parser = argparse.ArgumentParser(prog="python -m spot.github.workflow", description="Run by .github/workflows.")
    parser.add_argument("verb", choices=verbs)
    try:
        return verbs[parser.parse_args(arguments).verb]()
    except SpotError as error:
        for line in error.lines:
            _annotate("error", line)
        return error.exit_code


def find_image() -> int:
    """Output names and build of this commit's images, and their digests if the registry has them."""
    lines = images.outputs(load(SETTINGS), _needed("GCP_ARTIFACT_REPOSITORY"), _needed("GITHUB_SHA"))
    _append("GITHUB_OUTPUT", "\n".join(lines))
    return Exit.DONE


def deploy() -> int:
    """Give the Cloud Run job the supervisor of this commit. Without an answer it keeps its image."""
    try:
        images.deploy(load(SETTINGS), _needed("IMAGE"))
    except SpotError as error:
        if error.exit_code is not Exit.AGAIN:
            raise
        _annotate("warning", str(error))
    return Exit.DONE


def retrain() -> int:
    options, settings, now = submit_options(os.environ), load(SETTINGS), datetime.now(UTC)
    resumes = os.environ.get("RESUME", "").strip()
    if os.environ.get("DRY_RUN") == "true":
        _append("GITHUB_STEP_SUMMARY", summary.planned(_planned(settings, options, resumes, now)))
        return Exit.DONE
    github = _github()
    github.revive(RETRAIN)
    github.switch(SUPERVISE, on=True)
    run_id = resumed_id(resumes) if resumes else _run_id(github)
    ledger = service.ledger_of(settings)
    try:
        if before := ledger.find_or_none(run_id):
            _append("GITHUB_STEP_SUMMARY", summary.submitted_before(before, now))
            return Exit.DONE
        # The image of this commit was built from this checkout. Of any other image the sources are not known.
        plan = _planned(settings, replace(options, run=run_id, sources=images.sources_digest(Path())), resumes, now)
        if plan.repeats and os.environ.get("GITHUB_EVENT_NAME") == "schedule":
            _append("GITHUB_STEP_SUMMARY", summary.skipped(plan))
            return Exit.DONE
        result = service.submit(service.supervisor_of(settings, SystemClock(), publish), plan)
        _append("GITHUB_STEP_SUMMARY", summary.submitted(result, now))
        return result.exit_code
    finally:
        github.switch(SUPERVISE, on=True)


def _planned(settings: Settings, options: SubmitOptions, resumes: str, now: datetime) -> SubmitPlan:
    if resumes:
        return plan_resume(settings, resumes, options, now)
    return plan_submit(settings, options, now)


def supervise() -> int:
    """Reconcile the open runs once. Fail if a run failed, or if a person must act."""
    github = _github()
    settings = load(SETTINGS)
    supervisor = service.supervisor_of(settings, SystemClock(), publish, home=Home.GITHUB)
    result, now = service.reconcile(supervisor), datetime.now(UTC)
    _append("GITHUB_STEP_SUMMARY", summary.reconciled(result, now))
    made = [(one.run_id, decision) for one in result.runs for decision in one.actions]
    if any(decision.action == GateVerdict.PROMOTE for _, decision in made):
        _append("GITHUB_STEP_SUMMARY", summary.champion(_champion(supervisor.ledger)))
    asked = [f"{run_id}: promote its model? {one.reason}" for run_id, one in made if one.action == GateVerdict.ASK]
    for line in [*asked, *(f"{one.run_id}: {one.problem}" for one in result.runs if one.problem)]:
        _annotate("warning", line)
    if result.mirror_problem:
        _annotate("warning", result.mirror_problem)
    alarms = [f"{one.run_id}: {alarm}" for one in result.runs for alarm in one.alarms]
    for line in alarms:
        _annotate("error", line)
    notable = [one.run for one in result.runs if one.run and (one.run.alarms or not one.is_open)]
    failed = _report(supervisor.ledger, notable, github, now, _pace(settings, supervisor.ledger, result), settings)
    _switch_off_if_idle(supervisor.ledger, github)
    for run_id in failed:
        _annotate("error", f"run {run_id} has failed, or its deadline is at risk: spot status {run_id}")
    if failed or alarms:
        return Exit.FAILED
    return Exit.USAGE if any(one.needs_operator for one in result.runs) else Exit.DONE


def promote() -> int:
    """Put the model of a run in use, or go back to an earlier champion, with the inputs of the workflow."""
    settings, now = load(SETTINGS), datetime.now(UTC)
    run, reason = (os.environ.get(name, "").strip() for name in ("RUN", "REASON"))
    is_back, by = os.environ.get("BACK") == "true", f"{_needed('GITHUB_ACTOR')}, {_this_run()}"
    if not reason or not (run or is_back):
        raise SubmitError("promote needs a reason, and either a run or back")
    if is_back:
        found = service.rollback(settings, run or None, now, by=by, reason=reason)
    else:
        found = service.promote(settings, run, now, by=by, reason=reason)
    _append("GITHUB_STEP_SUMMARY", summary.champion(found))
    if not is_back:
        issues.report([], _github(), now, workflow_run=_this_run(), promoted=[run])
    return Exit.DONE


def keep_alive() -> int:
    """Restart the 60 days after which GitHub disables schedules in a public repository."""
    github = _github()
    for workflow in (RETRAIN, KEEP_ALIVE):
        github.revive(workflow)
    return Exit.DONE


def submit_options(given: Mapping[str, str]) -> SubmitOptions:
    """Return the inputs of the workflow. Empty inputs override nothing; a schedule has none. Raises `SubmitError`."""
    inputs = {name: value for name in given if (value := given[name].strip()) and value != AS_SET}
    try:
        arguments = shlex.split(inputs.get("ARGUMENTS", ""))
    except ValueError as error:
        raise SubmitError(f"the training arguments {given['ARGUMENTS']!r} have {error}: quote as in a shell") from error
    return SubmitOptions(
        image=inputs.get("IMAGE"),
        strategy=inputs.get("STRATEGY"),
        regions=inputs.get("REGIONS"),
        deadline_hours=_number(inputs, "DEADLINE_HOURS"),
        budget_usd=_number(inputs, "BUDGET_USD"),
        arguments=arguments,
    )


def _number(inputs: Mapping[str, str], name: str) -> float | None:
    try:
        return float(inputs[name]) if name in inputs else None
    except ValueError:
        raise SubmitError(f"{name.lower()} is {inputs[name]!r}: expected a number") from None


def _run_id(github: GitHub) -> str:
    """Return the id of the run that this run of the workflow submits.

    The date and time are those of the workflow run's creation, which a re-run keeps. So a re-run gets the same id,
    cannot submit a second run, and finds the record of the first in the month of its id.
    """
    number = _needed("GITHUB_RUN_ID")
    return f"{github.created_at(number):%Y%m%d-%H%M%S}-gh{number}"


def _pace(settings: Settings, ledger: Ledger, result: RunsResult) -> str:
    """Return what an issue says about the times of reconciles, if they come later than configured."""
    home, parts = settings.cloud.supervisor, list[str]()
    if home == "cloud-run" and any(
        alarm.condition is Condition.RECONCILE_INTERVAL for one in result.runs for alarm in one.alarms
    ):
        parts.append("Cloud Run has stopped: this workflow reconciled as its backup. `spot doctor` says why.")
    if slower := reconciles.read(ledger.store).slower(home, settings.policy_config().reconcile_interval):
        parts.append(f"{slower.capitalize()}.")
    return " ".join(parts)


def _report(
    ledger: Ledger, notable: Sequence[Run], github: GitHub, now: datetime, pace: str, settings: Settings
) -> list[str]:
    """Open and close issues once a run has ended or has alarms, or none is open. Return what is new.

    Cloud Run also closes runs, and opens no issue.
    """
    failed = {run.id for run in notable if run.state is RunState.FAILED}
    if notable or settings.cloud.supervisor_job or not ledger.open_ids():
        closed, unreadable = issues.recent(ledger, now)
        for reason in unreadable:
            _annotate("warning", reason)
        runs = {run.id: run for run in [*closed, *notable]}
        promoted = {one.run for one in _champion(ledger).promotions}
        opened = issues.report([*runs.values()], github, now, workflow_run=_this_run(), promoted=promoted, pace=pace)
        failed |= {run.id for run in opened}
    return sorted(failed)


def _champion(ledger: Ledger) -> Champion:
    """Return the champion; none if its record cannot be read, which must not hide failed runs."""
    try:
        return champion.read(ledger.store)[0]
    except SpotError as error:
        _annotate("warning", str(error))
        return Champion()


def _switch_off_if_idle(ledger: Ledger, github: GitHub) -> None:
    if not ledger.open_ids():
        github.switch(SUPERVISE, on=False)
        if ledger.open_ids():
            github.switch(SUPERVISE, on=True)


def _this_run() -> str:
    return f"{_needed('GITHUB_SERVER_URL')}/{_needed('GITHUB_REPOSITORY')}/actions/runs/{_needed('GITHUB_RUN_ID')}"


def _github() -> GitHub:
    return GitHub(url=_needed("GITHUB_API_URL"), repository=_needed("GITHUB_REPOSITORY"), token=_needed("GITHUB_TOKEN"))


def _needed(variable: str) -> str:
    if value := os.environ.get(variable):
        return value
    raise GitHubError(f"{variable} is not set: infra/bootstrap.sh sets GCP_ variables, GitHub sets GITHUB_ variables")


def _append(variable: str, text: str) -> None:
    """Append to a file that GitHub reads after the step."""
    with Path(_needed(variable)).open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")


def _annotate(kind: str, line: str) -> None:
    escaped = terminal(line).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    print(f"::{kind}::{escaped}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
