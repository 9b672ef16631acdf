"""Test a retraining through the workflows: submitted, supervised to its end, and reported."""

from __future__ import annotations

from datetime import timedelta

import pytest

from spot.core.run import Outcome, Provisioning, RunState, Strategy
from spot.storage.factory import open_store
from tests.workflows.act import VARIABLES, Act, lines
from tests.workflows.cloud import Cloud

pytestmark = pytest.mark.workflows

TRAINER = f"{VARIABLES['GCP_ARTIFACT_REPOSITORY']}/trainer"
BUILT = f"{TRAINER}@sha256:{7:064d}"
"""The digest that the emulated build pushes."""


def test_a_scheduled_run_completes_despite_a_preemption_and_supervise_is_on_while_it_is_open(
    team: Cloud,
    act: Act,
) -> None:
    submitted = act.run("retrain.yml", "schedule")
    assert submitted.succeeded, submitted.log
    run = team.only_run()
    assert (run.spec.image, run.spec.arguments, run.spec.policy.strategy) == (
        BUILT,
        ("--data", "sample", "--epochs", "20"),
        Strategy.HYBRID,
    )
    assert run.spec.deadline - run.submitted_at == timedelta(hours=12)
    assert f"## Run {run.id}" in submitted.summary
    assert "submit spot in us-east4" in submitted.summary
    assert "console.cloud.google.com/vertex-ai/locations/us-east4/training/" in submitted.summary
    assert team.github.states == {"retrain.yml": "active", "supervise.yml": "active"}

    team.checkpoint(400)
    team.preempt()
    after_preemption = act.run("supervise.yml")
    assert after_preemption.succeeded, after_preemption.log
    attempts = team.only_run().attempts
    assert [(one.outcome, one.from_step) for one in attempts] == [(Outcome.PREEMPTED, 0), (None, 400)]
    assert "400 of 1,000 steps" in after_preemption.summary
    assert "a1 spot preempted :crit, " in after_preemption.summary

    between = act.run("supervise.yml")
    assert between.succeeded, between.log
    assert team.only_run().attempts[-1].outcome is None
    assert "a2 spot running :active, " in between.summary
    assert team.github.states["supervise.yml"] == "active"

    team.complete()
    last = act.run("supervise.yml")
    assert last.succeeded, last.log
    assert team.ledger.open_ids() == []
    closed = team.ledger.find(run.id).run
    assert closed.state is RunState.SUCCEEDED
    assert [one.outcome for one in closed.attempts] == [Outcome.PREEMPTED, Outcome.SUCCEEDED]
    assert "✅ succeeded" in last.summary
    assert team.creates() == 2
    assert team.github.calls == [
        "PUT actions/workflows/retrain.yml/enable",
        "PUT actions/workflows/supervise.yml/enable",
        "PUT actions/workflows/supervise.yml/enable",
        "PUT actions/workflows/supervise.yml/disable",
    ]
    assert team.github.tokens == {"Bearer a-token-of-github"}


def test_a_dispatch_submits_its_inputs_with_the_existing_image(team: Cloud, act: Act) -> None:
    team.push(act.commit, f"sha256:{9:064d}")
    name = "two words; $(touch pwned) `touch pwned`#7"
    open_store(team.uri).write(name, b"data", if_generation=0)
    data = f"{team.uri}/{name}"
    inputs = {
        "strategy": "on-demand",
        "deadline_hours": "6.5",
        "budget_usd": "40",
        "regions": "us-east4,us-central1",
        "arguments": f"--epochs 30 --data '{data}'",
        "dry_run": "false",
    }
    done = act.run("retrain.yml", "workflow_dispatch", inputs=inputs)
    assert done.succeeded, done.log
    run = team.only_run()
    policy = run.spec.policy
    assert run.spec.image == f"{TRAINER}@sha256:{9:064d}"
    assert lines(act.builds) == []
    assert (policy.strategy, policy.regions, policy.budget_usd) == (Strategy.ON_DEMAND, ("us-east4", "us-central1"), 40)
    assert run.spec.deadline - run.submitted_at == timedelta(hours=6.5)
    assert run.spec.arguments == ("--data", data, "--epochs", "30")
    assert (run.attempts[0].provisioning, run.attempts[0].region) == (Provisioning.ON_DEMAND, "us-east4")
    assert not list(act.repository.rglob("pwned"))


def test_a_dispatch_with_default_inputs_submits_the_values_of_spot_toml(team: Cloud, act: Act) -> None:
    team.push(act.commit, f"sha256:{9:064d}")
    empty = dict.fromkeys(("deadline_hours", "budget_usd", "regions", "arguments"), "")
    done = act.run(
        "retrain.yml", "workflow_dispatch", inputs={**empty, "strategy": "as in spot.toml", "dry_run": "false"}
    )
    assert done.succeeded, done.log
    assert team.only_run().spec.policy.strategy is Strategy.HYBRID
    assert team.only_run().spec.arguments == ("--data", "sample", "--epochs", "20")


def test_a_dry_run_shows_the_plan_and_the_request_and_changes_nothing(team: Cloud, act: Act) -> None:
    done = act.run("retrain.yml", "workflow_dispatch", inputs={"dry_run": "true", "strategy": "spot"})
    assert done.succeeded, done.log
    assert "Dry run: no run was submitted" in done.summary
    assert '"strategy": "SPOT"' in done.summary
    assert (team.ledger.open_ids(), team.vertex.calls, team.github.calls) == ([], [], [])


