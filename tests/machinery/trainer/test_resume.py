"""Test that the lease is kept from its claim on, during a restore of any length."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spot.storage.base import Entry
from spot.storage.factory import open_store
from spot.storage.local import LocalStore
from spot.storage.records import lease, markers
from spot.trainer.checkpoint.resume import resume
from spot.trainer.context import Runtime, Saving, Start
from spot.trainer.device import Compute
from spot.trainer.runtime.flags import parse
from spot.trainer.runtime.signals import StopSignal
from spot.trainer.uploader.buffer import SharedBuffer
from spot.trainer.uploader.process import UploaderProcess
from tests.machinery.fixture_task import TASK
from tests.machinery.trainer.harness import fresh
from tests.machinery.trainer.test_lease_loss import QUICK, receives_request, until

RUN, ME, STANDBY = "run", "a2.1", "a3.1"


class SlowStore(LocalStore):
    """Delay the first listing after our claim until a standby has requested the lease and seen a heartbeat."""

    requested = False

    def list(self, prefix: str) -> list[Entry]:
        there = lease.look(self, RUN)
        if there and there.lease.holder == ME and not self.requested:
            self.requested = True
            lease.change(self, RUN, there, there.lease.requested_by(STANDBY))
            until(self.has_heartbeat)
        return super().list(prefix)

    def has_heartbeat(self) -> bool:
        held = lease.read(self, RUN)
        return held is not None and held.heartbeat > 0


@pytest.fixture
def saving(tmp_path: Path) -> Iterator[Saving]:
    store, buffer = SlowStore(str(tmp_path)), SharedBuffer()
    uploader = UploaderProcess(store.uri, buffer.fd, 3)
    markers.claim_start(store, RUN, "a2", {})
    yield Saving(store=store, buffer=buffer, uploader=uploader, start=1, name=ME)
    uploader.close()


@pytest.mark.parametrize("standby", [[], ["--standby", "a1"]])
def test_a_holder_sends_heartbeats_during_a_long_restore_and_receives_the_request_after_it(
    standby: list[str], saving: Saving, tmp_path: Path
) -> None:
    start = Start(
        task=TASK,
        flags=parse(["--run", RUN, "--attempt", "a2", "--device", "cpu", *standby], {}),
        outputs=open_store(str(tmp_path)),
        stop=StopSignal(),
        runtime=Runtime(timing=QUICK),
    )
    checkpointer = resume(start, saving, fresh(), Compute.choose(start.flags), ())
    assert checkpointer
    until(lambda: receives_request(checkpointer))
