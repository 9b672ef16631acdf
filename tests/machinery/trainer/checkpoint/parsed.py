"""Read a checkpoint that a single rank wrote."""

from __future__ import annotations

from torch import Tensor

from spot.trainer.checkpoint.serialize import parse_boxes, state_name


def parse(view: memoryview) -> tuple[dict[str, Tensor], bytes]:
    """Return the tensors, as views of the buffer, and the state. Raise `Damaged`."""
    tensors = {name: saved.values for name, saved in parse_boxes(view).items()}
    return tensors, bytes(tensors.pop(state_name(0)).numpy())
