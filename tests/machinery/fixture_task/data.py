"""Generate noisy patterns of ten classes, or read a safetensors file with `inputs` and `targets`."""

from __future__ import annotations

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save
from torch import Tensor

from spot.storage.checksum import crc32c
from spot.storage.records.manifest import DataObject
from spot.trainer import Data, Sample, UsageError, read_pinned
from tests.machinery.fixture_task.config import Config

SAMPLES = 449
SIDE = 8
CLASSES = 10
HELD_OUT_EVERY = 5


def load(config: Config, uri: str) -> Data:  # noqa: ARG001
    """Return the data sets. Raise `UsageError` if the file is not safetensors."""
    if uri == "sample":
        content = save(generated())
        pinned = DataObject(uri=uri, size=len(content), crc32c=crc32c(content), generation=0)
    else:
        content, pinned = read_pinned(uri)
    try:
        tensors = load_safetensors(content)
    except SafetensorError as error:
        raise UsageError(f"--data {uri}: not a safetensors file: {error}") from error
    inputs, targets = tensors["inputs"], tensors["targets"]
    held_out = torch.arange(len(inputs)) % HELD_OUT_EVERY == 0
    return Data(
        train=Patterns(inputs[~held_out], targets[~held_out], shift=1),
        held_out=Patterns(inputs[held_out], targets[held_out], shift=0),
        objects=(pinned,),
    )


def generated() -> dict[str, Tensor]:
    """Return the same `inputs` (N, 8, 8) float32 and `targets` (N,) int64 at every call."""
    generator = torch.Generator().manual_seed(7)
    patterns = torch.rand((CLASSES, SIDE, SIDE), generator=generator)
    targets = torch.randint(CLASSES, (SAMPLES,), generator=generator)
    noise = torch.randn((SAMPLES, SIDE, SIDE), generator=generator)
    return {"inputs": patterns[targets] + 0.3 * noise, "targets": targets}


class Patterns:
    """Return images, each moved by up to `shift` pixels in both directions."""

    def __init__(self, inputs: Tensor, targets: Tensor, *, shift: int) -> None:
        self._inputs = torch.nn.functional.pad(inputs.float(), (shift,) * 4).unsqueeze(1)
        self._targets = targets.long()
        self._shift = shift

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, sample: Sample) -> tuple[Tensor, Tensor]:
        generator = sample.generator()
        top, left = (generator.randint(0, 2 * self._shift) for _ in range(2))
        return self._inputs[sample.index, :, top : top + SIDE, left : left + SIDE], self._targets[sample.index]
