"""Test that the checkpointer hands over the exact state to a standby, or training continues."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spot.storage.base import ABSENT, Store
from spot.storage.factory import open_store
from spot.storage.paths import Upload
from spot.storage.records import lease, manifest
from spot.storage.records.lease import Lease, LeaseLost
from spot.trainer.checkpoint.manager import CheckpointManager, Identity
from spot.trainer.checkpoint.standby import Standby
from spot.trainer.runtime.signals import StopSignal
from spot.trainer.uploader.buffer import SharedBuffer
from spot.trainer.uploader.messages import LeaseTiming
from spot.trainer.uploader.process import UploaderProcess
from tests.machinery.proxy import Fault, Proxy, Request
from tests.machinery.trainer.checkpoint.test_manager import PATIENCE_S, State, found
from tests.machinery.trainer.faults import is_part

RUN, ME, STANDBY = "run", "a.1", "b.1"
QUICK = LeaseTiming(poll_s=0.01, heartbeat_s=0.05, offer_s=0.1, dead_s=60.0)
PATIENT = LeaseTiming(poll_s=0.01, heartbeat_s=0.05, offer_s=60.0, dead_s=60.0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a local store: other tests cover what the kinds have in common."""
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def uploader(store: Store, buffer: SharedBuffer) -> Iterator[UploaderProcess]:
    process = UploaderProcess(store.uri, buffer.fd, 3)
    yield process
    process.close()


@pytest.fixture
def buffer() -> SharedBuffer:
    return SharedBuffer()


def requested_by_standby(
    store: Store, uploader: UploaderProcess, buffer: SharedBuffer, timing: LeaseTiming
) -> CheckpointManager:
    """Return a checkpointer that has received the request of a standby."""
    token = lease.claim(store, RUN, ME).token
    become(store, lambda held: held.requested_by(STANDBY))
    checkpointer = CheckpointManager(
        uploader=uploader,
        buffer=buffer,
        identity=Identity(run=RUN, attempt="a", start=1, config={}, data=()),
        token=token,
        timing=timing,
        interval_s=1000.0,
        mean_time_between_preemptions_s=7200.0,
        restored=None,
    )
    until(lambda: receives_request(checkpointer))
    return checkpointer


def receives_request(checkpointer: CheckpointManager) -> bool:
    checkpointer.poll(0.1)
    return checkpointer.wanted


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def held(store: Store) -> Lease:
    there = lease.read(store, RUN)
    assert there
    return there


def become(store: Store, change: Callable[[Lease], Lease]) -> None:
    """Change the lease as the standby does."""
    there = lease.look(store, RUN)
    assert there
    lease.change(store, RUN, there, change(there.lease))


def accept(store: Store) -> threading.Thread:
    """Accept the lease in a thread, once it is offered."""
    standby = Standby(store, RUN, STANDBY, PATIENT, replaces="a")
    thread = threading.Thread(target=lambda: until(lambda: standby.look() is not None), daemon=True)
    thread.start()
    return thread


def test_the_exact_state_is_handed_over(store: Store, uploader: UploaderProcess, buffer: SharedBuffer) -> None:
    checkpointer = requested_by_standby(store, uploader, buffer, PATIENT)
    standby = accept(store)
    with pytest.raises(LeaseLost, match=r"handed over to b\.1 at step 7"):
        checkpointer.hand_over(State().advance(7), StopSignal())
    standby.join(PATIENCE_S)
    assert found(store) == (7, 7.0)


def test_training_continues_after_an_offer_that_is_not_accepted_and_the_pause_is_recorded(
    store: Store, uploader: UploaderProcess, buffer: SharedBuffer
) -> None:
    checkpointer, state = requested_by_standby(store, uploader, buffer, QUICK), State()
    checkpointer.hand_over(state.advance(7), StopSignal())
    assert not checkpointer.wanted
    assert held(store) == Lease(token=1, holder=ME, heartbeat=held(store).heartbeat)
    assert checkpointer.final_save(state.advance(8), lambda: PATIENCE_S)
    newest = manifest.newest(store, RUN)
    assert newest
    assert (newest.step, newest.saving_seconds >= QUICK.offer_s) == (8, True)


