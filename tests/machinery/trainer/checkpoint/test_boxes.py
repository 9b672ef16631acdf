"""Test that the ranks save each element once, and that any number of ranks reads what any other number saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.testing._internal.distributed.fake_pg import FakeStore

from spot.storage.base import Damaged
from spot.trainer.checkpoint.boxes import SPLIT_BYTES, Box, Saved, box_of, build, build_like, shape_of
from spot.trainer.checkpoint.serialize import StagingWriter, parse_boxes, state_name
from spot.trainer.uploader.buffer import SharedBuffer

WORLDS = st.integers(1, 5)
SHAPES = st.sampled_from([(), (0,), (0, 3), (1,), (7,), (3, 5), (1, 40_000), (4, 8192), (5, 8192), (67, 300, 2)])
DTYPES = st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool])


@st.composite
def states(draw: st.DrawFn) -> dict[str, Tensor]:
    """Return replicated tensors, of which some are large enough to be cut."""
    found = {}
    for index, (shape, dtype) in enumerate(draw(st.lists(st.tuples(SHAPES, DTYPES), min_size=1, max_size=4))):
        generator = torch.Generator().manual_seed(index)
        found[f"model.{index}"] = torch.randint(0, 100, shape, generator=generator).to(dtype)
    return found


def save(tensors: dict[str, Tensor], world: int) -> list[dict[str, Saved]]:
    """Return the boxes that each rank wrote, and a tensor of its own."""
    images = []
    for rank in range(world):
        buffer = SharedBuffer()
        own = {f"rank{rank}.generators": torch.full((rank + 1,), rank)}
        size = StagingWriter(buffer, rank, world).write({**own, **tensors}, b"%d" % rank)
        images.append(parse_boxes(buffer.view(size)[:size]))
    return images


def pieces(images: list[dict[str, Saved]], name: str) -> list[Saved]:
    return [image[name] for image in images if name in image]


@given(states(), WORLDS)
def test_the_ranks_together_save_each_element_once(tensors: dict[str, Tensor], world: int) -> None:
    for name, tensor in tensors.items():
        counts = torch.zeros(tensor.shape, dtype=torch.int64)
        for rank in range(world):
            if box := box_of(name, tensor, rank, world):
                counts[box.within(Box.whole(tensor.shape))] += 1
        assert counts.eq(1).all()


@given(states(), WORLDS)
def test_a_large_tensor_is_shared_evenly_and_a_buffer_is_rank_0s(tensors: dict[str, Tensor], world: int) -> None:
    for name, tensor in tensors.items():
        boxes = [box_of(name, tensor, rank, world) for rank in range(world)]
        if tensor.nbytes >= SPLIT_BYTES and tensor.shape[0] >= world:
            rows = [box.shape[0] for box in boxes if box]
            assert len(rows) == world
            assert max(rows) - min(rows) <= 1
        whole = [box_of(name, tensor, rank, world, split=False) for rank in range(world)]
        assert whole == [Box.whole(tensor.shape), *[None] * (world - 1)]


@given(states(), WORLDS)
def test_the_tensors_of_a_rank_are_saved_by_that_rank_alone(tensors: dict[str, Tensor], world: int) -> None:
    for rank, image in enumerate(save(tensors, world)):
        own = {name for name in image if name.startswith("rank")}
        assert own == {f"rank{rank}.generators", state_name(rank)}
        assert image[f"rank{rank}.generators"].values.tolist() == [rank] * (rank + 1)
        assert bytes(image[state_name(rank)].values.numpy()) == b"%d" % rank


@given(states(), WORLDS, WORLDS)
def test_any_number_of_ranks_reads_what_another_number_saved(
    tensors: dict[str, Tensor], world: int, others: int
) -> None:
    images = save(tensors, world)
    for name, tensor in tensors.items():
        saved = pieces(images, name)
        assert shape_of(saved) == tensor.shape
        assert torch.equal(build(saved, Box.whole(tensor.shape)), tensor)
        for rank in range(others):
            if box := box_of(name, tensor, rank, others):
                built = build(saved, box)
                assert built.dtype == tensor.dtype
                assert torch.equal(built, tensor[box.within(Box.whole(tensor.shape))])


@contextmanager
def sharded(tensors: dict[str, Tensor], rank: int, world: int) -> Iterator[dict[str, Tensor]]:
    """Be one rank of a group that never communicates, with tensors sharded as FSDP does."""
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=world)
    try:
        mesh = init_device_mesh("cpu", (world,))
        found: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            chunks = tensor.chunk(world)
            own = chunks[rank].clone() if rank < len(chunks) else tensor[:0].clone()
            found[name] = DTensor.from_local(own, mesh, [Shard(0)], shape=tensor.shape, stride=tensor.stride())
        found["replicated"] = DTensor.from_local(torch.arange(3), mesh, [Replicate()])
        yield found
    finally:
        dist.destroy_process_group()


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c"]),
        st.tuples(st.integers(1, 9), st.integers(1, 3)).map(torch.rand),
        min_size=1,
    ),
    st.integers(2, 5),
    st.integers(2, 5),
)
@settings(max_examples=20)
def test_shards_are_saved_once_and_restored_as_shards_of_another_size(
    tensors: dict[str, Tensor], world: int, others: int
) -> None:
    images = []
    for rank in range(world):
        with sharded(tensors, rank, world) as parts:
            buffer = SharedBuffer()
            size = StagingWriter(buffer, rank, world).write(parts, b"{}")
            images.append(parse_boxes(buffer.view(size)[:size]))
    assert [("replicated" in image) for image in images] == [True] + [False] * (world - 1)
    for name, tensor in tensors.items():
        assert torch.equal(build(pieces(images, name), Box.whole(tensor.shape)), tensor)
    for rank in range(others):
        with sharded(tensors, rank, others) as parts:
            for name in tensors:
                restored = build_like(pieces(images, name), parts[name])
                assert isinstance(restored, DTensor)
                assert restored.shape == parts[name].shape
                assert torch.equal(restored.to_local(), parts[name].to_local())  # type: ignore[attr-defined]


def test_boxes_that_miss_an_element_are_damage() -> None:
    first = Saved(box=Box(offset=(0, 0), shape=(2, 3)), values=torch.zeros(2, 3))
    last = Saved(box=Box(offset=(3, 0), shape=(2, 3)), values=torch.zeros(2, 3))
    with pytest.raises(Damaged, match=r"shape \(5, 3\) do not cover it once"):
        shape_of([first, last])
    with pytest.raises(Damaged, match="do not cover it once"):
        shape_of([first, first, last])
    with pytest.raises(Damaged, match="differ in their dimensions"):
        shape_of([first, Saved(box=Box.whole((2,)), values=torch.zeros(2))])
