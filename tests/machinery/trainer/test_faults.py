"""Test that any fault of the store leaves the same model, or ends the start with one clear line and no loss."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from dataclasses import replace

import psutil
import pytest
import requests

from spot.storage.factory import open_store
from tests.machinery.each import each
from tests.machinery.proxy import Answer, Fault, LostReply, Proxy, Request, Reset, Slow, Truncate, never
from tests.machinery.trainer.conftest import Trainer
from tests.machinery.trainer.faults import (
    SLOWLY,
    Faulty,
    Result,
    assert_complete,
    error_line,
    is_commit,
    is_part,
    second,
)
from tests.machinery.zygote import TrainerProcess, Zygote

FAULTS: dict[str, Fault] = {
    "answer 429": Answer(429),
    "reset": Reset(),
    "answer 500": Answer(500),
    "truncated reply": Truncate(3),
    "lost reply": LostReply(),
    "reset in the body": Reset(5000),
    "answer 503": Answer(503),
    "empty reply": Truncate(0),
}


@pytest.fixture
def faulty(zygote: Zygote, gs_uri: str, proxy: Proxy) -> Faulty:
    return Faulty(Trainer(zygote, gs_uri), proxy)


def test_every_kind_of_transient_fault_in_turn_leaves_no_trace(faulty: Faulty, undisturbed: Result) -> None:
    faults = itertools.cycle(FAULTS.values())
    faulty.proxy.rule = lambda request: next(faults) if request.number % 4 == 0 else None
    assert faulty.start().wait() == 0
    assert len(faulty.proxy.requests) > 3 * len(FAULTS)
    faulty.assert_undisturbed(undisturbed)


@pytest.mark.chaos
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_bursts_of_one_fault_leave_no_trace(fault: Fault, faulty: Faulty, undisturbed: Result) -> None:
    faulty.proxy.rule = lambda request: fault if request.number % 9 < 3 else None
    assert faulty.start().wait(300) == 0
    faulty.assert_undisturbed(undisturbed)


@pytest.mark.chaos
def test_a_slow_server_changes_nothing(faulty: Faulty, undisturbed: Result) -> None:
    faulty.proxy.rule = each(Slow(1e6))
    assert faulty.start().wait() == 0
    faulty.assert_undisturbed(undisturbed)


@pytest.mark.chaos
def test_requests_to_a_server_that_is_down_for_a_while_are_retried(faulty: Faulty, undisturbed: Result) -> None:
    """The server fails 20 requests, which takes half a minute of retries with back-off."""
    down, commits = iter(range(20)), itertools.count(1)
    failing = False

    def rule(request: Request) -> Fault | None:
        nonlocal failing
        failing = failing or (is_commit(request) and next(commits) == 2)
        return Reset() if failing and next(down, None) is not None else None

    faulty.proxy.rule = rule
    process = faulty.start()
    assert process.wait(300) == 0
    assert next(down, None) is None
    assert "retrying" in process.output
    faulty.assert_undisturbed(undisturbed)


def test_a_stop_while_the_server_is_down_keeps_to_its_grace_and_leaves_the_last_checkpoint(
    faulty: Faulty, undisturbed: Result
) -> None:
    commits = itertools.count(1)
    down = False

    def rule(request: Request, process: Callable[[], TrainerProcess]) -> Fault | None:
        nonlocal down
        if is_commit(request) and next(commits) == 2:
            down = True
            process().kill(signal.SIGTERM)
        return Reset() if down else None

    assert faulty.start_with(rule, "--grace", "1").wait() == 143
    faulty.proxy.rule = each(Reset(), count=0)
    assert len(faulty.steps()) == 1
    faulty.assert_continues(undisturbed)


def test_a_commit_with_a_lost_reply_counts(faulty: Faulty, undisturbed: Result) -> None:
    faulty.proxy.rule = second(is_commit, LostReply())
    process = faulty.start()
    assert process.wait() == 0, process.output + process.errors
    assert "not saved" not in process.output
    faulty.assert_undisturbed(undisturbed)


def test_single_refusals_of_a_store_that_accepted_a_save_leave_no_trace(faulty: Faulty, undisturbed: Result) -> None:
    refusals = [400, 401, 403, 404, 409]
    accepted = False

    def rule(request: Request) -> Fault | None:
        nonlocal accepted
        if not is_commit(request):
            return None
        accepted = not accepted
        return None if accepted or not refusals else Answer(refusals.pop(), "no")

    faulty.proxy.rule = rule
    slow = replace(faulty.trainer, env={"STORAGE_EMULATOR_HOST": faulty.proxy.url, "STEP_S": "0.1"})
    process = slow.start("--checkpoint-interval", "0.01")
    assert process.wait() == 0, process.output + process.errors
    assert refusals == []
    assert process.output.count("checkpoint not saved") == 5
    faulty.assert_undisturbed(undisturbed)


@pytest.mark.parametrize("where", [pytest.param(is_part, marks=pytest.mark.chaos), is_commit])
def test_a_permission_lost_for_good_ends_the_start_and_not_the_run(
    where: Callable[[Request], bool], faulty: Faulty, undisturbed: Result
) -> None:
    reason, requested = "robot@example.com does not have storage.objects.create access", itertools.count(1)
    faulty.proxy.rule = each(Answer(403, reason), where=lambda request: where(request) and next(requested) > 1)
    line = error_line(faulty.start(**SLOWLY), 75)
    assert f"403 {reason}" in line
    assert "refused 5 times" in line
    faulty.proxy.rule = never
    faulty.assert_continues(undisturbed)


def test_a_store_that_refuses_every_save_is_a_configuration_error(faulty: Faulty) -> None:
    faulty.proxy.rule = each(Answer(403, "no access"), where=is_part)
    assert "403 no access; refused 5 times" in error_line(faulty.start(**SLOWLY), 2)
    assert faulty.steps() == []


def test_results_refused_after_a_save_are_written_by_the_next_start(faulty: Faulty, undisturbed: Result) -> None:
    faulty.proxy.rule = each(Answer(403, "no access"), where=lambda request: request.name.endswith("metrics.json"))
    assert "403 no access" in error_line(faulty.start(**SLOWLY), 75)
    faulty.proxy.rule = never
    faulty.assert_continues(undisturbed)


def test_a_bucket_deleted_during_training_ends_it_with_the_name_of_the_bucket(
    zygote: Zygote, emulator_url: str, proxy: Proxy
) -> None:
    buckets = f"{emulator_url}/storage/v1/b"
    requests.post(buckets, json={"name": "doomed"}, timeout=60).raise_for_status()
    store = open_store("gs://doomed")

    def delete_bucket() -> None:
        for entry in store.list(""):
            store.delete(entry.name)
        requests.delete(f"{buckets}/doomed", timeout=60).raise_for_status()

    proxy.rule = each(LostReply(delete_bucket), where=is_commit, count=1)
    assert "bucket gs://doomed does not exist" in error_line(Faulty(Trainer(zygote, "gs://doomed"), proxy).start(), 2)


def kill_uploader(process: TrainerProcess) -> Fault:
    """Kill the uploader during its request."""
    for child in psutil.Process(process.pid).children():
        if "spot.trainer.uploader.worker" in child.cmdline():
            os.kill(child.pid, signal.SIGKILL)
    return Reset()


def test_a_killed_uploader_is_restarted(faulty: Faulty, undisturbed: Result) -> None:
    parts = itertools.count(1)

    def rule(request: Request, process: Callable[[], TrainerProcess]) -> Fault | None:
        return kill_uploader(process()) if is_part(request) and next(parts) == 2 else None

    process = faulty.start_with(rule)
    assert process.wait() == 0, process.output + process.errors
    assert "the uploader died with exit code -9: restarted" in process.output
    faulty.assert_undisturbed(undisturbed)


def test_an_uploader_that_dies_repeatedly_ends_the_start_and_not_the_run(faulty: Faulty, undisturbed: Result) -> None:
    commits = itertools.count(1)

    def rule(request: Request, process: Callable[[], TrainerProcess]) -> Fault | None:
        return kill_uploader(process()) if is_commit(request) and next(commits) > 1 else None

    assert "the uploader died 3 times without a checkpoint, last with exit code -9" in error_line(
        faulty.start_with(rule, **SLOWLY), 75
    )
    faulty.assert_continues(undisturbed)


def test_the_uploader_does_not_outlive_a_killed_trainer(faulty: Faulty) -> None:
    uploaders: list[psutil.Process] = []

    def rule(request: Request, process: Callable[[], TrainerProcess]) -> Fault | None:
        if is_part(request) and not uploaders:
            uploaders.extend(psutil.Process(process().pid).children())
            process().kill(group=False)
        return Slow(1e5) if uploaders else None

    assert faulty.start_with(rule, **SLOWLY).wait() == -signal.SIGKILL
    gone, alive = psutil.wait_procs(uploaders, timeout=60)
    assert (len(gone), alive) == (1, [])
    assert_complete(faulty.checkpoints)
