"""Trainer processes on a store that fails in every way: the same model, or one clear line and nothing lost."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

import psutil
import pytest
import requests

from bucket import layout, manifest
from bucket.checksum import crc32c
from bucket.manifest import FORMAT, Manifest
from bucket.store import ABSENT, Store, open_store
from tests.proxy import Answer, Fault, LostReply, Proxy, Request, Reset, Rule, Slow, Truncate, each
from tests.trainer.conftest import Trainer
from tests.zygote import Life, Zygote

Result = tuple[bytes, bytes]
RUN = "default"
FAULTS: list[Fault] = [
    Answer(429),
    Reset(),
    Answer(500),
    Truncate(3),
    LostReply(),
    Reset(5000),
    Answer(503),
    Truncate(0),
]


@pytest.fixture
def trainer(zygote: Zygote, gs_uri: str) -> Trainer:
    """With nothing between it and the server."""
    return Trainer(zygote, gs_uri)


@pytest.fixture
def faulty(trainer: Trainer, proxy: Proxy) -> Trainer:
    """The same run, through the proxy."""
    return replace(trainer, env={"STORAGE_EMULATOR_HOST": proxy.url})


@pytest.fixture
def checkpoints(trainer: Trainer) -> Store:
    return open_store(f"{trainer.uri}/checkpoints")


def is_commit(request: Request) -> bool:
    return request.is_upload and "/manifests/" in request.name


def is_part(request: Request) -> bool:
    return request.is_upload and "/data/" in request.name


def second(where: Callable[[Request], bool], fault: Fault) -> Rule:
    """`fault` for the second request that satisfies `where`."""
    seen = itertools.count(1)
    return each(fault, where=lambda request: where(request) and next(seen) == 2)


def said(life: Life, code: int) -> str:
    """The one line on standard error with which the trainer left."""
    assert life.wait() == code, life.output + life.errors
    [line] = life.errors.splitlines()
    assert line.startswith("trainer: ")
    assert "Traceback" not in life.output
    return line


def assert_whole(store: Store) -> None:
    """Every committed checkpoint is readable and undamaged."""
    for step in manifest.steps(store, RUN):
        for part in manifest.read(store, RUN, step).parts:
            view = memoryview(bytearray(part.size))
            store.read_into(part.name, view, generation=part.generation)
            assert crc32c(view) == part.crc32c


def assert_goes_on(trainer: Trainer, expected: Result, *, resumed: bool = True) -> Life:
    """The next start finds the newest good checkpoint and ends as if nothing had happened."""
    newest = trainer.newest()
    life = trainer.start()
    assert life.wait() == 0, life.output + life.errors
    assert trainer.result() == expected
    if resumed:
        assert newest
        assert f"step {newest.step} of {newest.total_steps}: resumed" in life.output
    return life


def killed_after_commits(faulty: Trainer, proxy: Proxy, count: int) -> None:
    """Train until so many checkpoints are committed, then SIGKILL."""
    lives = Future[Life]()
    commits = itertools.count(1)

    def rule(request: Request) -> Fault | None:
        if is_commit(request) and next(commits) == count:
            return LostReply(lives.result().kill)
        return None

    proxy.rule = rule
    lives.set_result(faulty.start())
    assert lives.result().wait() == -signal.SIGKILL
    proxy.rule = each(Reset(), count=0)


def test_every_kind_of_passing_fault_in_turn_leaves_no_trace(
    faulty: Trainer, proxy: Proxy, checkpoints: Store, undisturbed: Result
) -> None:
    faults = itertools.cycle(FAULTS)
    proxy.rule = lambda request: next(faults) if request.number % 4 == 0 else None
    assert faulty.start().wait() == 0
    assert len(proxy.requests) > 4 * len(FAULTS)
    assert faulty.result() == undisturbed
    assert_whole(checkpoints)


@pytest.mark.chaos
@pytest.mark.parametrize("fault", FAULTS, ids=repr)
def test_bursts_of_one_fault_leave_no_trace(
    fault: Fault, faulty: Trainer, proxy: Proxy, checkpoints: Store, undisturbed: Result
) -> None:
    proxy.rule = lambda request: fault if request.number % 9 < 3 else None
    assert faulty.start().wait(180) == 0
    assert faulty.result() == undisturbed
    assert_whole(checkpoints)


@pytest.mark.chaos
def test_a_slow_server_slows_no_training_down_but_the_end(
    faulty: Trainer, proxy: Proxy, checkpoints: Store, undisturbed: Result
) -> None:
    proxy.rule = each(Slow(1e6))
    assert faulty.start().wait() == 0
    assert faulty.result() == undisturbed
    assert_whole(checkpoints)


@pytest.mark.chaos
def test_a_server_that_is_down_for_a_while_is_waited_for(
    faulty: Trainer, proxy: Proxy, checkpoints: Store, undisturbed: Result
) -> None:
    down = iter(range(20))
    commits = itertools.count(1)
    began = False

    def rule(request: Request) -> Fault | None:
        nonlocal began
        began = began or (is_commit(request) and next(commits) == 2)
        return Reset() if began and next(down, None) is not None else None

    proxy.rule = rule
    life = faulty.start()
    assert life.wait(300) == 0
    assert next(down, None) is None
    assert "trying again" in life.output
    assert faulty.result() == undisturbed
    assert_whole(checkpoints)


def test_a_stop_while_the_server_is_away_keeps_to_its_grace_and_to_the_last_checkpoint(
    faulty: Trainer, trainer: Trainer, proxy: Proxy, checkpoints: Store, undisturbed: Result
) -> None:
    lives = Future[Life]()
    commits = itertools.count(1)
    gone = False

    def rule(request: Request) -> Fault | None:
        nonlocal gone
        if is_commit(request) and next(commits) == 2:
            gone = True
            lives.result().kill(signal.SIGTERM)
        return Reset() if gone else None

    proxy.rule = rule
    lives.set_result(faulty.start("--grace", "1"))
    assert lives.result().wait() == 143
    assert len(manifest.steps(checkpoints, RUN)) == 1
    assert_whole(checkpoints)
    assert_goes_on(trainer, undisturbed)


def test_a_lost_reply_to_a_commit_is_a_commit(faulty: Trainer, proxy: Proxy, undisturbed: Result) -> None:
    proxy.rule = second(is_commit, LostReply())
    life = faulty.start()
    assert life.wait() == 0, life.output + life.errors
    assert "not saved" not in life.output
    assert faulty.result() == undisturbed


def rewritten(store: Store, change: Callable[[Manifest], Manifest]) -> Callable[[], None]:
    """Put another manifest in the place of the newest one, as a second writer who was first would have."""

    def rewrite() -> None:
        step = manifest.steps(store, RUN)[0]
        found = manifest.read(store, RUN, step)
        store.delete(layout.manifest(RUN, step))
        store.write(layout.manifest(RUN, step), change(found).to_json(), if_generation=ABSENT)

    return rewrite


def test_a_second_writer_of_the_same_state_does_no_harm(
    faulty: Trainer, proxy: Proxy, checkpoints: Store, undisturbed: Result
) -> None:
    proxy.rule = each(
        LostReply(rewritten(checkpoints, lambda found: replace(found, attempt="other", start=9))),
        where=is_commit,
        count=1,
    )
    life = faulty.start()
    assert life.wait() == 0, life.output + life.errors
    assert "already committed by attempt other start 9" in life.output
    assert faulty.result() == undisturbed


def test_a_second_writer_of_another_state_ends_training(
    faulty: Trainer, trainer: Trainer, proxy: Proxy, checkpoints: Store, undisturbed: Result
) -> None:
    def change(found: Manifest) -> Manifest:
        return replace(found, attempt="other", parts=(replace(found.parts[0], crc32c=1),))

    proxy.rule = each(LostReply(rewritten(checkpoints, change)), where=is_commit, count=1)
    line = said(faulty.start(), 1)
    assert re.search(rf"step \d+ was committed at .* by attempt other .* a second trainer works on run {RUN}", line)
    # What that one has written is damaged here, and nothing else was saved.
    life = trainer.start()
    assert "damaged and are set aside: start again to begin from step 0" in said(life, 1)
    assert_goes_on(trainer, undisturbed, resumed=False)


def _change_part(store: Store, found: Manifest) -> None:
    part = found.parts[0]
    store.write(part.name, bytes(part.size), if_generation=part.generation)


def _delete_part(store: Store, found: Manifest) -> None:
    store.delete(found.parts[0].name)


def _change_manifest(text: bytes | Callable[[bytes], bytes]) -> Callable[[Store, Manifest], None]:
    def change(store: Store, found: Manifest) -> None:
        name = layout.manifest(RUN, found.step)
        old = store.read(name)
        store.write(name, text if isinstance(text, bytes) else text(old.data), if_generation=old.generation)

    return change


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_change_part, id="damaged part"),
        pytest.param(_delete_part, id="missing part"),
        pytest.param(_change_manifest(b"nonsense \xff"), id="nonsense manifest"),
        pytest.param(_change_manifest(b""), id="empty manifest"),
        pytest.param(_change_manifest(lambda text: text[: len(text) // 2]), id="truncated manifest"),
    ],
)
def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(
    damage: Callable[[Store, Manifest], None],
    faulty: Trainer,
    trainer: Trainer,
    proxy: Proxy,
    checkpoints: Store,
    undisturbed: Result,
) -> None:
    killed_after_commits(faulty, proxy, 2)
    newest, older = manifest.steps(checkpoints, RUN)
    damage(checkpoints, manifest.read(checkpoints, RUN, newest))
    life = assert_goes_on(trainer, undisturbed, resumed=False)
    assert f"WARNING step {newest}: checkpoint set aside: " in life.output
    assert f"step {older} of " in life.output
    assert [entry.name for entry in checkpoints.list(f"{RUN}/set-aside/{newest:010d}-")]
    assert_whole(checkpoints)


def test_a_checkpoint_of_a_newer_program_is_left_alone(
    faulty: Trainer, trainer: Trainer, proxy: Proxy, checkpoints: Store
) -> None:
    killed_after_commits(faulty, proxy, 2)
    before = [entry for entry in checkpoints.list("") if "/attempts/" not in entry.name]
    newest = manifest.steps(checkpoints, RUN)[0]

    def newer(text: bytes) -> bytes:
        return json.dumps({**json.loads(text), "format": FORMAT + 1}).encode()

    _change_manifest(newer)(checkpoints, manifest.read(checkpoints, RUN, newest))
    assert f"has format {FORMAT + 1}, this program reads up to {FORMAT}: use a newer image" in said(trainer.start(), 2)
    after = [entry for entry in checkpoints.list("") if "/attempts/" not in entry.name]
    assert [entry.name for entry in after] == [entry.name for entry in before]


def kill_uploader(lives: Future[Life]) -> Fault:
    """Ends the uploader in the middle of its request."""
    for process in psutil.Process(lives.result().pid).children():
        if "trainer.uploader" in process.cmdline():
            os.kill(process.pid, signal.SIGKILL)
    return Reset()


def test_a_killed_uploader_is_replaced(faulty: Trainer, proxy: Proxy, checkpoints: Store, undisturbed: Result) -> None:
    lives = Future[Life]()
    parts = itertools.count(1)
    proxy.rule = lambda request: kill_uploader(lives) if is_part(request) and next(parts) == 2 else None
    lives.set_result(faulty.start())
    assert lives.result().wait() == 0, lives.result().output + lives.result().errors
    assert "the uploader died (-9): started another" in lives.result().output
    assert faulty.result() == undisturbed
    assert_whole(checkpoints)


def test_an_uploader_that_dies_again_and_again_is_an_error(
    faulty: Trainer, trainer: Trainer, proxy: Proxy, undisturbed: Result
) -> None:
    lives = Future[Life]()
    commits = itertools.count(1)
    proxy.rule = lambda request: kill_uploader(lives) if is_commit(request) and next(commits) > 1 else None
    lives.set_result(faulty.start())
    assert "the uploader died 3 times without a checkpoint, last with -9" in said(lives.result(), 1)
    assert_goes_on(trainer, undisturbed)


@pytest.mark.parametrize("where", [is_part, is_commit])
def test_a_permission_lost_on_the_way_ends_training_with_the_reason(
    where: Callable[[Request], bool], faulty: Trainer, trainer: Trainer, proxy: Proxy, undisturbed: Result
) -> None:
    reason = "robot@example.com does not have storage.objects.create access"
    proxy.rule = second(where, Answer(403, reason))
    assert f"403 {reason}" in said(faulty.start(), 2)
    assert_goes_on(trainer, undisturbed)


def test_a_bucket_deleted_on_the_way_ends_training_with_its_name(
    zygote: Zygote, emulator_url: str, proxy: Proxy
) -> None:
    bucket = f"{emulator_url}/storage/v1/b/doomed"
    requests.post(f"{emulator_url}/storage/v1/b", json={"name": "doomed"}, timeout=10).raise_for_status()
    store = open_store("gs://doomed")

    def delete_bucket() -> None:
        for entry in store.list(""):
            store.delete(entry.name)
        requests.delete(bucket, timeout=10).raise_for_status()

    proxy.rule = each(LostReply(delete_bucket), where=is_commit, count=1)
    life = Trainer(zygote, "gs://doomed", {"STORAGE_EMULATOR_HOST": proxy.url}).start()
    assert "bucket gs://doomed does not exist" in said(life, 2)


def test_the_uploader_does_not_outlive_a_killed_trainer(faulty: Trainer, proxy: Proxy) -> None:
    lives = Future[Life]()
    uploaders: list[psutil.Process] = []

    def rule(request: Request) -> Fault | None:
        if is_part(request) and not uploaders:
            uploaders.extend(psutil.Process(lives.result().pid).children())
            lives.result().kill(group=False)
        return Slow(1e5) if uploaders else None

    proxy.rule = rule
    lives.set_result(faulty.start())
    assert lives.result().wait() == -signal.SIGKILL
    gone, alive = psutil.wait_procs(uploaders, timeout=10)
    assert (len(gone), alive) == (1, [])
