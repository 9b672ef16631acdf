"""Test that every byte is copied once, for any sizes, and only plain memory byte by byte."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from spot.trainer.checkpoint.device_copy import ALONE, PIECE, Copier, plain


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([], id="none"),
        pytest.param([0, 1, 7], id="tiny"),
        pytest.param([PIECE, PIECE - 1, PIECE + 1], id="around a piece"),
        pytest.param([ALONE + 12_345, 3, 2 * PIECE], id="with helpers"),
        pytest.param([50_000] * 1000, id="many"),
    ],
)
def test_every_byte_arrives(sizes: list[int]) -> None:
    generator = torch.Generator().manual_seed(1)
    sources = [torch.randint(0, 256, (size,), dtype=torch.uint8, generator=generator) for size in sizes]
    targets = [torch.zeros_like(source) for source in sources]
    copier = Copier()
    for _ in range(2):
        copier.copy(zip(targets, sources, strict=True))
        assert all(torch.equal(target, source) for target, source in zip(targets, sources, strict=True))
        sources = [source + 1 for source in sources]


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        pytest.param(torch.ones(3, 4), True, id="whole"),
        pytest.param(torch.ones(()), True, id="scalar"),
        pytest.param(torch.ones(3, 4)[1:], True, id="rows of another"),
        pytest.param(torch.ones(3, 4).T, False, id="transposed"),
        pytest.param(torch.ones(3, 4)[:, 1:], False, id="columns of another"),
        pytest.param(torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last), False, id="channels last"),
        pytest.param(torch.ones(3, dtype=torch.complex64).conj().imag, False, id="negated view"),
    ],
)
def test_only_plain_memory_is_copied_byte_by_byte(tensor: Tensor, expected: bool) -> None:
    assert plain(tensor) is expected
