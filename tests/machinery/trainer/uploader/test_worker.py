"""Test that the uploader's process commits complete checkpoints, or reports the failure with its reason."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot.storage import paths
from spot.storage.base import ABSENT, Conflict, Store
from spot.storage.checksum import crc32c
from spot.storage.factory import open_store
from spot.storage.paths import Upload
from spot.storage.records import lease, manifest
from spot.storage.records.lease import Lease
from spot.storage.records.manifest import Manifest, Part
from spot.trainer.uploader.buffer import SharedBuffer
from spot.trainer.uploader.messages import (
    Durable,
    Event,
    Failed,
    HandOverRequested,
    KeepLease,
    LeaseTiming,
    Lost,
    Mirror,
    Mirrored,
    OfferLease,
    Released,
    Save,
    Withdraw,
)
from spot.trainer.uploader.messages import Fault as Why
from spot.trainer.uploader.process import UploaderProcess
from spot.trainer.uploader.worker import PART_SIZE, SMALLEST_PART, STREAMS, part_size
from tests.machinery import samples
from tests.machinery.each import each
from tests.machinery.proxy import Answer, Fault, FlipRequest, Proxy, Request, Reset, Slow, never
from tests.machinery.trainer.faults import is_commit, is_part

RUN = "run"
PATIENCE_S = 60.0
TAIL = 60
"""More bytes than the closing of a multipart upload's body, fewer than that and the data."""


@dataclass(slots=True)
class Uploader:
    """Drive an uploader as the trainer does, through its channel."""

    store: Store
    keep: int = 2
    start: int = 1
    rank: int = 0
    world: int = 1
    buffer: SharedBuffer = field(default_factory=SharedBuffer)
    saves: int = 0
    process: UploaderProcess = field(init=False)
    received: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.rank:
            lease.claim(self.store, RUN, lease.process_name("a", self.start))
        self.process = UploaderProcess(self.store.uri, self.buffer.fd, self.keep)

    def save(self, step: int, data: bytes, *, score: float | None = None, prune: bool = True, **changes: object) -> int:
        """Order a save and return its number."""
        self.saves += 1
        self.buffer.view(len(data))[: len(data)] = data
        draft = replace(draft_of(step, self.start, score), **changes)  # type: ignore[arg-type]
        order = Save(save=self.saves, size=len(data), manifest=draft, prune=prune, rank=self.rank, world=self.world)
        self.process.send(order)
        return self.saves

    def next_message(self) -> Event:
        """Return the next message."""
        if not self.received:
            self.received.extend(self.process.receive(PATIENCE_S))
        return self.received.pop(0)

    def durable(self, step: int, data: bytes, **options: object) -> None:
        save = self.save(step, data, **options)  # type: ignore[arg-type]
        message = self.next_message()
        assert isinstance(message, Durable), message
        assert (message.save, message.step) == (save, step)

    def failed(self, step: int, data: bytes = b"data", **options: object) -> tuple[Why, str]:
        save = self.save(step, data, **options)  # type: ignore[arg-type]
        message = self.next_message()
        assert isinstance(message, Failed), message
        assert (message.save, message.step) == (save, step)
        return message.fault, message.reason


def draft_of(step: int, start: int = 1, score: float | None = None) -> Manifest:
    return samples.manifest(
        run=RUN,
        attempt="a",
        start=start,
        token=start,
        step=step,
        total_steps=1000,
        compute_seconds=float(step),
        score=score,
        config={"seed": 0},
    )


def content(store: Store, step: int) -> bytes:
    """Return the bytes of a committed checkpoint, checked against its manifest."""
    whole = b""
    for part in read(store, step).parts:
        view = memoryview(bytearray(part.size))
        store.read_into(part.name, view, generation=part.generation)
        assert crc32c(view) == part.crc32c
        whole += bytes(view)
    return whole


def read(store: Store, step: int) -> Manifest:
    [commit] = [commit for commit in manifest.commits(store, RUN) if commit.step == step]
    return manifest.read(store, RUN, commit)


def steps(store: Store) -> list[int]:
    return [commit.step for commit in manifest.commits(store, RUN)]


def steps_of_parts(store: Store) -> list[int]:
    found = (paths.step_of_data(entry.name) for entry in store.list(paths.data(RUN)))
    return sorted(step for step in found if step is not None)