def test_the_image_is_built_for_the_commit_and_pushed(act: Act) -> None:
    done = act.run("retrain.yml", "workflow_dispatch", inputs={"dry_run": "true"})
    assert done.succeeded, done.log
    assert lines(act.builds)[:5] == [
        "push=true",
        f"tags={TRAINER}:{act.commit}",
        "BUILD=cuda",
        f"COMMIT={act.commit}",
        "REPOSITORY=https://github.com/acme/churn",
    ]
    assert lines(act.installs) == ["install --require-hashes --no-deps --only-binary :all: -r locks/spot.txt"] * 2
    [freed] = lines(act.as_root)
    assert freed.startswith("rm -rf /usr/local/lib/android ")


def test_a_repeated_submit_starts_no_second_run(team: Cloud, act: Act) -> None:
    team.push(act.commit, f"sha256:{9:064d}")
    assert act.run("retrain.yml").succeeded
    again = act.run("retrain.yml", again=True)
    assert again.succeeded, again.log
    assert "Submitted before" in again.summary
    assert team.creates() == 1
    assert team.only_run().id.endswith("-gh1")
    assert lines(act.as_root) == []


def test_a_failed_run_fails_one_reconcile_and_opens_one_issue_which_a_later_success_closes(
    team: Cloud, act: Act
) -> None:
    team.push(act.commit, f"sha256:{9:064d}")
    assert act.run("retrain.yml").succeeded
    failed = team.only_run().id
    team.checkpoint(400)
    team.crash()
    pass_that_sees_it = act.run("supervise.yml")
    assert not pass_that_sees_it.succeeded
    assert team.ledger.find(failed).run.state is RunState.FAILED
    [issue] = team.github.issues
    assert (issue["title"], issue["state"]) == (f"Retraining {failed} failed", "open")
    assert "exited with a non-zero status of 1" in issue["body"]
    assert "https://github.com/acme/churn/actions/runs/" in issue["body"]
    assert "❌ failed" in pass_that_sees_it.summary
    assert team.github.states["supervise.yml"] == "disabled_manually"

    asked_again = act.run("supervise.yml", "workflow_dispatch")
    assert asked_again.succeeded, asked_again.log
    assert len(team.github.issues) == 1

    assert act.run("retrain.yml", "workflow_dispatch", inputs={"resume": failed}).succeeded
    assert team.github.states["supervise.yml"] == "active"
    later = team.only_run().id
    assert later == f"{failed}-r1"
    team.complete()
    assert act.run("supervise.yml").succeeded
    [issue] = team.github.issues
    assert (issue["state"], issue["comments"]) == ("closed", [f"Run `{later}` has succeeded since."])
    assert team.github.states["supervise.yml"] == "disabled_manually"


def test_a_reconcile_without_open_runs_calls_no_vertex_ai_and_disables_itself(team: Cloud, act: Act) -> None:
    done = act.run("supervise.yml")
    assert done.succeeded, done.log
    assert "No run is open" in done.summary
    assert team.vertex.calls == []
    assert team.github.calls == ["PUT actions/workflows/supervise.yml/disable"]


def test_a_refused_submit_fails_with_the_reason_and_leaves_no_run(team: Cloud, act: Act) -> None:
    team.push(act.commit, f"sha256:{9:064d}")
    done = act.run("retrain.yml", "workflow_dispatch", inputs={"deadline_hours": "1", "strategy": "hybrid"})
    assert not done.succeeded
    assert done.jobs == {"image": "success", "submit": "failure"}
    assert "cannot be met" in done.log
    assert (team.ledger.open_ids(), team.vertex.calls) == ([], [])


def test_before_the_set_up_schedules_do_nothing_and_a_dispatch_names_what_is_missing(team: Cloud, act: Act) -> None:
    for workflow in ("retrain.yml", "supervise.yml"):
        assert act.run(workflow, variables={}).succeeded
    assert (team.github.calls, team.vertex.calls, lines(act.installs)) == ([], [], [])
    asked = act.run("retrain.yml", "workflow_dispatch", variables={})
    assert not asked.succeeded
    assert "run infra/bootstrap.sh" in asked.log


def test_once_a_month_the_schedule_is_kept_alive_unless_a_user_disabled_it(team: Cloud, act: Act) -> None:
    team.github.states = {"retrain.yml": "disabled_inactivity", "supervise.yml": "disabled_manually"}
    assert act.run("keep-alive.yml").succeeded
    assert team.github.states == {
        "retrain.yml": "active",
        "keep-alive.yml": "active",
        "supervise.yml": "disabled_manually",
    }
    team.github.states["retrain.yml"] = "disabled_manually"
    assert act.run("keep-alive.yml").succeeded
    assert team.github.states["retrain.yml"] == "disabled_manually"


def test_ci_runs_its_sessions_and_on_a_pull_request_builds_the_image_without_pushing_it(act: Act) -> None:
    assert act.run("ci.yml", "push").succeeded
    sessions = {line.removeprefix("-s ") for line in lines(act.sessions)}
    assert sessions == {"lint", "types", "tests", "rehearse"}
    assert lines(act.builds) == []
    assert act.run("ci.yml", "pull_request").succeeded
    assert lines(act.builds)[:3] == ["push=false", "tags=", "BUILD=cpu"]
