"""Test that another number of ranks, sharded or not, restores exactly what was saved: `nox -s ranks`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from spot.storage.factory import open_store
from spot.storage.records import manifest
from tests.machinery.tasks.reshard.loop import BATCH

pytestmark = pytest.mark.ranks

PATIENCE_S = 300.0
SAID = re.compile(r"^(restored|saves) (\d+) ([0-9a-f]{64}) (\S+)$", re.MULTILINE)
CHAIN = [(4, "fsdp"), (2, "ddp"), (3, "fsdp"), (1, "auto"), (4, "ddp"), (4, "fsdp"), (2, "fsdp")]


@pytest.mark.timeout(3000)
def test_weights_optimizer_and_order_are_the_same_on_4_2_3_1_and_4_ranks(tmp_path: Path) -> None:
    saved: tuple[str, ...] | None = None
    for number, (ranks, parallel) in enumerate(CHAIN):
        restored, saves = train(tmp_path, number, ranks, parallel)
        assert saved in (None, restored)
        saved = saves
        found = manifest.newest(open_store(str(tmp_path / "checkpoints")), "reshard")
        assert found
        assert (found.step, found.world) == (number + 1, ranks)
    assert saved
    assert saved[0] == str(len(CHAIN))


def train(folder: Path, number: int, ranks: int, parallel: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return step, digest and order of what was restored, and of what was saved a step later."""
    command = [sys.executable, "-m", "tests.machinery.tasks.reshard", "--run", "reshard", "--attempt", f"a{number}"]
    command += ["--ranks", str(ranks), "--parallel", parallel, "--batch-size", str(BATCH), "--device", "cpu"]
    command += ["--checkpoint-dir", str(folder / "checkpoints"), "--output-dir", str(folder / "models")]
    done = subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 143, done.stdout + done.stderr
    (restored, *before), (saves, *after) = SAID.findall(done.stdout)
    assert (restored, saves) == ("restored", "saves")
    return tuple(before), tuple(after)
