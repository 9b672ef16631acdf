"""What the workflows do, as `python -m spot.github.workflow VERB`: the command line, and what GitHub is told and asked.

Nothing may be open for long with supervise.yml switched off. So it is switched on before a run exists, and off last, by
a pass that has reported all and sees no open run. A submit that falls between those two is met from both sides: the
pass looks again after it has switched off, and the submit switches on again after the run is there.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spot.cli import main as command_line
from spot.config.settings import load
from spot.core.errors import Exit, SpotError
from spot.core.run import Observation, Run, RunState
from spot.github import issues, summary
from spot.github.api import GitHub, GitHubError
from spot.google import registry
from spot.storage.records.ledger import Ledger, UnknownRun
from spot.supervisor.project import ledger_of
from spot.supervisor.submit import SubmitError
from spot.supervisor.training_status import BucketStatus

RETRAIN, SUPERVISE, KEEP_ALIVE = "retrain.yml", "supervise.yml", "keep-alive.yml"
SETTINGS = Path("spot.toml")
AS_SET = "as in spot.toml"
"""The choice of a strategy that is none."""
_FLAGS = {
    "IMAGE": "--image",
    "STRATEGY": "--strategy",
    "DEADLINE_HOURS": "--deadline-hours",
    "BUDGET_USD": "--budget-usd",
    "REGIONS": "--regions",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Whatever goes wrong is one line, which GitHub shows on the page of the workflow's run."""
    verbs = {"find-image": find_image, "retrain": retrain, "supervise": supervise, "keep-alive": keep_alive}
    parser = argparse.ArgumentParser(prog="python -m spot.github.workflow", description="Run by .github/workflows.")
    parser.add_argument("verb", choices=verbs)
    try:
        return verbs[parser.parse_args(arguments).verb]()
    except SpotError as error:
        for line in error.lines:
            _annotate("error", line)
        return error.exit_code


def find_image() -> int:
    """Say how the image of this commit is called and built, and which one it is if it was pushed before."""
    name = f"{_needed('GCP_ARTIFACT_REPOSITORY')}/trainer"
    wanted = registry.parse(f"{name}:{_needed('GITHUB_SHA')}")
    found = ""
    try:
        found = f"{name}@{registry.ask_registry(wanted)}"
    except registry.ImageNotChecked:
        raise
    except registry.ImageError:
        print(f"{wanted} is not there yet: it is built now")
    build = "cuda" if load(SETTINGS).machine().accelerator else "cpu"
    _append("GITHUB_OUTPUT", f"host={wanted.host}\nname={name}\nimage={found}\nbuild={build}")
    return Exit.DONE


def retrain() -> int:
    """Submit a run with what was given to the workflow, and say what will become of it."""
    words = submit_words(os.environ)
    if "--dry-run" in words:
        code, plan = _spot(words)
        if plan is not None:
            _append("GITHUB_STEP_SUMMARY", summary.submitted(plan, None))
        return code
    github = GitHub.of_this_workflow()
    github.revive(RETRAIN)
    github.switch(SUPERVISE, on=True)
    if before := _begun_before():
        _append("GITHUB_STEP_SUMMARY", summary.submitted_before(before, datetime.now(UTC)))
        return Exit.DONE
    try:
        code, begun = _spot(words)
        if begun is not None:
            run = _ledger().find(begun["run"]).run
            _append("GITHUB_STEP_SUMMARY", summary.submitted(begun, run))
    finally:
        github.switch(SUPERVISE, on=True)
    return code


def supervise() -> int:
    """One pass over the open runs. Fails if a run has failed, or if the pass could not do its work."""
    github = GitHub.of_this_workflow()
    code, passes = _spot(["reconcile", "--json"])
    if passes is None:
        return code
    ledger, now = _ledger(), datetime.now(UTC)
    shown = _show(ledger, passes, now)
    failed = _report(ledger, [run for run, _, _ in shown if run.state is not RunState.OPEN], github, now)
    _switch_off_if_idle(ledger, github)
    for run_id in failed:
        _annotate("error", f"run {run_id} has failed: spot status {run_id}")
    if failed:
        return Exit.FAILED
    return Exit.USAGE if any(one["needs_operator"] for one in passes) else Exit.DONE


