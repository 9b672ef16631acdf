"""Checkpoints that others spoilt, and others who write beside us: never a wrong model, never a silent one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from bucket import layout
from bucket.manifest import FORMAT, Manifest
from bucket.store import ABSENT
from tests.proxy import LostReply, Proxy, each
from tests.trainer.conftest import Trainer
from tests.trainer.faults import RUN, Faulty, Result, is_commit, said
from tests.zygote import Zygote


@pytest.fixture
def faulty(zygote: Zygote, gs_uri: str, proxy: Proxy) -> Faulty:
    return Faulty(Trainer(zygote, gs_uri), proxy)


def overwritten_part(faulty: Faulty, newest: int) -> None:
    part = faulty.read(newest).parts[0]
    faulty.checkpoints.write(part.name, bytes(part.size), if_generation=part.generation)


def missing_part(faulty: Faulty, newest: int) -> None:
    faulty.checkpoints.delete(faulty.read(newest).parts[0].name)


def rewrite(faulty: Faulty, step: int, change: Callable[[bytes], bytes]) -> None:
    name = layout.manifest(RUN, step)
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
def test_a_damaged_checkpoint_is_set_aside_loudly_for_the_one_before(
    damage: Callable[[Faulty, int], None], faulty: Faulty, undisturbed: Result
) -> None:
    faulty.train_until_killed_after_commits(2)
    newest, older = faulty.steps()
    damage(faulty, newest)
    life = faulty.trainer.start()
    assert life.wait() == 0, life.output + life.errors
    assert f"WARNING step {newest}: checkpoint set aside: " in life.output
    assert re.search(rf"step {older} of \d+: resumed", life.output)
    assert len(faulty.checkpoints.list(f"{RUN}/set-aside/{newest:010d}-")) == 1
    faulty.assert_undisturbed(undisturbed)


def test_when_all_checkpoints_are_damaged_the_next_start_begins_anew(faulty: Faulty, undisturbed: Result) -> None:
    faulty.train_until_killed_after_commits(2)
    for step in faulty.steps():
        overwritten_part(faulty, step)
    line = said(faulty.trainer.start(), 75)
    assert "all 2 checkpoints of run default" in line
    assert "start again to begin from step 0" in line
    life = faulty.trainer.start()
    assert life.wait() == 0
    assert "run default begins" in life.output
    faulty.assert_undisturbed(undisturbed)


def test_a_checkpoint_of_a_newer_program_is_left_alone(faulty: Faulty) -> None:
    faulty.train_until_killed_after_commits(2)
    newest = faulty.steps()[0]
    rewrite(faulty, newest, lambda text: json.dumps({**json.loads(text), "format": FORMAT + 1}).encode())
    before = faulty.checkpoints.list(f"{RUN}/manifests/") + faulty.checkpoints.list(f"{RUN}/data/")
    line = said(faulty.trainer.start(), 2)
    assert f"has format {FORMAT + 1}, this program reads up to {FORMAT}: use a newer image" in line
    assert faulty.checkpoints.list(f"{RUN}/manifests/") + faulty.checkpoints.list(f"{RUN}/data/") == before


def commit_first(faulty: Faulty, change: Callable[[Manifest], Manifest]) -> None:
    """Let another writer have committed the first checkpoint, as far as the trainer can tell."""

    def replace_newest() -> None:
        step = faulty.steps()[0]
        found = faulty.read(step)
        faulty.checkpoints.delete(layout.manifest(RUN, step))
        faulty.checkpoints.write(layout.manifest(RUN, step), change(found).to_json(), if_generation=ABSENT)

    faulty.proxy.rule = each(LostReply(replace_newest), where=is_commit, count=1)


LONGER = ("--epochs", "12")
"""Long enough for the uploader to find the other writer before the end."""


@pytest.fixture(scope="session")
def undisturbed_longer(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Result:
    trainer = Trainer(zygote, str(tmp_path_factory.mktemp("longer")))
    assert trainer.start(*LONGER).wait() == 0
    return trainer.result()


def test_a_second_writer_of_the_same_state_does_no_harm(faulty: Faulty, undisturbed_longer: Result) -> None:
    commit_first(faulty, lambda found: replace(found, attempt="other", start=9))
    life = faulty.start(*LONGER)
    assert life.wait() == 0, life.output + life.errors
    assert "already committed by attempt other start 9" in life.output
    faulty.assert_undisturbed(undisturbed_longer)


def test_a_second_writer_of_another_state_ends_training(faulty: Faulty, undisturbed_longer: Result) -> None:
    commit_first(faulty, lambda found: replace(found, attempt="other", config={**found.config, "seed": 1}, start=9))
    line = said(faulty.start(*LONGER), 1)
    assert re.search(rf"step \d+ was committed at .* by attempt other start 9 .* works on run {RUN}", line)
    # What that one committed is of another configuration: it is never mixed into this run.
    assert "was begun with --seed 1" in said(faulty.trainer.start(*LONGER), 2)
    assert faulty.trainer.start(*LONGER, "--resume", "never").wait() == 0
    faulty.assert_undisturbed(undisturbed_longer)
