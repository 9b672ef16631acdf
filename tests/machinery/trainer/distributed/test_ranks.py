"""Test ranks as processes: a stop, a failure and the end of any rank; each run trains on bit for bit."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from spot.storage.factory import open_store
from spot.storage.records import markers
from tests.machinery.trainer.conftest import Trainer
from tests.machinery.trainer.distributed.ranks import Ranks, start
from tests.machinery.trainer.test_signals import ended, wait_for
from tests.machinery.zygote import Zygote

FLAGS = ("--device", "cpu", "--batch-size", "24", "--max-steps", "40", "--model.blocks", "2", "--ema", "0.9")
FSDP, DDP = (*FLAGS, "--parallel", "fsdp"), (*FLAGS, "--parallel", "ddp")
SHORT = json.dumps({"vote_s": 1.0, "collective_s": 3.0, "rendezvous_s": 60.0})
EACH = pytest.mark.parametrize(
    ("world", "flags"),
    [
        pytest.param(2, FSDP, id="2-fsdp"),
        pytest.param(3, FSDP, id="3-fsdp", marks=pytest.mark.chaos),
        pytest.param(3, DDP, id="3-ddp", marks=pytest.mark.chaos),
    ],
)


@pytest.fixture
def trainer(zygote: Zygote, tmp_path: Path) -> Trainer:
    return Trainer(zygote, str(tmp_path / "store"))


def complete(ranks: Ranks) -> None:
    codes = ranks.wait()
    assert set(codes) == {0}, ranks.text


@EACH
def test_a_stop_of_one_rank_saves_all_and_the_next_start_continues(
    trainer: Trainer, tmp_path: Path, world: int, flags: tuple[str, ...]
) -> None:
    undisturbed = Trainer(trainer.zygote, str(tmp_path / "undisturbed"))
    complete(start(undisturbed, world, *flags))
    ranks = start(trainer, world, *flags, "--checkpoint-interval", "1000")
    wait_for(ranks[0], r"step 20 of")
    ranks[world - 1].kill(signal.SIGTERM)
    assert ranks.wait() == [143] * world, ranks.text
    newest = trainer.newest()
    assert newest
    assert newest.step >= 20
    marker = ended(trainer)
    assert (marker["exit_code"], marker["reason"]) == (143, "stopped")
    assert markers.count_starts(open_store(f"{trainer.uri}/checkpoints"), "default") == 1, "rank 0 alone announces"
    again = start(trainer, world, *flags)
    complete(again)
    assert f"step {newest.step} of 40: resumed" in again[0].output
    assert trainer.result() == undisturbed.result()
    assert not [other.output for other in again.processes[1:] if "INFO" in other.output], "only rank 0 reports"


def test_a_killed_rank_makes_the_others_start_again(trainer: Trainer) -> None:
    ranks = start(trainer, 2, *FSDP)
    wait_for(ranks[0], r"checkpoint durable")
    ranks[1].kill(signal.SIGKILL)
    assert ranks.wait() == [75, -9], ranks.text
    marker = ended(trainer)
    assert marker["exit_code"] == 75
    assert str(marker["reason"]).startswith("rank 0 lost another rank: ")


def test_a_killed_rank_0_makes_the_others_start_again(trainer: Trainer) -> None:
    ranks = start(trainer, 2, *FSDP)
    wait_for(ranks[0], r"step 5 of")
    ranks[0].kill(signal.SIGKILL)
    assert ranks.wait() == [-9, 75], ranks.text


def test_a_frozen_rank_is_left_at_the_timeout(trainer: Trainer) -> None:
    ranks = start(trainer, 2, *FSDP, PEERS=SHORT)
    wait_for(ranks[0], r"step 5 of")
    ranks[1].kill(signal.SIGSTOP)
    assert ranks[0].wait() == 75, ranks.text
    ranks[1].kill(signal.SIGKILL)


FAILING = """
import os
from tests.machinery.fixture_task.model import *
from tests.machinery.fixture_task import model
count = 0
def training_step(model_, batch):
    global count
    count += 1
    if os.environ["RANK"] == os.environ["FAILS"] and count == 5:
        raise ValueError("labels are wrong")
    return model.training_step(model_, batch)
