"""Serialize a checkpoint as a safetensors file in a shared buffer.

Format: 8 bytes with the header's length, a JSON header padded with spaces, the tensors without gaps
(https://github.com/huggingface/safetensors#format). An extra tensor of bytes, `rank<n>.state.json`, holds all other
values. Each rank writes such a file; the header names the offsets of its boxes as PyTorch's distributed checkpoints do.
"""

import json
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spot.storage.base import Damaged
from spot.trainer.checkpoint.boxes import Box, Saved, box_of, local
from spot.trainer.checkpoint.device_copy import Copier
from spot.trainer.device import Gpu
from spot.trainer.uploader.buffer import SharedBuffer

SHARDING = "DCP_SHARDING_INFO"
SPARE_BYTES = 1 << 16
"""The growth of `state.json` that the layout allows before it is computed again."""

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
}
_NAMES = {name: dtype for dtype, name in _DTYPES.items()}

Signature = tuple[tuple[str, torch.dtype, torch.Size], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    signature: Signature
    targets: dict[str, tuple[Tensor, slice | None]]
    """Where each tensor is copied to, and the rows of it if not all values of this rank."""
    header: str
    """The header up to the entry of the state, which differs each time."""
    header_size: int
    data_size: int
    room: int


def state_name(rank: int) -> str:
    """Return the name of the bytes that hold all values of a rank except for tensors."""
    return f"rank{rank}.state.json"


class StagingWriter:
    """Write the snapshots of one rank into one buffer, with one copy per tensor while the shapes stay the same."""

    def __init__(self, buffer: SharedBuffer, rank: int = 0, world: int = 1, gpu: Gpu | None = None) -> None:
        self._buffer = buffer
        self._rank, self._world = rank, world
        self._copier = Copier(gpu)
        self._layout: _Layout | None = None

    def write(self, tensors: dict[str, Tensor], state: bytes, unsplit: Container[str] = ()) -> int:
        """Copy tensors and state, also from a GPU, and return the size in bytes. The sources may change afterwards.

        `unsplit` names replicated tensors that rank 0 writes whole.
        """
        signature = tuple((name, tensor.dtype, tensor.shape) for name, tensor in tensors.items())
        layout = self._layout
        if layout is None or layout.signature != signature or layout.room < len(state):
            layout = self._layout = self._plan(tensors, signature, len(state) + SPARE_BYTES, unsplit)
        sources = {name: local(tensors[name]) for name in layout.targets}
        self._copier.copy(
            (target, sources[name] if rows is None else sources[name][rows])
            for name, (target, rows) in layout.targets.items()
        )
        end = layout.data_size + len(state)
        header = f"{layout.header}{_entry(state_name(self._rank), 'U8', [len(state)], layout.data_size, end)}}}"
        size = 8 + layout.header_size + end
        view = self._buffer.view(size)
        view[:8] = layout.header_size.to_bytes(8, "little")
        view[8 : 8 + layout.header_size] = header.encode().ljust(layout.header_size)
        view[8 + layout.header_size + layout.data_size : size] = state
        return size

    def _plan(self, tensors: dict[str, Tensor], signature: Signature, room: int, unsplit: Container[str]) -> _Layout:
        check(tensors)
        found = {
            name: box_of(name, tensor, self._rank, self._world, split=name not in unsplit)
            for name, tensor in tensors.items()
        }
        boxes = {name: box for name, box in found.items() if box is not None}
        # Wide types come first, so that every tensor is aligned without gaps.
        names = sorted(boxes, key=lambda name: -tensors[name].element_size())
        entries, ranges, end = [], {}, 0
        for name in names:
            dtype, shape = tensors[name].dtype, boxes[name].shape
            first, end = end, end + math.prod(shape) * dtype.itemsize
            ranges[name] = first, end
            entries.append(f"{_entry(name, _DTYPES[dtype], shape, first, end)},")
        offsets = {name: boxes[name].offset for name in names} | {state_name(self._rank): (0,)}
        header = f'{{"__metadata__":{json.dumps(_metadata(offsets))},{"".join(entries)}'
        header_size = len(header.encode()) + 160
        header_size += -header_size % 8
        whole = torch.frombuffer(self._buffer.view(8 + header_size + end + room), dtype=torch.uint8)[8 + header_size :]
        if any(self._copier.gpu.owns(tensor) for tensor in tensors.values()):
            self._buffer.pin(self._copier.gpu)
        targets = {}
        for name, (first, last) in ranges.items():
            tensor, box = tensors[name], boxes[name]
            target = whole[first:last].view(tensor.dtype).view(box.shape)
            rows = None if local(tensor).shape == target.shape else box.within(Box.whole(tensor.shape))[0]
            targets[name] = target, rows
        return _Layout(
            signature=signature,
            targets=targets,
            header=header,
            header_size=header_size,
            data_size=end,
            room=room,
        )


def check(tensors: Mapping[str, object]) -> None:
    """Raise `TypeError` with the name of a value that a safetensors file cannot hold."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or tensor.layout is not torch.strided:
            raise TypeError(f"{name} is not a dense tensor, which a checkpoint cannot hold")
        if tensor.dtype not in _DTYPES:
            raise TypeError(f"{name} has dtype {tensor.dtype}, which a checkpoint cannot hold")


def header_size(view: memoryview) -> int:
    """Return the bytes before the first tensor."""
    return 8 + int.from_bytes(view[:8], "little")


def parse(view: memoryview) -> tuple[dict[str, Tensor], bytes]:
    """Return the tensors, as views of the buffer, and the state that a single rank wrote. Raise `Damaged`."""
    tensors = {name: saved.values for name, saved in parse_boxes(view).items()}
    if state_name(0) not in tensors:
        raise Damaged("the checkpoint has no state")
    return tensors, bytes(tensors.pop(state_name(0)).numpy())


def parse_boxes(view: memoryview) -> dict[str, Saved]:
    """Return the boxes of one rank, as views of the buffer. Only the header is read. Raise `Damaged`."""
    try:
        start = header_size(view)
        header = json.loads(bytes(view[8:start]))
        sharding = json.loads(header.pop("__metadata__")[SHARDING])
        whole = torch.frombuffer(view, dtype=torch.uint8)
        found = {}
        for name, entry in header.items():
            first, last = entry["data_offsets"]
            dtype, shape, offset = _NAMES[entry["dtype"]], entry["shape"], sharding[name]["saved_offsets"]
            if not 0 <= first <= last <= view.nbytes - start or last - first != math.prod(shape) * dtype.itemsize:
                raise Damaged(f"tensor {name} lies outside the bytes that the header allows")
            if len(offset) != len(shape) or not all(type(at) is int and at >= 0 for at in (*offset, *shape)):
                raise Damaged(f"tensor {name} has offsets that no box of it can have")
            values = whole[start + first : start + last].view(dtype).view(shape)
            found[name] = Saved(box=Box(offset=tuple(offset), shape=tuple(shape)), values=values)
        return found
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise Damaged(f"the bytes of the checkpoint are not a safetensors file: {error}") from error


def _metadata(offsets: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """Return what `HuggingFaceStorageReader` of PyTorch reads."""
    sharding = {name: {"saved_offsets": offset} for name, offset in offsets.items()}
    return {SHARDING: json.dumps(sharding, separators=(",", ":")), "DCP_VERSION": "1.0", "format": "pt"}


def _entry(name: str, dtype: str, shape: Sequence[int], start: int, end: int) -> str:
    described = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    return f"{json.dumps(name)}:{json.dumps(described, separators=(',', ':'))}"
