"""Test that interruptions at random moments change no model and damage no checkpoint, with both signals and stores."""

from __future__ import annotations

import random
import re
import signal
import time
from collections import Counter

import pytest

from spot.storage.base import NotFound
from spot.storage.checksum import crc32c
from spot.storage.factory import open_store
from spot.storage.records import manifest
from tests.machinery.trainer.conftest import Trainer
from tests.machinery.zygote import TrainerProcess, Zygote

pytestmark = pytest.mark.chaos

VARIANTS = {
    "plain": (),
    "accumulating": ("--accumulate", "3", "--batch-size", "60"),
    "workers": ("--workers", "2"),
    "mixed": ("--precision", "bf16", "--epochs", "1"),
    "early-stop": ("--epochs", "6", "--patience", "1"),
    "saving-always": ("--checkpoint-interval", "0.001"),
    "saving-seldom": ("--checkpoint-interval", "0.4"),
}
MAX_STARTS = 60
"""More than these runs take, because SIGTERM loses nothing."""


@pytest.fixture(scope="session")
def results(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, bytes]]:
    """Return the result of each variant without interruption."""
    found = {}
    for name, flags in VARIANTS.items():
        trainer = Trainer(zygote, str(tmp_path_factory.mktemp("uninterrupted")))
        assert trainer.start(*flags).wait() == 0
        found[name] = trainer.result()
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("variant", VARIANTS)
def test_random_interruptions_leave_no_trace(
    variant: str, seed: int, trainer: Trainer, results: dict[str, tuple[bytes, bytes]]
) -> None:
    chance = random.Random(f"{variant}/{seed}/{trainer.uri.startswith('gs')}")
    moments: Counter[str] = Counter()
    for _ in range(MAX_STARTS):
        process = trainer.start(*VARIANTS[variant])
        _run_for(process, chance.uniform(0.05, 0.9))
        numbers = chance.choices([[signal.SIGTERM], [signal.SIGKILL], [signal.SIGTERM, signal.SIGKILL]], [5, 4, 2])[0]
        for number in numbers:
            process.kill(number)
            _run_for(process, chance.uniform(0.0, 0.1))
        assert process.wait() in {0, 143, -signal.SIGTERM, -signal.SIGKILL}, process.output + process.errors
        moments[_moment(process)] += 1
        _assert_checkpoints_complete(trainer)
        if process.code == 0:
            break
    else:
        assert trainer.start(*VARIANTS[variant]).wait() == 0
    print(f"{variant}, {trainer.uri[:2]}: {sum(moments.values())} starts, ended in {dict(moments)}")
    assert trainer.result() == results[variant]


def _run_for(process: TrainerProcess, seconds: float) -> None:
    end = time.monotonic() + seconds
    while process.code is None and (left := end - time.monotonic()) > 0:
        process.zygote.receive(left)


def _moment(process: TrainerProcess) -> str:
    """Return the phase that was interrupted, according to the output."""
    if process.code == 0:
        return "nothing"
    if not re.search(r"starts, no checkpoint|resumed", process.output):
        return "start-up"
    return "last save" if re.search(r"\(100 %\)", process.output) else "training"


def _assert_checkpoints_complete(trainer: Trainer) -> None:
    store = open_store(f"{trainer.uri}/checkpoints")
    for commit in manifest.commits(store, "default"):
        try:
            found = manifest.read(store, "default", commit)
        except NotFound:
            continue
        for part in found.parts:
            data = bytearray(part.size)
            store.read_into(part.name, memoryview(data), generation=part.generation)
            assert crc32c(bytes(data)) == part.crc32c
