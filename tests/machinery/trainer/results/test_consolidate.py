"""Test that a checkpoint of many ranks becomes one folder that other tools read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load

from spot.storage.base import Store
from spot.storage.factory import open_store
from spot.storage.records import manifest
from spot.trainer.checkpoint.restore import read
from spot.trainer.results.consolidate import consolidate
from spot.trainer.runtime.errors import UsageError
from spot.trainer.uploader.buffer import SharedBuffer
from tests.machinery.trainer.checkpoint.test_ranks import RUN, start, trained


@pytest.fixture
def saved(tmp_path: Path) -> Store:
    """Save steps 1 and 2, on three ranks."""
    store = open_store(str(tmp_path / "store"))
    for number in (1, 2):
        start(store, 3, number, trained)
    return store


def whole(store: Store) -> dict[str, Tensor]:
    newest = manifest.newest(store, RUN)
    assert newest
    return read(store, newest, SharedBuffer()).tensors


def read_by_pytorch(folder: Path) -> dict[str, Tensor]:
    """Return what PyTorch's own reader finds in the files of a folder."""
    found = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    tensors = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in found.items()
        if isinstance(entry, TensorStorageMetadata)
    }
    load(tensors, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=True)
    return tensors


def test_pytorch_reads_the_exported_folder(saved: Store, tmp_path: Path) -> None:
    done = consolidate(saved, RUN, None, tmp_path / "out")
    assert (done.step, done.ranks, sorted(done.files)) == (2, 3, ["model.safetensors", "optimizer.safetensors"])
    found, expected = read_by_pytorch(tmp_path / "out"), whole(saved)
    assert {name for name in expected if not name.startswith("rank")} == found.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_pytorch_reads_the_shards_themselves(saved: Store, tmp_path: Path) -> None:
    newest = manifest.newest(saved, RUN)
    assert newest
    for rank, shard in enumerate(newest.shards):
        data = b"".join(saved.read(part.name).data for part in shard)
        (tmp_path / f"shard-{rank}.safetensors").write_bytes(data)
    found, expected = read_by_pytorch(tmp_path), whole(saved)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_step_is_chosen_or_named_as_missing(saved: Store, tmp_path: Path) -> None:
    assert consolidate(saved, RUN, 1, tmp_path / "first").step == 1
    first = load_file(tmp_path / "first" / "model.safetensors")
    assert not torch.equal(first["model.head.bias"], whole(saved)["model.head.bias"])
    with pytest.raises(UsageError, match=r"run run has no checkpoint of step 9: .* has steps 2, 1"):
        consolidate(saved, RUN, 9, tmp_path / "out")
    with pytest.raises(UsageError, match=r"run other has no checkpoint: .* has steps none"):
        consolidate(saved, "other", None, tmp_path / "out")


def test_a_folder_with_files_is_left_alone(saved: Store) -> None:
    with pytest.raises(UsageError, match="store is not empty"):
        consolidate(saved, RUN, None, Path(saved.uri))
