"""Cut tensors into boxes, each saved by one rank, and build tensors from the boxes of any number of ranks."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spot.storage.base import Damaged

RANK_NAME = re.compile(r"rank(\d{1,5})\..*", re.DOTALL)
"""Names of tensors that belong to one rank, such as the states of its generators."""
SPLIT_BYTES = 1 << 16
"""Replicated tensors of this size and more are cut by rows. Rank 0 saves smaller tensors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Describe a rectangular piece of a tensor."""

    offset: tuple[int, ...]
    shape: tuple[int, ...]

    @classmethod
    def whole(cls, shape: Iterable[int]) -> "Box":
        shape = tuple(shape)
        return cls(offset=(0,) * len(shape), shape=shape)

    @property
    def end(self) -> tuple[int, ...]:
        return tuple(offset + size for offset, size in zip(self.offset, self.shape, strict=True))

    def overlap(self, other: "Box") -> "Box | None":
        """Return the elements that both boxes hold, None if there are none."""
        offset = tuple(map(max, self.offset, other.offset))
        shape = tuple(end - start for start, end in zip(offset, map(min, self.end, other.end), strict=True))
        return Box(offset=offset, shape=shape) if all(size > 0 for size in shape) else None

    def within(self, outer: "Box") -> tuple[slice, ...]:
        """Return the index of this box in the tensor that holds `outer`."""
        starts = (own - base for own, base in zip(self.offset, outer.offset, strict=True))
        return tuple(slice(start, start + size) for start, size in zip(starts, self.shape, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """Hold a box and its values."""

    box: Box
    values: Tensor


def owner(name: str) -> int | None:
    """Return the rank that a tensor belongs to, None for a tensor of all ranks."""
    match = RANK_NAME.fullmatch(name)
    return int(match[1]) if match else None


def box_of(name: str, tensor: Tensor, rank: int, world: int, *, split: bool = True) -> Box | None:
    """Return the box that `rank` saves, None for nothing. The ranks together save each element once.

    A replicated tensor is cut only if `split`: the buffers of a module can differ between ranks, and rank 0's count.
    """
    if (own := owner(name)) is not None:
        return Box.whole(tensor.shape) if own == rank else None
    if is_sharded(tensor):
        return _shard_to_save(tensor)
    if split and world > 1 and tensor.nbytes >= SPLIT_BYTES and tensor.shape[0] >= world:
        first, last = (tensor.shape[0] * index // world for index in (rank, rank + 1))
        return Box(offset=(first, *[0] * (tensor.dim() - 1)), shape=(last - first, *tensor.shape[1:]))
    return Box.whole(tensor.shape) if rank == 0 else None


def is_sharded(tensor: Tensor) -> bool:
    """Return whether `tensor` is a `DTensor`, whose import takes a second."""
    return type(tensor) is not Tensor and hasattr(tensor, "to_local")


def local(tensor: Any) -> Tensor:
    """Return the values of this rank."""
    values: Tensor = tensor.to_local() if is_sharded(tensor) else tensor
    return values


def whole(tensor: Any) -> Tensor:
    """Return all values, which the ranks gather."""
    values: Tensor = tensor.full_tensor() if is_sharded(tensor) else tensor
    return values


def local_box(tensor: Any) -> Box:
    """Return the box of a sharded tensor that this rank holds."""
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    shape, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    return Box(offset=tuple(offset), shape=tuple(shape))


def shape_of(saved: Iterable[Saved]) -> tuple[int, ...]:
    """Return the shape of the tensor that these boxes cover. Raise `Damaged` if they do not."""
    boxes = [piece.box for piece in saved]
    if len({len(box.shape) for box in boxes}) != 1:
        raise Damaged("the boxes of a tensor differ in their dimensions")
    shape = tuple(map(max, zip(*(box.end for box in boxes), strict=True)))
    if math.prod(shape) != sum(math.prod(box.shape) for box in boxes):
        raise Damaged(f"the boxes of a tensor of shape {shape} do not cover it once")
    return shape


def build(saved: list[Saved], box: Box) -> Tensor:
    """Return the values of `box`: a view if one of the saved boxes is the same, else a copy."""
    for piece in saved:
        if piece.box == box:
            return piece.values
    built = torch.empty(box.shape, dtype=saved[0].values.dtype)
    for piece in saved:
        if common := piece.box.overlap(box):
            built[common.within(box)] = piece.values[common.within(piece.box)]
    return built


def build_like(saved: list[Saved], like: Any) -> Tensor:
    """Return this rank's part of a tensor, sharded as `like`, a `DTensor` of the same shape."""
    from torch.distributed.tensor import DTensor

    values = build(saved, local_box(like)).to(like.device, copy=True)
    return DTensor.from_local(values, like.device_mesh, like.placements, shape=like.shape, stride=like.stride())


def _shard_to_save(tensor: Any) -> Box | None:
    mesh = tensor.device_mesh
    replicas = [
        mesh.get_local_rank(axis) for axis, placement in enumerate(tensor.placements) if placement.is_replicate()
    ]
    box = local_box(tensor)
    return None if any(replicas) or (0 in box.shape and tensor.numel()) else box
