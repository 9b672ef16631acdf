"""Test the sample task of the project: the bundled digits, and messages for files of another format."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from spot.trainer import Sample, UsageError
from task.config import Config
from task.data import load


def sample(index: int, epoch: int = 0) -> Sample:
    return Sample(seed=0, epoch=epoch, index=index)


def test_the_bundled_digits_are_all_there_with_a_fifth_held_out() -> None:
    data = load(Config(), "sample")
    assert (len(data.train), len(data.held_out)) == (1463, 334)
    assert data.objects[0].size > 100_000


def test_they_are_the_test_set_of_the_uci() -> None:
    """The counts are those of the data set's description."""
    data = load(Config(), "sample")
    counts = [0] * 10
    for samples in (data.train, data.held_out):
        for index in range(len(samples)):
            counts[int(samples[sample(index)][1])] += 1
    assert counts == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


INPUTS, TARGETS = torch.zeros(10, 8, 8, dtype=torch.uint8), torch.zeros(10, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"targets": TARGETS}, ["no tensor 'inputs'", "uint8 (N, 8, 8)", "only targets"]),
        ({"inputs": INPUTS}, ["no tensor 'targets'"]),
        ({"inputs": INPUTS[:, :7], "targets": TARGETS}, ["inputs is uint8 (10, 7, 8)", "expected uint8 (N, 8, 8)"]),
        ({"inputs": INPUTS.float(), "targets": TARGETS}, ["inputs is float32 (10, 8, 8)"]),
        ({"inputs": INPUTS, "targets": TARGETS.unsqueeze(1)}, ["targets is uint8 (10, 1)"]),
        ({"inputs": INPUTS + 17, "targets": TARGETS}, ["inputs holds 17", "0 to 16"]),
        ({"inputs": INPUTS, "targets": TARGETS + 10}, ["targets holds 10", "0 to 9"]),
        ({"inputs": INPUTS, "targets": TARGETS[:9]}, ["10 inputs and 9 targets"]),
        ({"inputs": INPUTS[:0], "targets": TARGETS[:0]}, ["0 inputs"]),
        ({"inputs": INPUTS[0, 0, 0].clone(), "targets": TARGETS}, ["inputs is uint8 ()"]),
    ],
)
def test_a_file_of_another_shape_is_refused_with_what_was_found(
    tensors: dict[str, torch.Tensor], words: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "data.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    with pytest.raises(UsageError) as caught:
        load(Config(), str(path))
    assert all(word in str(caught.value) for word in [f"--data {path}", *words]), str(caught.value)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x80\x04pickle.", b"\xff" * 100])
def test_a_file_that_is_no_safetensors_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "data.safetensors"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="not a safetensors file"):
        load(Config(), str(path))


@pytest.mark.parametrize("uri", ["missing.safetensors", "/no/such/folder/data", "s3://bucket/data", "gs://", "gs://b"])
def test_a_place_without_a_file_is_refused_by_its_name(uri: str) -> None:
    with pytest.raises(UsageError, match="--data"):
        load(Config(), uri)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Is a directory"):
        load(Config(), str(tmp_path))


def test_an_image_keeps_its_part_when_the_file_is_in_another_order_and_has_more(tmp_path: Path) -> None:
    data = load(Config(), "sample").held_out
    inputs = torch.stack([data[sample(index)][0][0] for index in range(20)]).mul(16).to(torch.uint8)
    more = torch.cat([inputs, torch.full((1, 8, 8), 3, dtype=torch.uint8)]).flip(0)
    save_file({"inputs": more, "targets": torch.zeros(21, dtype=torch.uint8)}, tmp_path / "data.safetensors")
    assert len(load(Config(), str(tmp_path / "data.safetensors")).held_out) >= 20
