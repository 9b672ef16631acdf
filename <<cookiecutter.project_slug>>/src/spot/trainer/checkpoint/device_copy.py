"""Copy many tensors into main memory at full speed, also while data workers use the cores.

PyTorch's copy waits for all its threads after every tensor, which takes ten times as long on busy cores. Here each
thread takes the next piece until none is left, with one wait at the end.
"""

import ctypes
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from torch import Tensor

from spot.trainer.device import Cuda, Gpu
from spot.trainer.uploader.buffer import SEGMENT

PIECE = 8 << 20
THREADS = 4
"""More threads gain little: memory bandwidth is the limit."""
ALONE = 4 * PIECE
"""Up to this size one thread is fastest."""


class Copier:
    """Copy tensors into main memory; the threads sleep between copies."""

    def __init__(self, gpu: Gpu | None = None) -> None:
        self.gpu: Gpu = gpu or Cuda()
        self._helpers = min(THREADS, os.cpu_count() or 1) - 1
        self._pool = ThreadPoolExecutor(max(self._helpers, 1), thread_name_prefix="copy")

    def copy(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Copy the second tensor of each pair into the first, of equal type and shape. The sources may change then."""
        in_memory = []
        for target, source in pairs:
            if self.gpu.owns(source):
                for piece in _within_segments(target, source):
                    self.gpu.copy(*piece)
            elif plain(source):
                in_memory.append((target, source))
            else:
                target.copy_(source)
        self._copy_plain(in_memory)
        self.gpu.wait()

    def _copy_plain(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
        pieces = deque(
            (target.data_ptr() + start, source.data_ptr() + start, min(PIECE, size - start))
            for target, source in pairs
            for size in [source.numel() * source.element_size()]
            for start in range(0, size, PIECE)
        )
        helpers = self._helpers if sum(size for _, _, size in pieces) > ALONE else 0
        waits = [self._pool.submit(_work, pieces) for _ in range(helpers)]
        _work(pieces)
        for wait in waits:
            wait.result()


def plain(tensor: Tensor) -> bool:
    """Return whether the bytes in memory are the values in order."""
    return tensor.device.type == "cpu" and tensor.is_contiguous() and not tensor.is_neg()


def _within_segments(target: Tensor, source: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut a pair where segments of pinned memory end: CUDA calls a copy across an end an invalid argument."""
    size = target.element_size()
    ends = tuple(range(-target.data_ptr() % SEGMENT // size, target.numel(), SEGMENT // size))
    if not ends:
        yield target, source
    else:
        yield from zip(target.view(-1).tensor_split(ends), source.reshape(-1).tensor_split(ends), strict=True)


def _work(pieces: deque[tuple[int, int, int]]) -> None:
    while True:
        try:
            target, source, size = pieces.popleft()
        except IndexError:
            return
        ctypes.memmove(target, source, size)  # releases the interpreter lock
