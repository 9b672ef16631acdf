"""Your data: replace this file and sample/ (docs/bring-your-model.md replaces both step by step).

The trainer calls `load` once per start, with the value of `--data` or of `[training] data` in spot.toml. It then reads
items by `Sample`, in an order that depends on the seed only.

- An item is a pure function of its `Sample`: the same in every worker, process and resume. Take randomness from
  `sample.generator()`, never from `random`, `numpy.random` or `torch`.
- `load("sample")` returns a small sample of your data, a few hundred items in task/sample/. The tests train on it.

This example reads a safetensors file with `inputs` (N, 8, 8) uint8, grey levels 0 to 16, and `targets` (N,) uint8,
classes 0 to 9. A fifth of the images is held out, chosen by their content: an export in another order, or with more
images, moves none of them to the other part.
"""

from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from spot.trainer import Data, Sample, UsageError, part_of, read_pinned
from task.config import Config

SAMPLE = Path(__file__).parent / "sample" / "digits.safetensors"
CLASSES = 10
SIDE = 8
WHITE = 16


def load(config: Config, uri: str) -> Data:  # noqa: ARG001  # the sample needs no setting
    """Return training and held-out data, and the objects they were read from. Raise `UsageError` for a bad file."""
    content, pinned = read_pinned(str(SAMPLE) if uri == "sample" else uri)
    try:
        tensors = load_safetensors(content)
    except SafetensorError as error:
        raise UsageError(f"--data {uri}: not a safetensors file: {error}") from error
    inputs = _tensor(tensors, "inputs", (SIDE, SIDE), WHITE, uri)
    targets = _tensor(tensors, "targets", (), CLASSES - 1, uri)
    if len(inputs) != len(targets) or not len(inputs):
        raise UsageError(
            f"--data {uri}: {len(inputs)} inputs and {len(targets)} targets, expected equally many, at least one"
        )
    held_out = torch.tensor([part_of(image.numpy().tobytes()) == "held_out" for image in inputs], dtype=torch.bool)
    return Data(
        train=Digits(inputs[~held_out], targets[~held_out], shift=1),
        held_out=Digits(inputs[held_out], targets[held_out], shift=0),
        objects=(replace(pinned, uri="sample") if uri == "sample" else pinned,),
    )


class Digits:
    """Return images of digits, each moved by up to `shift` pixels in both directions."""

    def __init__(self, inputs: Tensor, targets: Tensor, *, shift: int) -> None:
        self._inputs = torch.nn.functional.pad(inputs.float() / WHITE, (shift,) * 4).unsqueeze(1)
        self._targets = targets.long()
        self._shift = shift

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, sample: Sample) -> tuple[Tensor, Tensor]:
        generator = sample.generator()
        top, left = (generator.randint(0, 2 * self._shift) for _ in range(2))
        image = self._inputs[sample.index, :, top : top + SIDE, left : left + SIDE]
        return image, self._targets[sample.index]


def _tensor(tensors: dict[str, Tensor], name: str, shape: tuple[int, ...], greatest: int, uri: str) -> Tensor:
    wanted = f"uint8 ({', '.join(['N', *map(str, shape)])}), 0 to {greatest}"
    if (tensor := tensors.get(name)) is None:
        raise UsageError(f"--data {uri}: no tensor {name!r} ({wanted}), only {', '.join(sorted(tensors)) or 'nothing'}")
    if tensor.dtype != torch.uint8 or tensor.dim() == 0 or tuple(tensor.shape[1:]) != shape:
        found = f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
        raise UsageError(f"--data {uri}: {name} is {found}, expected {wanted}")
    if tensor.numel() and int(tensor.max()) > greatest:
        raise UsageError(f"--data {uri}: {name} holds {int(tensor.max())}, expected {wanted}")
    return tensor
