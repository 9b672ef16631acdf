"""Test that every measured way leaves a checkpoint of the last step that loads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
import torch
from google.cloud import storage
from torch import Tensor
from torch.distributed.checkpoint import _async_process_executor
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.state_dict_loader import load

from benchmarks import ours, ways
from benchmarks.shaped import Server
from benchmarks.ways import BUCKET, Name, Way
from benchmarks.workload import Workload
from spot.storage.factory import open_store
from spot.trainer.checkpoint import restore
from spot.trainer.uploader.buffer import SharedBuffer

SIZE = 2_000_000
DURABLE_S = 60.0


@pytest.fixture
def workload() -> Workload:
    return Workload(SIZE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture(
    params=[
        Name.ARTICLE,
        Name.DCP_THREAD,
        pytest.param(Name.DCP_PROCESS, marks=pytest.mark.chaos),
        pytest.param(Name.DCP_STREAMS, marks=pytest.mark.chaos),
        Name.OURS,
    ]
)
def name(request: pytest.FixtureRequest) -> Name:
    return Name(request.param)


@pytest.fixture
def way(
    name: Name,
    workload: Workload,
    folder: Path,
    server: Server,  # noqa: ARG001  # it must be up
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Way]:
    # PyTorch keeps one process for the life of the program, a test must have its own.
    monkeypatch.setattr(_async_process_executor, "_CHECKPOINT_PROCESS", None)
    way = ways.build(name, workload, folder, lambda: DURABLE_S)
    yield way
    way.close()


def test_the_checkpoint_left_after_a_stop_is_of_the_last_step(
    way: Way, name: Name, workload: Workload, server: Server, tmp_path: Path
) -> None:
    workload.step()
    way.save()
    end = time.monotonic() + DURABLE_S
    while way.busy() and time.monotonic() < end:
        time.sleep(0.01)
    workload.step()
    way.finish()
    found = read(name, workload, tmp_path / "downloaded")
    expected = workload.tensors()
    assert len(found) >= len(expected)
    for tensor in expected:
        assert any(tensor.shape == other.shape and torch.equal(tensor, other) for other in found)
    assert ways.commits(name, server.objects.acknowledged()[-1]["name"])


def read(name: Name, workload: Workload, folder: Path) -> list[Tensor]:
    """All tensors of the newest checkpoint, as the way's own users read it."""
    match name:
        case Name.ARTICLE:
            data = storage.Client().bucket(BUCKET).blob("article/checkpoint_latest.pt").download_as_bytes()
            return tensors_in(torch.load(BytesIO(data), weights_only=True))
        case Name.OURS:
            found = restore.newest_good(open_store(ours.URI), ours.RUN, SharedBuffer(), lambda _: None)
            assert found
            return [tensor.clone() for tensor in found.tensors.values()]
        case _:
            folder.mkdir()
            for blob in storage.Client().bucket(BUCKET).list_blobs(prefix=f"dcp/{workload.steps:010d}/"):
                blob.download_to_filename(str(folder / Path(blob.name).name))
            fresh = Workload(SIZE)
            state = {"model": fresh.model.state_dict(), "optimizer": fresh.optimizer.state_dict()}
            load(state, storage_reader=FileSystemReader(folder))
            return tensors_in(state)


def tensors_in(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return [tensor for item in value.values() for tensor in tensors_in(item)]
    return []
