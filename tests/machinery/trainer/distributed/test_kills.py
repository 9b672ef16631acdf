"""Test that a run of several ranks, ended anyhow and anywhere, trains on bit for bit: `nox -s ranks`."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.machinery.trainer.distributed.kills import Job, Kill, Layout, digests, train

pytestmark = pytest.mark.ranks

LAYOUTS = [
    Layout(hosts=1, ranks=1, parallel="auto"),
    *(
        Layout(hosts=hosts, ranks=ranks, parallel=parallel)
        for hosts, ranks in ((2, 1), (3, 1), (2, 2))
        for parallel in ("fsdp", "ddp")
    ),
]
ALONE = (Kill.TERM_ONE, Kill.KILL_ALL)
"""The ways that one rank on one host can end."""
TIMES = 1 if "CI" in os.environ else 5
"""Kills of each kind in each layout."""
FLAGS = ("--batch-size", "12", "--epochs", "1000", "--evaluate-every", "50", "--log-interval", "5")
OFTEN = ("--checkpoint-interval", "0.3", "--grace", "15")
STEPS_PER_KILL = 12
ENDS = {
    Kill.TERM_ONE: {143},
    Kill.KILL_ONE: {75},
    Kill.KILL_ALL: {-9},
    Kill.HOST: {75, -9},
    Kill.LINK: {75},
    Kill.FROZEN: {75},
}


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_kills_of_every_kind_change_no_bit(layout: Layout, tmp_path: Path) -> None:
    chance = random.Random(f"kills/{layout}")
    kinds = ALONE if layout.world == 1 else tuple(Kill)
    kills = [kind for kind in kinds for _ in range(TIMES)]
    chance.shuffle(kills)
    flags = (*FLAGS, "--max-steps", str(60 + STEPS_PER_KILL * len(kills)))
    expected = train(layout, tmp_path / "undisturbed", flags)

    folder, attempts = tmp_path / "killed", Counter[str]()
    folder.mkdir()
    for number, kind in enumerate(kills, 1):
        own = (*flags, *OFTEN)
        job = Job(layout=layout, folder=folder, attempt=f"a{number}", flags=own, env={"STEP_S": "0.02"}).start()
        if not job.wait_until_it_trains():
            break
        time.sleep(chance.uniform(0.0, 2.0))
        job.kill(kind, chance)
        codes = job.wait()
        assert set(codes) <= ENDS[kind] | {0}, f"{kind}: {codes}\n{job.output}"
        attempts[kind] += 1
        print(f"{layout} {number}/{len(kills)} {kind}: {codes}", flush=True)
    assert min(attempts[kind] for kind in kinds) >= TIMES, f"the training was too short for {attempts}"
    assert train(layout, folder, flags) == expected


def test_plain_ddp_is_not_resumable_bit_for_bit(tmp_path: Path) -> None:
    layout = Layout(hosts=1, ranks=4, parallel="ddp")
    flags = (*FLAGS, "--max-steps", "40", "--evaluate-every", "100")
    results = []
    for number, more in enumerate(({}, {"PLAIN_DDP": "1"})):
        undisturbed, stopped = (tmp_path / f"{number}-{name}" for name in ("undisturbed", "stopped"))
        for folder in (undisturbed, stopped):
            folder.mkdir()
        first = Job(layout=layout, folder=stopped, attempt="a1", flags=flags, env={"STEP_S": "0.2", **more})
        first.start()
        assert first.wait_until_it_trains()
        time.sleep(2)
        first.kill(Kill.TERM_ONE, random.Random(0))
        assert first.wait() == [143], first.output
        for folder in (undisturbed, stopped):
            job = Job(layout=layout, folder=folder, attempt="a2", flags=flags, env=more).start()
            assert job.wait() == [0], job.output
        results.append(digests(undisturbed) == digests(stopped))
    assert results == [True, False]
