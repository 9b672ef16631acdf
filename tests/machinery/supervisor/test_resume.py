"""Test that a failed run continues as a new run: from its checkpoints, with its flags, and once only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from spot.core.clock import SystemClock
from spot.core.history import Parent
from spot.core.run import RunState
from spot.emulators.capacity import EmulatedCapacity
from spot.emulators.jobs import JobTable
from spot.storage import paths
from spot.storage.base import Damaged
from spot.storage.factory import open_store
from spot.storage.records import manifest
from spot.storage.records.codec import encode
from spot.storage.records.ledger import decode
from spot.supervisor.resume import resumed_id
from tests.machinery import samples
from tests.machinery.desk import AT_ONCE, IMAGE, WEEKLY, Desk
from tests.machinery.emulators.trainers import TrainerLauncher
from tests.machinery.fixture_task import MODULES, PACKAGE, STEPS_69
from tests.machinery.supervisor.test_submit import in_use
from tests.machinery.zygote import Zygote

AGAIN, THIRD = f"{WEEKLY}-r1", f"{WEEKLY}-r2"
FIXED = IMAGE.replace("0123", "4567")
SHORT = (*STEPS_69, "--log-interval", "0.001", "--checkpoint-interval", "0.01")
CRASHING = """
import sys
from tests.machinery.fixture_task.model import *
from tests.machinery.fixture_task import model
from spot.storage.factory import open_store
from spot.storage.records import manifest

directory, run = (sys.argv[sys.argv.index(flag) + 1] for flag in ("--checkpoint-dir", "--run"))
calls = 0


def training_step(network, batch):
    global calls
    calls += 1
    if calls > 40:
        while manifest.newest(open_store(directory), run) is None:
            pass
        raise ValueError("a bug in the eighth hour")
    return model.training_step(network, batch)
