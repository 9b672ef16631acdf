"""Copy many tensors at full memory speed, also while data workers use the cores.

PyTorch's copy waits for all its threads after every tensor, which takes ten times as long on busy cores. Here each
thread takes the next piece until none is left, with one wait at the end.
"""

import ctypes
import os
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from torch import Tensor

PIECE = 8 << 20
THREADS = 4
"""More threads gain little: memory bandwidth is the limit."""
ALONE = 4 * PIECE
"""Up to this size one thread is fastest."""


class Copier:
    """Copy plain tensors in main memory; the threads sleep between copies."""

    def __init__(self) -> None:
        self._helpers = min(THREADS, os.cpu_count() or 1) - 1
        self._pool = ThreadPoolExecutor(max(self._helpers, 1), thread_name_prefix="copy")

    def copy(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Copy the second tensor of each pair into the first; both are `plain` and equally large."""
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


def _work(pieces: deque[tuple[int, int, int]]) -> None:
    while True:
        try:
            target, source, size = pieces.popleft()
        except IndexError:
            return
        ctypes.memmove(target, source, size)  # releases the interpreter lock
