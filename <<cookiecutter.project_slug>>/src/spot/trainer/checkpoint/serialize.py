"""Serialize a checkpoint as a safetensors file in a shared buffer.

Format: 8 bytes with the header's length, a JSON header padded with spaces, the tensors without gaps
(https://github.com/huggingface/safetensors#format). An extra tensor of bytes, `state.json`, holds all other values.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from spot.storage.base import Damaged
from spot.trainer.checkpoint.device_copy import Copier, plain
from spot.trainer.uploader.buffer import SharedBuffer

STATE = "state.json"
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
    targets: dict[str, Tensor]
    header: str
    """The header up to the entry of `state.json`, which differs each time."""
    header_size: int
    data_size: int
    room: int


class StagingWriter:
    """Write snapshots into one buffer, with one copy per tensor while the shapes stay the same."""

    def __init__(self, buffer: SharedBuffer) -> None:
        self._buffer = buffer
        self._copier = Copier()
        self._layout: _Layout | None = None

    def write(self, tensors: dict[str, Tensor], state: bytes) -> int:
        """Copy tensors and state, also from a GPU, and return the size in bytes. The sources may change afterwards."""
        signature = tuple((name, tensor.dtype, tensor.shape) for name, tensor in tensors.items())
        layout = self._layout
        if layout is None or layout.signature != signature or layout.room < len(state):
            layout = self._layout = self._plan(tensors, signature, len(state) + SPARE_BYTES)
        in_memory = []
        for name, target in layout.targets.items():
            if plain(tensors[name]):
                in_memory.append((target, tensors[name]))
            else:
                target.copy_(tensors[name], non_blocking=True)
        self._copier.copy(in_memory)
        if any(tensor.is_cuda for tensor in tensors.values()):
            torch.cuda.synchronize()
        end = layout.data_size + len(state)
        header = f'{layout.header}"{STATE}":{_entry("U8", [len(state)], layout.data_size, end)}}}'
        size = 8 + layout.header_size + end
        view = self._buffer.view(size)
        view[:8] = layout.header_size.to_bytes(8, "little")
        view[8 : 8 + layout.header_size] = header.encode().ljust(layout.header_size)
        view[8 + layout.header_size + layout.data_size : size] = state
        return size

    def _plan(self, tensors: dict[str, Tensor], signature: Signature, room: int) -> _Layout:
        check(tensors)
        # Wide types come first, so that every tensor is aligned without gaps.
        names = sorted(tensors, key=lambda name: -tensors[name].element_size())
        entries, offsets, end = [], {}, 0
        for name in names:
            tensor = tensors[name]
            offsets[name], end = end, end + tensor.numel() * tensor.element_size()
            entries.append(
                f"{json.dumps(name)}:{_entry(_DTYPES[tensor.dtype], list(tensor.shape), offsets[name], end)},"
            )
        header = "{" + "".join(entries)
        header_size = len(header.encode()) + 128
        header_size += -header_size % 8
        whole = torch.frombuffer(self._buffer.view(8 + header_size + end + room), dtype=torch.uint8)
        targets = {}
        for name in names:
            tensor, start = tensors[name], 8 + header_size + offsets[name]
            target = whole[start : start + tensor.numel() * tensor.element_size()]
            targets[name] = target.view(tensor.dtype).view(tensor.shape)
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
            raise TypeError(f"{name} is no dense tensor, which a checkpoint cannot hold")
        if tensor.dtype not in _DTYPES:
            raise TypeError(f"{name} has dtype {tensor.dtype}, which a checkpoint cannot hold")


def parse(view: memoryview) -> tuple[dict[str, Tensor], bytes]:
    """Return the tensors, as views of the buffer, and `state.json`. Raise `Damaged`."""
    try:
        header_size = int.from_bytes(view[:8], "little")
        start = 8 + header_size
        header = json.loads(bytes(view[8:start]))
        whole = torch.frombuffer(view, dtype=torch.uint8)
        tensors = {}
        for name, entry in header.items():
            first, last = entry["data_offsets"]
            dtype, shape = _NAMES[entry["dtype"]], entry["shape"]
            if not 0 <= first <= last <= view.nbytes - start or last - first != math.prod(shape) * dtype.itemsize:
                raise Damaged(f"tensor {name} lies outside the bytes that the header allows")
            tensors[name] = whole[start + first : start + last].view(dtype).view(shape)
        return tensors, bytes(tensors.pop(STATE).numpy())
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise Damaged(f"the bytes of the checkpoint are no safetensors file: {error}") from error


def _entry(dtype: str, shape: list[int], start: int, end: int) -> str:
    return json.dumps({"dtype": dtype, "shape": shape, "data_offsets": [start, end]}, separators=(",", ":"))