"""
FAILING_MAIN = """
from spot.trainer import entry
from tests.machinery.fixture_task import MODULES
entry(**{**MODULES, "model": "failing.model"})
"""


@pytest.mark.parametrize("fails", [0, 1])
def test_a_bug_in_one_rank_is_the_reason_of_the_run(trainer: Trainer, tmp_path: Path, fails: int) -> None:
    package = tmp_path / "failing"
    package.mkdir()
    for name, text in (("__init__", ""), ("__main__", FAILING_MAIN), ("model", FAILING)):
        (package / f"{name}.py").write_text(text)
    failing = Trainer(trainer.zygote, trainer.uri, package="failing", folder=tmp_path)
    ranks = start(failing, 2, *FSDP, FAILS=str(fails))
    assert ranks.wait() == [1, 1], ranks.text
    assert ended(trainer)["exit_code"] == 1
    assert str(ended(trainer)["reason"]).endswith("labels are wrong")
    assert str(ended(trainer)["reason"]).startswith(f"rank {fails}: " if fails else "labels")
    assert re.search(r"trainer: (rank 1: )?labels are wrong", ranks[0].errors)


def test_a_rank_that_waits_for_the_others_ends_at_once_on_a_signal(trainer: Trainer) -> None:
    ranks = start(trainer, 2, *FSDP, only=[0])
    ranks.wait_until_rank_0_waits()
    ranks[0].kill(signal.SIGTERM)
    assert ranks.wait() == [143], ranks.text
    assert ended(trainer)["reason"] == "stopped"


def test_a_rank_that_never_comes_is_named(trainer: Trainer) -> None:
    ranks = start(trainer, 3, *FSDP, only=[0, 2], PEERS=json.dumps({"rendezvous_s": 2.0}))
    assert set(ranks.wait()) == {75}, ranks.text
    assert ended(trainer)["reason"] == "rank 1 did not start within 2 s"


def test_a_framework_that_owns_the_loop_is_refused_on_several_ranks(trainer: Trainer, tmp_path: Path) -> None:
    (tmp_path / "folder_task.py").write_text(
        "from spot.trainer import Session, entry\n"
        "def main():\n"
        "    with Session.from_environment() as session:\n"
        "        session.folder('x')\n"
        "if __name__ == '__main__':\n"
        "    entry(loop='folder_task')\n"
    )
    own = Trainer(trainer.zygote, trainer.uri, package="folder_task", folder=tmp_path)
    ranks = start(own, 2, "--device", "cpu")
    assert ranks.wait() == [2, 2], ranks.text
    assert "trainer: session.folder() saves one rank, and there are 2: use --ranks 1" in ranks[0].errors


@pytest.mark.chaos
def test_ranks_hand_over_to_the_ranks_of_a_standby(trainer: Trainer, tmp_path: Path) -> None:
    flags = (*FSDP, "--max-steps", "200", "--epochs", "20", "--checkpoint-interval", "1")
    holder = start(trainer, 2, *flags, "--attempt", "a1", LEASE_SPEED="10")
    wait_for(holder[0], r"checkpoint durable")
    standby = start(trainer, 2, *flags, "--attempt", "a2", "--standby", "a1", LEASE_SPEED="10", STEP_S="0")
    handed = holder.wait()
    assert set(handed) == {75}, holder.text
    complete(standby)
    step = re.search(r"handed over to \S+ at step (\d+)", holder[0].errors)
    assert step
    assert f"step {step[1]} of 200: resumed from the checkpoint of run default attempt a1" in standby[0].output
    undisturbed = Trainer(trainer.zygote, str(tmp_path / "undisturbed"))
    complete(start(undisturbed, 2, *flags, STEP_S="0"))
    assert trainer.result() == undisturbed.result()
