"""Test task/data.py: an item is a pure function of its index, epoch and seed, in every process."""

import hashlib
import random
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from spot.trainer import Data, Sample
from spot.trainer.data.contract import Samples
from task.data import load

MOST = 32
ADVICE = (
    "Take randomness from sample.generator() only: not from random, numpy or torch, the clock, the process"
    " or the order of access."
)


def visits(samples: Samples) -> list[Sample]:
    """Return visits of items all over the data set, in two epochs and with two seeds."""
    indices = range(0, len(samples), max(1, len(samples) // MOST))
    return [Sample(seed=s, epoch=e, index=i) for s, e, i in product((0, 1), (0, 1), indices)]


def items(data: Data) -> Iterator[tuple[str, Sample, Samples]]:
    for part, samples in (("train", data.train), ("held_out", data.held_out)):
        yield from ((part, sample, samples) for sample in visits(samples))


def digest(samples: Samples, sample: Sample) -> str:
    found = hashlib.sha256()
    for tensor in samples[sample]:
        found.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def reseed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def generators() -> tuple[object, ...]:
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()


def test_sample_has_training_and_held_out_items(sample_data: Data) -> None:
    assert len(sample_data.train) > 0, 'load("sample").train is empty'
    assert len(sample_data.held_out) > 0, 'load("sample").held_out is empty'
    assert sample_data.objects, 'load("sample").objects is empty: a run must know its data again'


@pytest.mark.parametrize("part", ["train", "held_out"])
def test_an_item_is_an_input_and_a_target(part: str, sample_data: Data) -> None:
    item = getattr(sample_data, part)[Sample(seed=0, epoch=0, index=0)]
    assert isinstance(item, tuple), f"an item of {part} is a {type(item).__name__}: return (input, target)"
    assert [isinstance(value, torch.Tensor) for value in item] == [True, True], "return two tensors"


def test_an_item_is_the_same_when_read_again(sample_data: Data) -> None:
    reseed(1)
    first = {(part, sample): digest(samples, sample) for part, sample, samples in items(sample_data)}
    reseed(2)
    for part, sample, samples in reversed(list(items(sample_data))):
        same = digest(samples, sample) == first[part, sample]
        assert same, f"{part}[{sample}] differs after the global generators were reseeded. {ADVICE}"


def test_reading_an_item_leaves_the_global_generators_alone(sample_data: Data) -> None:
    reseed(1)
    before = generators()
    for _, sample, samples in items(sample_data):
        digest(samples, sample)
    unchanged = generators() == before
    assert unchanged, f"reading items draws from a global generator. {ADVICE}"


def test_an_item_is_the_same_in_another_process(sample_data: Data, environ: dict[str, str]) -> None:
    command = [sys.executable, str(Path(__file__))]
    theirs = subprocess.run(
        command, env={**environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    ).stdout.split()
    for (part, sample, samples), other in zip(items(sample_data), theirs, strict=True):
        same = digest(samples, sample) == other
        assert same, f"{part}[{sample}] differs in another process. {ADVICE}"


if __name__ == "__main__":
    reseed(3)
    for _part, _sample, _samples in items(load("sample")):
        print(digest(_samples, _sample))