@pytest.fixture
def uploader(tmp_path: Path) -> Iterator[Uploader]:
    """Start an uploader to a local directory."""
    uploader = Uploader(open_store(str(tmp_path / "store")))
    yield uploader
    uploader.process.close()


@pytest.fixture
def either(store: Store) -> Iterator[Uploader]:
    """Start an uploader to each kind of store."""
    uploader = Uploader(store)
    yield uploader
    uploader.process.close()


@pytest.fixture
def remote(gs_uri: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Uploader]:
    """Start an uploader through the proxy; `store` bypasses it."""
    store = open_store(gs_uri)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
    uploader = Uploader(store)
    yield uploader
    uploader.process.close()


def test_a_save_is_committed_completely_with_its_manifest(either: Uploader) -> None:
    either.durable(7, b"the state")
    assert content(either.store, 7) == b"the state"
    assert replace(read(either.store, 7), shards=()) == draft_of(7)


def test_one_buffer_serves_saves_of_any_size_in_turn(uploader: Uploader) -> None:
    for step, data in ((1, b"short"), (2, b"longer" * 100_000), (3, b"tiny")):
        uploader.durable(step, data, prune=False)
    assert [content(uploader.store, step) for step in (1, 2, 3)] == [b"short", b"longer" * 100_000, b"tiny"]