"""


def failed(desk: Desk, run_id: str = WEEKLY, *, step: int | None = 40) -> None:
    """Submit a run, or take up its first attempt, that fails after a checkpoint at `step`."""
    if run_id == WEEKLY:
        desk.submit(WEEKLY, "--deadline-hours", "12")
    if step is not None:
        desk.checkpoint(run_id, step, 100)
    desk.fail(run_id)
    assert desk.spot("reconcile", run_id).code == 1
    assert desk.run(run_id).state is RunState.FAILED


def flags_of(desk: Desk, run_id: str) -> dict[str, str]:
    [job] = desk.server.jobs.list("acme-ml", "us-east4", f'labels.run="{run_id}"').jobs
    args: Sequence[str] = job.request.spec["workerPoolSpecs"][0]["containerSpec"]["args"]
    return dict(zip(args[::2], args[1::2], strict=True))


def test_a_failed_run_continues_as_a_new_run_with_its_flags_and_a_new_deadline(desk: Desk) -> None:
    failed(desk)
    before = desk.run(WEEKLY)
    desk.settings({"training.epochs": "99"})
    said = desk.spot("resume", WEEKLY, "--image", FIXED, "--deadline-hours", "6")
    assert said.code == 0, said.err
    new = desk.run(AGAIN)
    assert new.parent
    assert (new.parent.run, new.parent.checkpoints) == (WEEKLY, WEEKLY)
    assert new.parent.usd == pytest.approx(0.0, abs=0.01)
    assert (new.state, new.spec.image, new.spec.arguments) == (RunState.OPEN, FIXED, before.spec.arguments)
    assert new.spec.deadline - new.submitted_at == timedelta(hours=6)
    flags = flags_of(desk, AGAIN)
    assert (flags["--run"], flags["--from-run"], flags["--epochs"]) == (AGAIN, WEEKLY, "20")
    assert desk.run(WEEKLY) == before
    for shown in (said, desk.spot("status", AGAIN)):
        assert ["resumes", WEEKLY] in [line.split() for line in shown.out.splitlines()]


def test_a_resumed_run_is_compared_with_the_model_in_use_now(desk: Desk) -> None:
    old = in_use(desk, "20261101-first")
    failed(desk)
    assert flags_of(desk, WEEKLY)["--champion"] == old
    new = in_use(desk, "20261108-second")
    assert desk.spot("resume", WEEKLY).code == 0
    assert flags_of(desk, AGAIN)["--champion"] == new != old


def test_a_deadline_is_planned_with_the_work_left(desk: Desk) -> None:
    failed(desk, step=95)
    too_short = ("--deadline-hours", "1", "--strategy", "hybrid")
    assert desk.spot("submit", *too_short).code == 2
    said = desk.spot("resume", WEEKLY, *too_short)
    assert said.code == 0, said.err
    assert desk.run(AGAIN).attempts[0].from_step == 95
    [one] = desk.spot("reconcile", AGAIN, "--json").json["runs"]
    assert one["step"] == 95


def test_the_steps_of_the_parent_are_no_progress_of_the_new_run(desk: Desk) -> None:
    failed(desk)
    desk.spot("resume", WEEKLY)
    desk.spot("reconcile", AGAIN)
    [attempt] = desk.run(AGAIN).attempts
    assert (attempt.id, attempt.advanced_at, attempt.saved_at) == ("a1", None, None)


def test_the_report_names_the_parent_and_what_it_cost(desk: Desk) -> None:
    failed(desk)
    desk.spot("resume", WEEKLY)
    failed(desk, AGAIN)
    desk.spot("resume", AGAIN)
    report = desk.spot("report", THIRD, "--json").json
    costs = [desk.spot("report", run_id, "--json").json["usd"] for run_id in (WEEKLY, AGAIN)]
    assert (report["parent"], report["parent_usd"]) == (AGAIN, pytest.approx(sum(costs), abs=1e-3))
    assert f"resumes        run {AGAIN}, which cost at most $" in desk.spot("report", THIRD).out
    assert desk.spot("report", WEEKLY, "--json").json["parent"] is None


def test_a_new_run_that_fails_before_its_first_checkpoint_passes_on_those_of_its_parent(desk: Desk) -> None:
    failed(desk)
    desk.spot("resume", WEEKLY)
    failed(desk, AGAIN, step=None)
    assert desk.spot("resume", AGAIN).code == 0
    parent = desk.run(THIRD).parent
    assert parent
    assert (parent.run, parent.checkpoints) == (AGAIN, WEEKLY)
    assert flags_of(desk, THIRD)["--from-run"] == WEEKLY
    desk.checkpoint(THIRD, 60, 100)
    desk.fail(THIRD)
    desk.spot("reconcile", THIRD)
    desk.spot("resume", THIRD)
    assert flags_of(desk, f"{WEEKLY}-r3")["--from-run"] == THIRD


def test_a_repeated_command_starts_no_second_run_and_names_the_first(desk: Desk) -> None:
    failed(desk)
    desk.spot("resume", WEEKLY)
    said = desk.spot("resume", WEEKLY, "--image", FIXED)
    assert (said.code, said.out) == (2, "")
    told = f"spot: run {WEEKLY} was resumed as run {AGAIN}, which is"
    assert said.err == f"{told} open (fix: spot status {AGAIN})\n"
    assert desk.jobs_of(AGAIN) == 1
    failed(desk, AGAIN)
    assert desk.spot("resume", WEEKLY).err == f"{told} failed (fix: spot resume {AGAIN})\n"


def test_a_dry_run_shows_the_plan_and_records_nothing(desk: Desk) -> None:
    failed(desk)
    before = desk.objects()
    said = desk.spot("resume", WEEKLY, "--dry-run", "--json")
    assert said.code == 0, said.err
    assert said.json["plan"]["run"] == AGAIN
    assert desk.objects() == before


def test_a_cancelled_run_can_be_resumed_under_another_id(desk: Desk) -> None:
    desk.submit(WEEKLY)
    desk.checkpoint(WEEKLY, 40, 100)
    desk.spot("cancel", WEEKLY)
    assert desk.spot("resume", WEEKLY, "--run", f"{WEEKLY}-fixed").code == 0
    assert flags_of(desk, f"{WEEKLY}-fixed")["--from-run"] == WEEKLY


def refusal(desk: Desk, run_id: str) -> str:
    before = desk.objects()
    said = desk.spot("resume", run_id)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert desk.objects() == before
    return said.err.removeprefix("spot: ").rstrip()


def test_what_cannot_be_resumed_is_refused_in_one_sentence(desk: Desk) -> None:
    assert refusal(desk, "nope").startswith("there is no run nope in gs://")
    desk.submit(WEEKLY)
    assert refusal(desk, WEEKLY) == f"run {WEEKLY} is open and resumes automatically (fix: spot status {WEEKLY})"
    desk.fail(WEEKLY)
    desk.spot("reconcile", WEEKLY)
    assert refusal(desk, WEEKLY) == f"run {WEEKLY} has no checkpoint: submit a new run (fix: spot submit)"
    done = f"{WEEKLY}-2"
    desk.submit(done)
    desk.complete(done)
    desk.spot("reconcile", done)
    assert refusal(desk, done) == f"run {done} has succeeded: submit a new run (fix: spot submit)"


@pytest.mark.parametrize(("before", "after"), [("r", "r-r1"), ("r-r1", "r-r2"), ("r-r9", "r-r10"), ("r-rx", "r-rx-r1")])
def test_the_id_of_a_resume_follows_from_that_of_the_run(before: str, after: str) -> None:
    assert resumed_id(before) == after


def ran(desk: Desk, trainers: TrainerLauncher, run_id: str, *verb: str) -> int:
    """Run a verb and the trainer of its job, and return the exit code of the reconcile after its end."""
    desk.server.jobs = JobTable(EmulatedCapacity(), trainers, SystemClock(), AT_ONCE)
    said = desk.spot(*verb)
    assert said.code == 0, said.err
    desk.job(run_id)
    trainers.started[-1].process.wait()
    return desk.spot("reconcile", run_id).code


@pytest.mark.chaos
def test_a_trainer_that_crashes_and_a_fixed_one_end_with_the_weights_of_an_uninterrupted_run(
    desk: Desk, zygote: Zygote, tmp_path: Path
) -> None:
    (tmp_path / "crashing").mkdir()
    (tmp_path / "crashing/__init__.py").touch()
    (tmp_path / "crashing/model.py").write_text(CRASHING)
    (tmp_path / "crashing/__main__.py").write_text(
        f"from spot.trainer import entry; entry(**{MODULES | {'model': 'crashing.model'}!r})"
    )
    crashing, fixed = (TrainerLauncher(zygote, package, tmp_path) for package in ("crashing", PACKAGE))
    whole, flags = f"{WEEKLY}-whole", ("--", "--device", "cpu", *SHORT)
    assert ran(desk, fixed, whole, "submit", "--run", whole, *flags) == 0
    assert ran(desk, crashing, WEEKLY, "submit", "--run", WEEKLY, *flags) == 1
    assert desk.run(WEEKLY).state is RunState.FAILED
    left = manifest.newest(open_store(f"{desk.root}/checkpoints"), WEEKLY)
    assert left
    assert ran(desk, fixed, AGAIN, "resume", WEEKLY, "--image", FIXED) == 0
    new = desk.run(AGAIN)
    assert new.state is RunState.SUCCEEDED
    [attempt] = new.attempts
    assert attempt.from_step == left.step > 0
    models = open_store(f"{desk.root}/models")
    for name in (paths.MODEL, paths.METRICS):
        assert models.read(f"{AGAIN}/{name}").data == models.read(f"{whole}/{name}").data


@pytest.mark.parametrize(
    "change", [{"run": "../champion"}, {"checkpoints": "a/../b"}, {"checkpoints": "$(id)"}, {"usd": 1e999}, {"usd": -1}]
)
def test_a_hostile_parent_is_damage(change: dict[str, Any]) -> None:
    parent: dict[str, Any] = {"run": "r1", "checkpoints": "r1", "usd": 1.5}
    record = encode(samples.run(parent=Parent(**parent)))
    assert decode(record, "object").parent == Parent(**parent)
    values = json.loads(record)
    values["parent"] |= change
    with pytest.raises(Damaged, match="object is not the record of a run"):
        decode(json.dumps(values).encode(), "object")