def test_a_stop_ends_the_wait_and_leaves_the_offer(
    store: Store, uploader: UploaderProcess, buffer: SharedBuffer
) -> None:
    checkpointer, stop = requested_by_standby(store, uploader, buffer, PATIENT), StopSignal()
    stop._request(signal.SIGTERM)
    checkpointer.hand_over(State().advance(7), stop)
    assert found(store) == (7, 7.0)
    until(lambda: held(store).offered)


def test_training_continues_after_a_failed_save_and_offers_after_the_next(
    store: Store, uploader: UploaderProcess, buffer: SharedBuffer
) -> None:
    checkpointer, state = requested_by_standby(store, uploader, buffer, PATIENT), State()
    store.write(
        Upload(run=RUN, step=7, token=1, attempt="a", start=1, save=1).part(0), b"in the way", if_generation=ABSENT
    )
    checkpointer.hand_over(state.advance(7), StopSignal())
    assert (checkpointer.wanted, checkpointer.busy, checkpointer.durable_step) == (False, False, None)
    assert not held(store).offered
    checkpointer.save(state.advance(8))
    until(lambda: receives_request(checkpointer))
    standby = accept(store)
    with pytest.raises(LeaseLost, match=r"handed over to b\.1 at step 9"):
        checkpointer.hand_over(state.advance(9), StopSignal())
    standby.join(PATIENCE_S)


def test_training_continues_before_the_save_is_durable_if_the_standby_withdraws(
    gs_uri: str, proxy: Proxy, buffer: SharedBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, resumed = open_store(gs_uri), threading.Event()

    def withdrawn_and_slow(request: Request) -> Fault | None:
        if is_part(request):
            until(lambda: held(store).heartbeat > 0)  # afterwards the holder only reads the lease
            become(store, Lease.without_request)
            resumed.wait(PATIENCE_S)
        return None

    proxy.rule = withdrawn_and_slow
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
    uploader = UploaderProcess(gs_uri, buffer.fd, 3)
    checkpointer = requested_by_standby(
        store, uploader, buffer, LeaseTiming(poll_s=0.01, heartbeat_s=60.0, offer_s=60.0, dead_s=60.0)
    )
    checkpointer.hand_over(State().advance(7), StopSignal())
    assert (checkpointer.wanted, checkpointer.busy) == (False, True)
    resumed.set()
    checkpointer.settle(PATIENCE_S)
    assert checkpointer.durable_step == 7
    assert not held(store).offered
    uploader.close()


def test_the_checkpointer_raises_once_the_uploader_reports_a_lost_lease(
    store: Store, uploader: UploaderProcess, buffer: SharedBuffer
) -> None:
    checkpointer = requested_by_standby(store, uploader, buffer, PATIENT)
    lease.claim(store, RUN, "c.1")
    with pytest.raises(LeaseLost, match=r"process c\.1 holds the lease of run run"):
        until(lambda: not receives_request(checkpointer))


def test_a_restarted_uploader_repeats_the_offer(store: Store, uploader: UploaderProcess, buffer: SharedBuffer) -> None:
    checkpointer = requested_by_standby(store, uploader, buffer, PATIENT)

    def kill_and_accept() -> None:
        until(lambda: held(store).offered)
        first = uploader.pid
        os.kill(first, signal.SIGKILL)
        until(lambda: uploader.pid != first)
        accept(store)

    standby = threading.Thread(target=kill_and_accept, daemon=True)
    standby.start()
    with pytest.raises(LeaseLost, match=r"handed over to b\.1 at step 7"):
        checkpointer.hand_over(State().advance(7), StopSignal())
    standby.join(PATIENCE_S)