def test_a_large_state_is_several_parts_in_order(uploader: Uploader) -> None:
    data = bytes(range(256)) * (2 * SMALLEST_PART // 256) + b"rest"
    uploader.durable(1, data)
    assert [part.size for part in read(uploader.store, 1).parts] == [SMALLEST_PART, SMALLEST_PART, 4]
    assert content(uploader.store, 1) == data


@given(st.integers(1, 2**40))
def test_parts_are_neither_tiny_nor_huge_and_keep_all_streams_busy(size: int) -> None:
    length = part_size(size)
    parts = -(-size // length)
    assert length >= SMALLEST_PART
    assert min(size, length) <= 2 * PART_SIZE
    assert parts <= STREAMS or parts % STREAMS == 0 or length * parts - size < length


def test_the_newest_and_the_best_are_kept(either: Uploader) -> None:
    for step, score in enumerate([0.5, 0.9, 0.1, 0.2, 0.3], start=1):
        either.durable(step, b"%d" % step, score=score)
    either.durable(6, b"6", score=0.4)
    wait_until(lambda: steps(either.store) == [6, 5, 2] and steps_of_parts(either.store) == [2, 5, 6])
    assert [content(either.store, step) for step in (2, 5, 6)] == [b"2", b"5", b"6"]


def test_a_save_without_pruning_deletes_nothing(remote: Uploader, proxy: Proxy) -> None:
    for step in range(1, 6):
        remote.durable(step, b"data", prune=False)
    assert steps(remote.store) == [5, 4, 3, 2, 1]
    assert {request.method for request in proxy.requests} == {"POST"}


def test_parts_without_a_manifest_are_deleted_unless_they_are_newer(uploader: Uploader) -> None:
    """Torn uploads of killed starts are deleted; newer parts may belong to a save in progress."""
    torn = [Upload(run=RUN, step=step, token=9, attempt="a", start=9, save=1).part(0) for step in (3, 5, 8)]
    for name in torn:
        uploader.store.write(name, b"torn", if_generation=ABSENT)
    uploader.durable(5, b"data")
    wait_until(lambda: steps_of_parts(uploader.store) == [5, 8])
    assert content(uploader.store, 5) == b"data"


def wait_until(satisfied: Callable[[], bool]) -> None:
    """Wait for an effect without a message, such as pruning, which comes after the message that a save is durable."""
    for _ in range(1000):
        if satisfied():
            return
        threading.Event().wait(0.01)
    raise AssertionError("the condition never became true")


def test_manifests_are_deleted_before_their_parts(remote: Uploader, proxy: Proxy) -> None:
    for step in (1, 2, 3, 4):
        remote.durable(step, b"data")
    wait_until(lambda: steps_of_parts(remote.store) == [3, 4])
    deleted = [request.name for request in proxy.requests if request.method == "DELETE"]
    assert len(deleted) == 4
    for step in (1, 2):
        first, second = (name for name in deleted if f"/{step:010d}" in name)
        assert ("/manifests/" in first, "/data/" in second) == (True, True)


def test_a_writer_that_has_lost_its_lease_prunes_nothing(remote: Uploader, proxy: Proxy) -> None:
    """Its successor may be restoring or writing the checkpoints that it would delete."""
    lease.claim(remote.store, RUN, "b.1")
    for step in range(1, 7):
        remote.durable(step, b"data")
    wait_until(lambda: sum(request.name.endswith("/writer.json") for request in proxy.requests) == 6)
    assert {request.method for request in proxy.requests} == {"GET", "POST"}


def test_checkpoints_outside_the_lineage_are_pruned(store: Store) -> None:
    outside = draft_of(9)
    store.write(outside.name, outside.to_json(), if_generation=ABSENT)
    uploader = Uploader(store, start=2)
    assert steps(store) == [9]
    uploader.durable(5, b"data")
    assert steps(store) == [5]
    wait_until(lambda: [commit.step for commit in manifest.listed(store, RUN)] == [5])
    uploader.process.close()


def test_a_damaged_manifest_does_not_stop_pruning(uploader: Uploader) -> None:
    """It stays until a start finds and quarantines it."""
    damaged = paths.manifest(RUN, draft_of(1).commit)
    uploader.store.write(damaged, b"damaged", if_generation=ABSENT)
    for step in (2, 3, 4):
        uploader.durable(step, b"data")
    wait_until(lambda: steps(uploader.store) == [4, 3, 1] and steps_of_parts(uploader.store) == [3, 4])


def test_the_uploader_keeps_the_lease(either: Uploader) -> None:
    me, standby = lease.process_name("a", 1), "b.1"
    for _ in range(2):  # the checkpointer repeats it
        either.process.send(KeepLease(run=RUN, name=me, timing=LeaseTiming(poll_s=0.01, heartbeat_s=0.01)))
    become(either.store, lambda held: held.requested_by(standby))
    assert either.next_message() == HandOverRequested(successor=standby)
    wait_until(lambda: (lease.read(either.store, RUN) or NO_LEASE).heartbeat > 0)
    either.process.send(OfferLease(successor=standby))
    wait_until(lambda: (lease.read(either.store, RUN) or NO_LEASE).offered)
    become(either.store, lambda held: held.taken_by(standby))
    assert either.next_message() == Lost(holder=standby)


NO_LEASE = Lease(token=0, holder="")


def become(store: Store, change: Callable[[Lease], Lease]) -> None:
    """Change the lease as another process does."""
    while True:
        found = lease.look(store, RUN)
        assert found
        with contextlib.suppress(Conflict):
            lease.change(store, RUN, found, change(found.lease))
            return


def test_a_failure_to_prune_is_no_failure_to_save(remote: Uploader, proxy: Proxy) -> None:
    refused = threading.Event()

    def rule(request: Request) -> Fault | None:
        if request.method != "DELETE":
            return None
        refused.set()
        return Answer(403)

    proxy.rule = rule
    for step in (1, 2, 3):
        remote.durable(step, b"data")
    assert refused.wait(PATIENCE_S)
    remote.durable(4, b"data")
    assert steps(remote.store) == [4, 3, 2, 1]


def test_a_withdrawn_save_is_released_at_once_and_never_committed(remote: Uploader, proxy: Proxy) -> None:
    started = threading.Event()

    def rule(request: Request) -> Fault | None:
        started.set()
        return Slow(5e5) if is_part(request) else None

    proxy.rule = rule
    save = remote.save(1, bytes(8 << 20))
    assert started.wait(PATIENCE_S)
    remote.process.send(Withdraw(save=save))
    assert remote.next_message() == Released(save=save)
    proxy.rule = never
    remote.durable(2, b"fresh")
    assert steps(remote.store) == [2]
    assert content(remote.store, 2) == b"fresh"


def test_a_save_withdrawn_after_its_last_byte_is_not_committed(remote: Uploader, proxy: Proxy) -> None:
    arrived, resumed = threading.Event(), threading.Event()

    def rule(request: Request) -> None:
        if is_part(request) and not resumed.is_set():
            arrived.set()
            assert resumed.wait(PATIENCE_S)

    proxy.rule = rule
    save = remote.save(1, b"stale")
    assert arrived.wait(PATIENCE_S)
    remote.process.send(Withdraw(save=save))
    assert remote.next_message() == Released(save=save)
    resumed.set()
    remote.durable(2, b"fresh")
    assert steps(remote.store) == [2]


def test_a_save_withdrawn_during_its_commit_is_committed(remote: Uploader, proxy: Proxy) -> None:
    arrived, resumed = threading.Event(), threading.Event()

    def rule(request: Request) -> Fault | None:
        if is_commit(request):
            arrived.set()
            assert resumed.wait(PATIENCE_S)
        return None

    proxy.rule = rule
    first = remote.save(1, b"first")
    assert arrived.wait(PATIENCE_S)
    remote.process.send(Withdraw(save=first))
    assert remote.next_message() == Released(save=first)
    second = remote.save(2, b"second")  # into the same memory
    resumed.set()
    messages = {remote.next_message(), remote.next_message()}
    assert {(message.save, message.step) for message in messages if isinstance(message, Durable)} == {
        (first, 1),
        (second, 2),
    }
    assert (content(remote.store, 1), content(remote.store, 2)) == (b"first", b"second")


@pytest.mark.parametrize("where", [is_part, is_commit])
def test_a_refusal_is_reported_as_denied_with_its_reason(
    remote: Uploader, proxy: Proxy, where: Callable[[Request], bool]
) -> None:
    proxy.rule = each(Answer(403, "no permission"), where=where)
    fault, reason = remote.failed(1)
    assert (fault, "403 no permission" in reason) == (Why.DENIED, True)
    assert steps(remote.store) == []


def test_a_part_damaged_on_its_way_fails_the_save_and_the_next_one_succeeds(remote: Uploader, proxy: Proxy) -> None:
    proxy.rule = each(FlipRequest(TAIL), where=is_part, count=1)
    fault, reason = remote.failed(1, bytes(1000))
    assert (fault, "another checksum" in reason) == (Why.TRANSIENT, True)
    assert steps(remote.store) == []
    remote.durable(1, bytes(1000))
    assert content(remote.store, 1) == bytes(1000)


def test_resets_and_server_errors_are_retried(remote: Uploader, proxy: Proxy) -> None:
    faults: Iterator[Fault] = iter([Reset(100), Answer(503)])
    proxy.rule = lambda _: next(faults, None)
    remote.durable(1, b"data" * 1000)
    assert content(remote.store, 1) == b"data" * 1000


def test_a_step_that_an_earlier_uploader_committed_counts_as_durable(either: Uploader) -> None:
    """The earlier uploader died before it reported the commit."""
    committed = replace(draft_of(1), shards=((Part(name="elsewhere", size=4, crc32c=crc32c(b"data"), generation=1),),))
    either.store.write(committed.name, committed.to_json(), if_generation=ABSENT)
    either.durable(1, b"data")
    assert read(either.store, 1) == committed


def test_an_invalid_order_is_reported_and_the_uploader_continues(uploader: Uploader) -> None:
    fault, _ = uploader.failed(1, b"data", config={"rate": math.nan})
    assert fault in {Why.BUG, Why.TRANSIENT}
    uploader.durable(2, b"data")


def test_signals_to_the_process_group_do_not_end_the_uploader(uploader: Uploader) -> None:
    uploader.durable(1, b"data")
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(uploader.process.pid, number)
    uploader.durable(2, b"data")


def test_a_log_replaces_its_last_copy(either: Uploader, tmp_path: Path) -> None:
    log = tmp_path / "events"
    target = f"{either.store.uri}/logs"
    for text in (b"one", b"one, two"):
        log.write_bytes(text)
        either.process.send(Mirror(path=str(log), directory=target, name="run/events"))
        assert either.next_message() == Mirrored(path=str(log))
        assert open_store(target).read("run/events").data == text


@pytest.mark.parametrize("directory", ["gs://no-such-bucket/logs", "/proc/nowhere", "s3://bucket"])
def test_a_log_that_cannot_be_copied_is_no_failure(tmp_path: Path, directory: str, gs_uri: str) -> None:
    uploader = Uploader(open_store(gs_uri))
    log = tmp_path / "events"
    log.write_bytes(b"text")
    uploader.process.send(Mirror(path=str(log), directory=directory, name="run/events"))
    assert uploader.next_message() == Mirrored(path=str(log))
    uploader.durable(1, b"data")
    uploader.process.close()


def test_a_restarted_uploader_uses_the_same_buffer(uploader: Uploader) -> None:
    uploader.durable(1, b"data")
    os.kill(uploader.process.pid, signal.SIGKILL)
    with pytest.raises(EOFError):
        for _ in uploader.process.receive(PATIENCE_S):
            pass
    assert uploader.process.restart() == -signal.SIGKILL
    uploader.durable(2, b"other")
    assert content(uploader.store, 2) == b"other"
