"""Test that TensorBoard's logs reach their directory, and that a resume purges steps after its checkpoint."""

from __future__ import annotations

import signal
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c

from spot.storage.factory import open_store
from tests.machinery.trainer.conftest import Trainer
from tests.machinery.trainer.test_signals import ON_CLOUD_STORAGE, wait_for


def events(path: Path) -> list[Event]:
    """Return the records of an event file: each is length, checksum, data, checksum."""
    content, found = path.read_bytes(), []
    while content:
        size = int.from_bytes(content[:8], "little")
        data = content[12 : 12 + size]
        assert int.from_bytes(content[12 + size : 16 + size], "little") == masked_crc32c(data)
        found.append(Event.FromString(data))
        content = content[16 + size :]
    return found


@ON_CLOUD_STORAGE
def test_scalars_of_every_start_are_logged(trainer: Trainer, tmp_path: Path) -> None:
    logs = f"{trainer.uri}/logs"
    process = trainer.start("--tensorboard-dir", logs, "--epochs", "6")
    wait_for(process, r"step 3\d of")
    process.kill(signal.SIGTERM)
    assert process.wait() == 143
    assert trainer.start("--tensorboard-dir", logs, "--epochs", "6").wait() == 0
    store = open_store(logs)
    files = []
    for index, entry in enumerate(store.list("default/events.out.tfevents.")):
        files.append(tmp_path / str(index))
        files[-1].write_bytes(store.read(entry.name).data)
    first, second = map(events, files)
    tags = {value.tag for event in first + second for value in event.summary.value}
    assert {"train/loss", "held_out/loss", "held_out/accuracy", "train/learning_rate"} <= tags
    evaluated = [
        event.step for event in first + second for value in event.summary.value if value.tag == "held_out/accuracy"
    ]
    assert evaluated == [23, 46, 69, 92, 115, 138]
    [purge] = [event.step for event in second if event.HasField("session_log")]
    assert max(event.step for event in first) <= purge
