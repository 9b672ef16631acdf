"""The real uploader uploads at the virtual end of an upload, and the lease is watched in virtual time."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from spot.demo.paced_uploader import UPLOAD_S, PacedUploader
from spot.demo.virtual_clock import VirtualClock
from spot.storage.base import Store
from spot.storage.factory import open_store
from spot.storage.records import lease
from spot.trainer.uploader.buffer import SharedBuffer
from spot.trainer.uploader.messages import (
    Declined,
    Durable,
    Event,
    Failed,
    Fault,
    HandOverRequested,
    KeepLease,
    LeaseTiming,
    Lost,
    Mirror,
    Mirrored,
    OfferLease,
    Released,
    Save,
    Withdraw,
)
from tests.machinery.trainer.leases import RUN, become, now
from tests.machinery.trainer.uploader.test_worker import content, draft_of, steps

DATA = b"weights" * 1000
HOLDER, STANDBY = "a1.1", "a2.1"
KEEP = KeepLease(run=RUN, name=HOLDER, timing=LeaseTiming(poll_s=5.0, heartbeat_s=20.0))


@dataclass
class Trainer:
    """The trainer's side of a paced uploader."""

    store: Store
    clock: VirtualClock
    buffer: SharedBuffer = field(default_factory=SharedBuffer)
    uploader: PacedUploader = field(init=False)

    def __post_init__(self) -> None:
        self.uploader = PacedUploader(self.clock, self.store.uri, self.buffer.fd, 2)

    def save(self, number: int) -> None:
        """Order a save of this number and step."""
        self.buffer.view(len(DATA))[: len(DATA)] = DATA
        self.uploader.send(Save(save=number, size=len(DATA), manifest=draft_of(number), prune=False))

    def hears(self, seconds: float) -> list[Event]:
        """Return the first events within this virtual time."""
        return list(self.uploader.receive(seconds))

    def keeps_the_lease(self) -> None:
        lease.claim(self.store, RUN, HOLDER)
        self.uploader.send(KEEP)

    def objects(self) -> list[str]:
        return [entry.name for entry in self.store.list("")]


@pytest.fixture
def trainer(clock: VirtualClock, tmp_path: Path) -> Iterator[Trainer]:
    trainer = Trainer(open_store(str(tmp_path / "store")), clock)
    yield trainer
    trainer.uploader.close()


def test_nothing_of_a_checkpoint_is_in_the_bucket_before_the_virtual_end_of_its_upload(trainer: Trainer) -> None:
    trainer.save(1)
    assert trainer.hears(UPLOAD_S - 0.1) == []
    assert trainer.objects() == []
    assert trainer.clock.status == {}

    assert trainer.hears(UPLOAD_S) == [Durable(save=1, step=1, seconds=UPLOAD_S)]
    assert trainer.clock.monotonic() == UPLOAD_S
    assert content(trainer.store, 1) == DATA
    assert trainer.clock.status == {"durable": 1}


def test_a_withdrawn_save_is_released_and_never_uploaded(trainer: Trainer) -> None:
    trainer.save(1)
    trainer.uploader.send(Withdraw(save=1))
    assert trainer.hears(0.0) == [Released(save=1)]
    trainer.save(2)
    assert trainer.hears(2 * UPLOAD_S) == [Durable(save=2, step=2, seconds=UPLOAD_S)]
    assert steps(trainer.store) == [2]


def test_withdrawing_an_older_save_keeps_the_newer_one(trainer: Trainer) -> None:
    trainer.save(1)
    trainer.hears(UPLOAD_S)
    trainer.save(2)
    trainer.uploader.send(Withdraw(save=1))
    assert trainer.hears(0.0) == [Released(save=1)]
    trainer.hears(UPLOAD_S)
    assert steps(trainer.store) == [2, 1]


def test_a_restart_drops_the_save_that_waits(trainer: Trainer) -> None:
    trainer.save(1)
    assert trainer.uploader.restart() == -signal.SIGKILL
    assert trainer.hears(2 * UPLOAD_S) == []
    assert trainer.objects() == []
    trainer.save(2)
    trainer.hears(UPLOAD_S)
    assert steps(trainer.store) == [2]


def test_a_save_that_fails_is_told_at_the_end_of_its_upload(clock: VirtualClock, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    trainer = Trainer(open_store(str(tmp_path / "store")), clock)
    trainer.save(1)
    [failed] = trainer.hears(UPLOAD_S)
    trainer.uploader.close()
    assert isinstance(failed, Failed)
    assert failed.fault == Fault.DENIED
    assert clock.monotonic() == UPLOAD_S
    assert clock.status == {}


def test_a_log_is_mirrored_in_no_time(trainer: Trainer, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("scalars")
    trainer.uploader.send(Mirror(path=str(tmp_path / "log"), directory=trainer.store.uri, name="logs/run"))
    assert trainer.hears(0.0) == [Mirrored(path=str(tmp_path / "log"))]
    assert trainer.clock.monotonic() == 0.0
    assert trainer.store.read("logs/run").data == b"scalars"


def test_the_lease_is_looked_at_in_virtual_time(trainer: Trainer) -> None:
    trainer.keeps_the_lease()
    become(trainer.store, now(trainer.store).requested_by(STANDBY))
    assert trainer.hears(KEEP.timing.poll_s - 0.1) == []
    assert trainer.hears(KEEP.timing.poll_s) == [HandOverRequested(successor=STANDBY)]
    assert trainer.clock.monotonic() == KEEP.timing.poll_s


def test_an_offer_is_made_at_once_and_has_a_virtual_end(trainer: Trainer) -> None:
    trainer.keeps_the_lease()
    become(trainer.store, now(trainer.store).requested_by(STANDBY))
    trainer.hears(KEEP.timing.poll_s)
    trainer.uploader.send(OfferLease(successor=STANDBY))
    assert trainer.hears(0.0) == []
    assert now(trainer.store).offered
    assert trainer.hears(2 * KEEP.timing.offer_s) == [Declined()]
    assert trainer.clock.monotonic() == KEEP.timing.poll_s + KEEP.timing.offer_s
    assert not now(trainer.store).offered


def test_a_second_command_to_keep_the_lease_changes_nothing(trainer: Trainer) -> None:
    trainer.keeps_the_lease()
    become(trainer.store, now(trainer.store).requested_by(STANDBY))
    trainer.hears(KEEP.timing.poll_s - 1.0)
    trainer.uploader.send(KEEP)
    assert trainer.hears(1.0) == [HandOverRequested(successor=STANDBY)]


def test_a_lost_lease_is_told_while_a_save_waits(trainer: Trainer) -> None:
    trainer.keeps_the_lease()
    trainer.save(1)
    lease.claim(trainer.store, RUN, STANDBY)
    assert trainer.hears(UPLOAD_S) == [Lost(holder=STANDBY)]
    assert trainer.clock.monotonic() == KEEP.timing.poll_s
    assert steps(trainer.store) == []
