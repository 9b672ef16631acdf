"""Test that a damaged checkpoint never leads to a wrong model, and is always reported."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from spot.storage.records.manifest import FORMAT
from tests.machinery.proxy import Proxy
from tests.machinery.trainer.conftest import Trainer
from tests.machinery.trainer.faults import RUN, Faulty, Result, error_line
from tests.machinery.zygote import Zygote


@pytest.fixture
def faulty(zygote: Zygote, gs_uri: str, proxy: Proxy) -> Faulty:
    return Faulty(Trainer(zygote, gs_uri), proxy)


def overwritten_part(faulty: Faulty, newest: int) -> None:
    part = faulty.read(newest).parts[0]
    faulty.checkpoints.write(part.name, bytes(part.size), if_generation=part.generation)


def missing_part(faulty: Faulty, newest: int) -> None:
    faulty.checkpoints.delete(faulty.read(newest).parts[0].name)


def rewrite(faulty: Faulty, step: int, change: Callable[[bytes], bytes]) -> None:
    name = faulty.name(step)
    old = faulty.checkpoints.read(name)
    faulty.checkpoints.write(name, change(old.data), if_generation=old.generation)


def truncated_manifest(faulty: Faulty, newest: int) -> None:
    rewrite(faulty, newest, lambda text: text[: len(text) // 2])


def nonsense_manifest(faulty: Faulty, newest: int) -> None:
    rewrite(faulty, newest, lambda _: b"nonsense \xff")


@pytest.mark.parametrize(
    "damage",
    [
        overwritten_part,
        truncated_manifest,
        pytest.param(missing_part, marks=pytest.mark.chaos),
        pytest.param(nonsense_manifest, marks=pytest.mark.chaos),
    ],
)
def test_a_damaged_checkpoint_is_quarantined_with_a_warning_and_the_one_before_is_used(
    damage: Callable[[Faulty, int], None], faulty: Faulty, undisturbed: Result
) -> None:
    faulty.train_until_killed_after_commits(2)
    newest, older = faulty.steps()
    damage(faulty, newest)
    process = faulty.trainer.start()
    assert process.wait() == 0, process.output + process.errors
    assert f"WARNING step {newest}: checkpoint quarantined: " in process.output
    assert re.search(rf"step {older} of \d+: resumed", process.output)
    assert len(faulty.checkpoints.list(f"{RUN}/quarantine/{newest:010d}-")) == 1
    faulty.assert_undisturbed(undisturbed)


def test_when_all_checkpoints_are_damaged_the_next_start_begins_at_step_0(faulty: Faulty, undisturbed: Result) -> None:
    faulty.train_until_killed_after_commits(2)
    for step in faulty.steps():
        overwritten_part(faulty, step)
    line = error_line(faulty.trainer.start(), 75)
    assert "all 2 checkpoints of run default" in line
    assert "the next start begins at step 0" in line
    process = faulty.trainer.start()
    assert process.wait() == 0
    assert "run default starts, no checkpoint found" in process.output
    faulty.assert_undisturbed(undisturbed)


def test_a_checkpoint_of_a_newer_program_is_left_alone(faulty: Faulty) -> None:
    faulty.train_until_killed_after_commits(2)
    newest = faulty.steps()[0]
    rewrite(faulty, newest, lambda text: json.dumps({**json.loads(text), "format": FORMAT + 1}).encode())
    before = faulty.checkpoints.list(f"{RUN}/manifests/") + faulty.checkpoints.list(f"{RUN}/data/")
    line = error_line(faulty.trainer.start(), 2)
    assert f"has format {FORMAT + 1}, this program reads up to {FORMAT}: use a newer version of spot" in line
    assert faulty.checkpoints.list(f"{RUN}/manifests/") + faulty.checkpoints.list(f"{RUN}/data/") == before
