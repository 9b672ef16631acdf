"""Test the checkpointer with its real uploader: one save at a time, each step once, durable when reported."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from spot.storage import paths
from spot.storage.base import Store
from spot.storage.paths import Upload
from spot.storage.records import lease, manifest
from spot.storage.records.manifest import Manifest
from spot.trainer.checkpoint.manager import CheckpointManager, Identity
from spot.trainer.checkpoint.restore import newest_good
from spot.trainer.runtime.errors import StartAgain
from spot.trainer.uploader.buffer import SharedBuffer
from spot.trainer.uploader.messages import LeaseTiming
from spot.trainer.uploader.process import UploaderProcess
from tests.machinery.clocks import ManualClock

PATIENCE_S = 60.0


@dataclass
class State:
    """Something to save."""

    step: int = 0
    score: float | None = None
    weights: Tensor = field(default_factory=lambda: torch.zeros(1000))
    buffers: frozenset[str] = frozenset()

    def capture(self) -> tuple[dict[str, Tensor], bytes]:
        return {"weights": self.weights}, f"{self.step}".encode()

    def describe(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "total_steps": 100,
            "epoch": 0,
            "steps_per_second": 1.0,
            "compute_seconds": float(self.step),
            "evaluation_seconds": 0.0,
            "longest_evaluation_seconds": 0.0,
            "evaluations_left": 0,
            "metrics": {},
            "score": self.score,
        }

    def advance(self, to: int) -> State:
        self.step = to
        self.weights.fill_(to)
        return self


Make = Callable[..., CheckpointManager]


@pytest.fixture
def uploaders() -> Iterator[list[UploaderProcess]]:
    made: list[UploaderProcess] = []
    yield made
    for uploader in made:
        uploader.close()


@pytest.fixture
def make(store: Store, uploaders: list[UploaderProcess]) -> Make:
    def made(*, start: int = 1, keep: int = 3, interval_s: float | None = None, **more: Any) -> CheckpointManager:
        buffer = SharedBuffer()
        uploaders.append(UploaderProcess(store.uri, buffer.fd, keep))
        return CheckpointManager(
            uploader=uploaders[-1],
            buffer=buffer,
            identity=Identity(run="run", attempt="a", start=start, config={}, data=()),
            token=lease.claim(store, "run", lease.process_name("a", start)).token,
            interval_s=interval_s,
            mean_time_between_preemptions_s=7200.0,
            restored=None,
            timing=LeaseTiming(),
            **more,
        )

    return made


def save_durably(checkpointer: CheckpointManager, state: State) -> None:
    checkpointer.save(state)
    end = time.monotonic() + PATIENCE_S
    while checkpointer.busy and time.monotonic() < end:
        checkpointer.poll(1.0)
    assert checkpointer.durable_step == state.step


def found(store: Store) -> tuple[int, float]:
    """The step and the weights that the next start would find."""

    def accept(_: Manifest) -> None: ...

    restored = newest_good(store, "run", SharedBuffer(), accept)
    assert restored is not None
    return int(restored.rest), float(restored.tensors["weights"].mean())


def test_what_is_durable_is_found_by_the_next_start(make: Make, store: Store) -> None:
    save_durably(make(), State().advance(7))
    assert found(store) == (7, 7.0)


@pytest.mark.parametrize("fixed_s", [None, 77.0])
def test_a_manifest_states_when_the_next_save_is_due(fixed_s: float | None, make: Make, store: Store) -> None:
    checkpointer = make(interval_s=fixed_s)
    save_durably(checkpointer, State().advance(7))
    newest = manifest.newest(store, "run")
    assert newest is not None
    assert newest.interval_seconds == pytest.approx(fixed_s or checkpointer.interval_s, rel=0.2)


def test_training_continues_while_a_snapshot_is_uploaded(make: Make, store: Store) -> None:
    checkpointer, state = make(), State(weights=torch.zeros(30_000_000)).advance(1)
    checkpointer.save(state)
    state.advance(2)
    while checkpointer.busy:
        checkpointer.poll(1.0)
    assert found(store) == (1, 1.0)


def test_only_one_save_is_in_flight(make: Make) -> None:
    checkpointer, state = make(), State()
    checkpointer.save(state.advance(1))
    assert not checkpointer.due()
    with pytest.raises(RuntimeError, match="in flight"):
        checkpointer.save(state.advance(2))


def test_a_step_is_committed_once(make: Make, store: Store) -> None:
    checkpointer, state = make(), State().advance(1)
    save_durably(checkpointer, state)
    state.weights.fill_(99)
    checkpointer.save(state)
    assert not checkpointer.busy
    assert found(store) == (1, 1.0)


def test_at_last_the_newest_state_is_durable_although_a_save_is_in_flight(make: Make, store: Store) -> None:
    checkpointer, state = make(), State(weights=torch.zeros(30_000_000))
    checkpointer.save(state.advance(1))
    assert checkpointer.final_save(state.advance(2), lambda: PATIENCE_S)
    assert found(store) == (2, 2.0)


def test_without_time_left_at_last_nothing_is_torn(make: Make, store: Store) -> None:
    checkpointer, state = make(), State()
    save_durably(checkpointer, state.advance(1))
    assert not checkpointer.final_save(state.advance(2), lambda: 0.0)
    assert found(store) == (1, 1.0)


def test_the_newest_and_the_best_are_kept_and_torn_uploads_are_not(make: Make, store: Store) -> None:
    torn = Upload(run="run", step=2, token=1, attempt="dead", start=1, save=1).part(0)
    future = Upload(run="run", step=50, token=1, attempt="alive", start=1, save=1).part(0)
    for name in (torn, future):
        store.write(name, b"part of an upload without a manifest", if_generation=0)
    checkpointer, state = make(keep=2), State()
    for step, score in ((1, 0.1), (2, 0.9), (3, 0.2), (4, 0.3), (5, None)):
        state.score = score
        save_durably(checkpointer, state.advance(step))
    _until(lambda: [commit.step for commit in manifest.commits(store, "run")] == [5, 4, 2])
    kept = {
        part.name for commit in manifest.commits(store, "run") for part in manifest.read(store, "run", commit).parts
    }
    _until(lambda: {entry.name for entry in store.list(paths.data("run"))} == kept | {future})


def test_a_killed_uploader_is_replaced_and_the_next_save_is_durable(
    make: Make, store: Store, uploaders: list[UploaderProcess]
) -> None:
    checkpointer, state = make(), State()
    save_durably(checkpointer, state.advance(1))
    first = uploaders[0].pid
    os.kill(first, signal.SIGKILL)
    assert checkpointer.final_save(state.advance(2), lambda: PATIENCE_S)
    assert uploaders[0].pid != first
    assert found(store) == (2, 2.0)


def test_an_uploader_that_cannot_live_ends_this_start(make: Make, uploaders: list[UploaderProcess]) -> None:
    checkpointer, state = make(), State().advance(1)

    def kill_and_save() -> None:
        os.kill(uploaders[0].pid, signal.SIGKILL)
        checkpointer.poll(1.0)
        if not checkpointer.busy:
            checkpointer.save(state)

    kill_and_save()
    kill_and_save()
    with pytest.raises(StartAgain, match="died 3 times without a checkpoint"):
        kill_and_save()


@pytest.mark.parametrize("uri", ["local"], indirect=True)
def test_refusals_for_ten_minutes_end_this_start_and_a_save_between_them_forgives(
    make: Make, store: Store, tmp_path: Path
) -> None:
    clock = ManualClock()
    checkpointer, state, folder = make(clock=clock), State(), Path(store.uri)

    def refused_after(seconds: float) -> None:
        clock.sleep(seconds)
        checkpointer.save(state.advance(state.step + 1))
        while checkpointer.busy:
            checkpointer.poll(1.0)

    save_durably(checkpointer, state.advance(1))
    folder.rename(tmp_path / "away")
    folder.write_text("a file in the place of the folder")
    for seconds in (100.0, 400.0, 199.0):
        refused_after(seconds)
    folder.unlink()
    (tmp_path / "away").rename(folder)
    save_durably(checkpointer, state.advance(10))
    folder.rename(tmp_path / "away")
    folder.write_text("a file in the place of the folder")
    refused_after(300.0)
    refused_after(599.0)
    with pytest.raises(StartAgain, match="refused 3 times in 600 s"):
        refused_after(1.0)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads /proc: needs Linux")
def test_the_uploader_does_not_load_torch(make: Make, uploaders: list[UploaderProcess]) -> None:
    save_durably(make(), State().advance(1))
    maps = Path(f"/proc/{uploaders[0].pid}/maps").read_text()
    assert "crc32c" in maps
    assert "torch" not in maps


def test_signals_to_the_group_do_not_end_the_uploader(make: Make, uploaders: list[UploaderProcess]) -> None:
    checkpointer = make()
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(uploaders[0].pid, number)
    before = uploaders[0].pid
    save_durably(checkpointer, State().advance(1))
    assert uploaders[0].pid == before


def test_a_save_is_due_when_the_interval_is_over_and_none_is_in_flight(make: Make) -> None:
    clock = ManualClock()
    checkpointer, state = make(interval_s=10.0, clock=clock), State().advance(1)
    assert not checkpointer.due()
    clock.sleep(10.0)
    assert checkpointer.due()
    checkpointer.save(state)
    clock.sleep(20.0)
    assert not checkpointer.due()
    while checkpointer.busy:
        checkpointer.poll(1.0)
    assert checkpointer.due()


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
