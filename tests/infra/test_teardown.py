"""Tear a project down, twice, with the real gcloud: nothing of others is touched."""

from __future__ import annotations

import copy

import pytest

from tests.infra.world import (
    BUCKET,
    CI,
    JOB,
    MADE_BY,
    NEIGHBOUR,
    POOL,
    ROLES,
    SCHEDULER,
    SOMEBODY,
    SUPERVISOR,
    THEIRS,
    TRAINING,
    Step,
    World,
)

pytestmark = pytest.mark.infra


@pytest.fixture(scope="module")
def refused(world: World, fresh: Step) -> Step:  # noqa: ARG001
    world.cloud.objects += [f"{BUCKET}/churn/runs/open/r1.json", f"{BUCKET}/churn/models/r0/model", THEIRS]
    return world.step("teardown.sh", "--yes", "--delete-data")


@pytest.fixture(scope="module")
def shared(world: World, refused: Step) -> Step:  # noqa: ARG001
    """Tear down with a shared training account and foreign objects in the bucket."""
    world.cloud.objects.remove(f"{BUCKET}/churn/runs/open/r1.json")
    world.cloud.accounts[TRAINING]["description"] = MADE_BY.format(33)
    return world.step("teardown.sh", "--yes", "--delete-data")


@pytest.fixture(scope="module")
def gone(world: World, shared: Step) -> Step:  # noqa: ARG001
    world.cloud.objects[:] = [f"{BUCKET}/churn/models/r0/model"]
    world.cloud.accounts[TRAINING]["description"] = MADE_BY.format(22)
    return world.step("teardown.sh", "--yes", "--delete-data")


@pytest.fixture(scope="module")
def still_gone(world: World, gone: Step, refused: Step) -> Step:  # noqa: ARG001
    """Tear down again, with the bucket and its objects restored."""
    world.cloud.buckets.update(copy.deepcopy(refused.cloud.buckets))
    world.cloud.objects[:] = [f"{BUCKET}/churn/models/r0/model"]
    return world.step("teardown.sh", "--yes")


def test_nothing_is_taken_down_while_a_run_is_open(refused: Step) -> None:
    assert refused.ended.code == 2
    assert refused.changes == []
    assert "run r1 is open: run spot cancel r1" in refused.ended.err


def test_taking_down_first_locks_github_out(shared: Step) -> None:
    assert shared.ended.code == 0, shared.ended.err
    assert shared.changes[0] == f"DELETE {POOL}"


def test_an_account_that_another_repository_made_stays_with_its_roles(shared: Step) -> None:
    assert shared.cloud.accounts.keys() == {TRAINING, NEIGHBOUR}
    kept = {role for role in ROLES if role[2] == f"serviceAccount:{TRAINING}"}
    assert shared.cloud.roles() == {SOMEBODY} | kept
    assert f"kept account {TRAINING}: created for another repository or by hand" in shared.ended.lines


def test_delete_data_deletes_below_the_prefix_alone(shared: Step) -> None:
    assert shared.cloud.objects == [THEIRS]
    assert f"kept bucket gs://{BUCKET}: other objects remain, such as others/a" in shared.ended.lines


def test_no_account_no_role_and_no_image_of_ours_is_left(gone: Step) -> None:
    assert gone.ended.code == 0, gone.ended.err
    assert gone.cloud.accounts.keys() == {NEIGHBOUR}
    assert gone.cloud.roles() == {SOMEBODY}
    assert gone.cloud.registries == {}
    left = gone.cloud
    assert [left.jobs, left.schedules, left.alerts, left.channels, left.metrics] == [{}] * 5


def test_a_bucket_that_is_empty_then_is_deleted_too(gone: Step) -> None:
    assert gone.cloud.buckets == {}
    assert gone.cloud.objects == []


def test_a_second_teardown_changes_nothing(still_gone: Step) -> None:
    assert still_gone.ended.code == 0, still_gone.ended.err
    assert still_gone.changes == []
    assert [line.split(":")[0] for line in still_gone.ended.lines] == [
        "gone identity pool github-22",
        f"gone schedule {JOB}",
        f"gone job {JOB}",
        f"gone alert policies {JOB}",
        f"gone alert channels {JOB}",
        f"gone metric {JOB}-paused",
        f"gone account {CI}",
        f"gone account {TRAINING}",
        f"gone account {SUPERVISOR}",
        f"gone account {SCHEDULER}",
        "gone images us-central1-docker.pkg.dev/acme-ml/github-22",
        "kept bucket gs",
        "kept APIs",
        "kept role github_22",
    ]


def test_what_is_stored_stays_without_delete_data(still_gone: Step) -> None:
    assert still_gone.cloud.objects == [f"{BUCKET}/churn/models/r0/model"]
    assert still_gone.cloud.buckets.keys() == {BUCKET}
