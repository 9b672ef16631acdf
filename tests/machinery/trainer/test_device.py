"""Test the order of the calls to a GPU, with a stand-in on the CPU, and that one module makes all calls of CUDA."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spot.core.errors import Exit
from spot.trainer import device
from spot.trainer.checkpoint import device_copy
from spot.trainer.checkpoint.serialize import StagingWriter, parse
from spot.trainer.device import Compute
from spot.trainer.runtime.errors import StartAgain, UsageError
from spot.trainer.runtime.flags import parse as parse_flags
from spot.trainer.uploader import buffer
from spot.trainer.uploader.buffer import GROWTH, SharedBuffer
from tests.machinery.trainer.queued_gpu import QueuedGpu, mapped
from tests.paths import SRC

SMALL = 1 << 16
VERSION = """\
NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024
GCC version:  Selected multilib: .;@m64
"""


@pytest.fixture(scope="module", autouse=True)
def small_segments() -> object:
    """Let a small checkpoint have many segments."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (buffer, device_copy):
            patch.setattr(module, "SEGMENT", SMALL)
        yield


def state(*sizes: int, offset: float = 0.0) -> dict[str, Tensor]:
    """Return tensors of the GPU with these sizes, and a few of main memory."""
    made = {f"gpu{n}": torch.arange(size, dtype=torch.float32) + offset for n, size in enumerate(sizes)}
    return made | {"step": torch.tensor(7), "transposed": torch.arange(6).view(2, 3).T}


def image(writer: StagingWriter, shared: SharedBuffer, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    size = writer.write(tensors, b"{}")
    return parse(shared.view(size)[:size])[0]


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


sizes = st.lists(st.integers(0, 3 * SMALL), min_size=1, max_size=5)


@settings(max_examples=30)
@given(st.lists(sizes, min_size=1, max_size=4))
def test_every_checkpoint_is_whole_when_write_returns_and_training_may_change_the_state(
    saves: list[list[int]],
) -> None:
    """The stand-in copies late and poisons first, and refuses a copy across segments and memory registered twice."""
    shared, gpu = SharedBuffer(), QueuedGpu()
    writer = StagingWriter(shared, gpu=gpu)
    for wanted in saves:
        for offset in (0.0, 1.0):
            tensors = state(*wanted, offset=offset)
            found = image(writer, shared, tensors)
            for tensor in tensors.values():
                tensor.zero_()
            assert same(found, state(*wanted, offset=offset))
            assert gpu.calls[-1] == "wait"
    assert all(length <= SMALL for length in gpu.registered.values())


def test_a_tensor_that_is_not_contiguous_crosses_segments_as_well() -> None:
    shared, gpu = SharedBuffer(), QueuedGpu()
    source = torch.rand(300, 500).T
    assert same(image(StagingWriter(shared, gpu=gpu), shared, {"x": source}), {"x": source})
    assert gpu.copied > 300 * 500 * 4 // SMALL


def test_the_whole_buffer_is_registered_once_and_its_pages_exist_by_then() -> None:
    shared = SharedBuffer()
    written = []

    class Watching(QueuedGpu):
        def pin(self, address: int, size: int) -> None:
            written.append(os.fstat(shared.fd).st_blocks * 512)
            super().pin(address, size)

    gpu = Watching()
    writer = StagingWriter(shared, gpu=gpu)
    for _ in range(3):
        image(writer, shared, state(5 * SMALL))
    size = os.fstat(shared.fd).st_size
    assert sum(gpu.registered.values()) == size
    assert set(written) == {size}
    assert len(written) == len(gpu.registered) == gpu.calls.count("pin")


def test_memory_is_unregistered_before_the_buffer_is_mapped_anew() -> None:
    shared, gpu = SharedBuffer(), QueuedGpu()
    writer = StagingWriter(shared, gpu=gpu)
    image(writer, shared, state(10))
    first = dict(gpu.registered)
    writer._layout = None  # nothing but the buffer refers to the old mapping
    shared.view(os.fstat(shared.fd).st_size + GROWTH)
    assert not gpu.registered
    assert gpu.calls.count("unpin") == len(first)
    image(writer, shared, state(10))
    assert all(mapped(address, size) for address, size in gpu.registered.items())


def test_memory_that_cannot_be_registered_is_one_warning_and_the_checkpoint_is_still_whole(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shared, gpu = SharedBuffer(), QueuedGpu(limit=3 * SMALL)
    writer = StagingWriter(shared, gpu=gpu)
    with caplog.at_level(logging.WARNING):
        for size in (5 * SMALL, 5 * SMALL, 50 * SMALL):
            assert same(image(writer, shared, state(size)), state(size))
            assert not gpu.registered
    assert [record.getMessage() for record in caplog.records] == [
        "2.1 MB of memory cannot be pinned (CUDA error 2): each checkpoint stalls training several times longer"
    ]
    assert gpu.calls.count("pin") == gpu.calls.count("unpin") + 1


def test_nothing_is_registered_for_a_state_in_main_memory() -> None:
    shared, gpu = SharedBuffer(), QueuedGpu()
    image(StagingWriter(shared, gpu=gpu), shared, {"step": torch.tensor(7)})
    assert gpu.calls == ["wait"]


def test_an_empty_buffer_is_not_registered() -> None:
    gpu = QueuedGpu()
    SharedBuffer().pin(gpu)
    assert gpu.calls == []


def test_one_module_makes_all_calls_of_cuda() -> None:
    callers = {
        path.relative_to(SRC).as_posix()
        for path in SRC.rglob("*.py")
        if re.search(r"torch\.cuda|\.is_cuda|cudart|from torch import cuda", path.read_text())
    }
    assert callers == {"spot/trainer/device.py"}


@pytest.mark.parametrize(
    ("cuda", "needed"),
    [
        ("13.0", "its CUDA 13.0 needs R580 or newer"),
        ("12.6", "its CUDA 12.6 needs R525 or newer"),
        (None, "its CUDA none needs a build with CUDA"),
    ],
)
def test_a_driver_that_is_too_old_is_no_missing_gpu_and_another_machine_is_tried(
    cuda: str | None, needed: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(device, "DRIVER", tmp_path / "version")
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    flags = parse_flags(["--device", "cuda"], {})
    with pytest.raises(UsageError, match="finds no GPU on this machine"):
        Compute.choose(flags)
    (tmp_path / "version").write_text(VERSION)
    with pytest.raises(
        StartAgain, match=rf"cannot use the GPU with the NVIDIA driver 535\.183\.01: {needed}"
    ) as raised:
        Compute.choose(flags)
    assert raised.value.exit_code is Exit.AGAIN