def keep_alive() -> int:
    """Keep GitHub from switching the schedule off, as it does in a public repository after 60 days without a commit."""
    github = GitHub.of_this_workflow()
    for workflow in (RETRAIN, KEEP_ALIVE):
        github.revive(workflow)
    return Exit.DONE


def submit_words(given: Mapping[str, str]) -> list[str]:
    """The command line of a submit. Nothing given is the rule: a schedule gives no inputs. Raises `SubmitError`."""
    words = ["submit", "--json"]
    for variable, flag in _FLAGS.items():
        value = given.get(variable, "").strip()
        if value and value != AS_SET:
            words.append(f"{flag}={value}")  # one word, so that no value can be taken for a flag
    if given.get("DRY_RUN") == "true":
        words.append("--dry-run")
    elif run_id := _run_id(given):
        words.append(f"--run={run_id}")
    try:
        trainer = shlex.split(given.get("ARGUMENTS", ""))
    except ValueError as error:
        raise SubmitError(
            f"the training arguments {given['ARGUMENTS']!r} have {error}: quote them as in a shell"
        ) from error
    return [*words, "--", *trainer] if trainer else words


def _run_id(given: Mapping[str, str]) -> str | None:
    """The same however often a run of the workflow is run again, so that it cannot begin two."""
    return f"gh-{given['GITHUB_RUN_ID']}" if given.get("GITHUB_RUN_ID") else None


def _begun_before() -> Run | None:
    """What this run of the workflow has submitted, if it is run again."""
    run_id = _run_id(os.environ)
    try:
        return _ledger().find(run_id).run if run_id else None
    except UnknownRun:
        return None


def _spot(words: Sequence[str]) -> tuple[int, Any]:
    """The exit code of the command line, and the JSON that it wrote; None if it wrote none."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = command_line.main(words)
    print(said.getvalue(), end="", flush=True)
    return code, json.loads(said.getvalue()) if said.getvalue() else None


def _show(
    ledger: Ledger, passes: Sequence[Mapping[str, Any]], now: datetime
) -> list[tuple[Run, Observation | None, str]]:
    """Write the summary of a pass; the runs that are in it."""
    problems = [f"{one['run']}: {one['problem']}" for one in passes if one["problem"]]
    shown = [_shown(ledger, one) for one in passes if one["state"] or not one["problem"]]
    _append("GITHUB_STEP_SUMMARY", summary.passed(shown, problems, now))
    for problem in problems:
        _annotate("warning", problem)
    return shown


def _shown(ledger: Ledger, passed: Mapping[str, Any]) -> tuple[Run, Observation | None, str]:
    run = ledger.find(passed["run"]).run
    try:
        return run, BucketStatus().observe(run), passed["waiting_for"]
    except SpotError:  # which the pass has said, if it needed it
        return run, None, passed["waiting_for"]


def _report(ledger: Ledger, ended: Sequence[Run], github: GitHub, now: datetime) -> list[str]:
    """See to the issues when a run has ended, or all have: which have failed, as far as nobody was told before."""
    failed = {run.id for run in ended if run.state is RunState.FAILED}
    if ended or not ledger.open_ids():
        runs = {run.id: run for run in [*issues.recent(ledger, now), *ended]}
        failed |= {run.id for run in issues.report([*runs.values()], github, now, workflow_run=_this_run())}
    return sorted(failed)


def _switch_off_if_idle(ledger: Ledger, github: GitHub) -> None:
    if not ledger.open_ids():
        github.switch(SUPERVISE, on=False)
        if ledger.open_ids():
            github.switch(SUPERVISE, on=True)


def _ledger() -> Ledger:
    return ledger_of(load(SETTINGS))


def _this_run() -> str:
    return f"{_needed('GITHUB_SERVER_URL')}/{_needed('GITHUB_REPOSITORY')}/actions/runs/{_needed('GITHUB_RUN_ID')}"


def _needed(variable: str) -> str:
    if value := os.environ.get(variable):
        return value
    raise GitHubError(f"{variable} is not set: GCP_ variables are set by infra/bootstrap.sh, the others by GitHub")


def _append(variable: str, text: str) -> None:
    """To one of the files that GitHub reads after the step."""
    with Path(_needed(variable)).open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")


def _annotate(kind: str, line: str) -> None:
    escaped = line.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    print(f"::{kind}::{escaped}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
