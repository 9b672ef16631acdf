"""Test task/data.py: an item is a pure function of its index, epoch and seed, in every process."""

import hashlib
import random
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import torch
from conftest import batch_of, load_sample
from torch import Tensor
from torch.utils._pytree import tree_flatten

from spot.trainer import Data, Sample
from spot.trainer.data.contract import Samples

MOST = 32
ADVICE = (
    "Take randomness from sample.generator() only: not from random, numpy or torch, the clock, the process"
    " or the order of access."
)


def items(data: Data) -> Iterator[tuple[str, Sample, Samples]]:
    """Yield visits of items all over each part, in two epochs and with two seeds."""
    for part, samples in (("train", data.train), ("held_out", data.held_out), ("test", data.test)):
        if samples is not None:
            indices = range(0, len(samples), max(1, len(samples) // MOST))
            for seed, epoch, index in product((0, 1), (0, 1), indices):
                yield part, Sample(seed=seed, epoch=epoch, index=index), samples


def digest(data: Data, samples: Samples, sample: Sample) -> str:
    """Return the digest of a batch of one item, whatever its structure."""
    leaves, structure = tree_flatten(batch_of(data, samples, [sample]))
    found = hashlib.sha256(str(structure).encode())
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            found.update(f"{leaf.dtype} {tuple(leaf.shape)}".encode())
            found.update(leaf.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        else:
            found.update(repr(leaf).encode())
    return found.hexdigest()


def reseed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def generators() -> tuple[object, ...]:
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()


def test_sample_has_training_and_held_out_items(data: Data) -> None:
    assert len(data.train) > 0, 'load(config, "sample").train is empty'
    assert len(data.held_out) > 0, 'load(config, "sample").held_out is empty'
    assert data.objects, 'load(config, "sample").objects is empty: a run must recognize its data'


def test_an_item_is_the_same_when_read_again(data: Data) -> None:
    reseed(1)
    first = {(part, sample): digest(data, samples, sample) for part, sample, samples in items(data)}
    reseed(2)
    for part, sample, samples in reversed(list(items(data))):
        same = digest(data, samples, sample) == first[part, sample]
        assert same, f"{part}[{sample}] differs after the global generators were reseeded. {ADVICE}"


def test_reading_an_item_leaves_the_global_generators_alone(data: Data) -> None:
    reseed(1)
    before = generators()
    for _, sample, samples in items(data):
        digest(data, samples, sample)
    unchanged = generators() == before
    assert unchanged, f"reading items draws from a global generator. {ADVICE}"


def test_an_item_is_the_same_in_another_process(data: Data, environ: dict[str, str]) -> None:
    command = [sys.executable, str(Path(__file__))]
    theirs = subprocess.run(
        command, env={**environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    ).stdout.split()
    for (part, sample, samples), other in zip(items(data), theirs, strict=True):
        same = digest(data, samples, sample) == other
        assert same, f"{part}[{sample}] differs in another process. {ADVICE}"


if __name__ == "__main__":
    reseed(3)
    _data = load_sample()
    for _part, _sample, _samples in items(_data):
        print(digest(_data, _samples, _sample))
