"""Test that a container is preempted, resumed and refused like a process of the trainer."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.image.conftest import Training
from tests.image.engine import Container, Engine

pytestmark = pytest.mark.image
STEP = re.compile(r"step (\d+) of \d+ \(")


def test_a_stopped_container_saves_and_the_next_one_ends_with_the_same_model(
    training: Training, undisturbed: tuple[Training, Container]
) -> None:
    with training.start() as first:
        first.wait_for(STEP.search)
        assert first.stop(grace_s=15) == 143
        said = first.said()
    reached = max(int(step) for step in STEP.findall(said))
    saved = training.newest()
    assert saved
    assert saved.step >= reached
    assert f"step {saved.step}: durable, exiting" in said

    with training.start() as second:
        assert second.wait() == 0, second.said()
        assert f"step {saved.step} of {saved.total_steps}: resumed from" in second.said()

    other, container = undisturbed
    assert container.wait() == 0, container.said()
    assert training.result() == other.result()


def test_ranks_that_are_stopped_at_once_or_while_they_train_lose_nothing(training: Training) -> None:
    ranks = ("--ranks", "3", "--batch-size", "60", "--epochs", "4")
    with training.start(*ranks) as first:
        first.wait_for(lambda _: first.handles(signal.SIGTERM))
        assert first.stop(grace_s=15) == 143, first.said()
    assert training.newest() is None

    with training.start(*ranks) as second:
        second.wait_for(STEP.search)
        assert second.stop(grace_s=15) == 143, second.said()
    saved = training.newest()
    assert saved
    assert (saved.world, saved.step > 0) == (3, True)

    with training.start(*ranks, "--ranks", "1") as third:
        assert third.wait() == 0, third.said()
        assert f"step {saved.step} of {saved.total_steps}: resumed from" in third.said()


def test_a_shell_as_its_entry_point_would_keep_the_signal_to_itself(
    training: Training, engine: Engine, image: str, tmp_path: Path
) -> None:
    flags = [*training.flags, "--batch-size", "1"]  # so that no evaluation, after which the best is saved, comes first
    (tmp_path / "Containerfile").write_text(f"FROM {image}\nENTRYPOINT python -m task {' '.join(flags)}\n")
    engine.build(tmp_path, "localhost/trainer-in-a-shell")
    with training.start(image="localhost/trainer-in-a-shell", flags=False) as container:
        container.wait_for(STEP.search)
        assert container.stop(grace_s=1) == 137
    assert training.newest() is None


def test_a_wrong_flag_is_one_line_and_exit_code_2(engine: Engine, image: str) -> None:
    done = engine.command("podman", "run", "--rm", "--network", "host", image, "--epoch", "3", check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "trainer: '--epoch' is not a flag: did you mean --epochs? (python -m task --help lists the flags)\n"
    )
