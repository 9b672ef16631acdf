"""Test that results are complete once `completion.json` exists, and are the same when written again after a kill."""

from __future__ import annotations

import contextlib
import hashlib
import json
import resource
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from spot.storage import paths
from spot.storage.base import ABSENT, Conflict, Store, Written, never
from spot.storage.checksum import crc32c
from spot.storage.factory import open_store
from spot.storage.records import completion
from spot.storage.records.lease import LeaseLost
from spot.trainer.results.write import check_writable, write_results
from spot.trainer.runtime.errors import TrainingError
from tests.machinery.clocks import ManualClock
from tests.machinery.storage.memory import MemoryStore

CLOCK = ManualClock()
Files = Mapping[str, bytes]
MODEL: Files = {"model.safetensors": b"weights", "tokenizer/vocabulary.txt": b"a\nb\n", "tokenizer/merges.txt": b""}
OTHER: Files = {"model.safetensors": b"WEIGHTS", "model-00001-of-00002.safetensors": b"more"}
METRICS = {"steps": 3}
COMPLETION = paths.output("run", paths.COMPLETION)
WEIGHTS = paths.output("run", paths.MODEL)


def held() -> None:
    """Check a lease that is held."""


def write(
    store: Store, files: Files, tmp_path: Path, attempt: str = "a", check_lease: Callable[[], None] | None = held
) -> None:
    """Write these files as the results of the run."""
    folder = tmp_path / attempt
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    write_results(
        store,
        "run",
        folder,
        METRICS,
        {"attempt": attempt},
        clock=CLOCK,
        ended=CLOCK.monotonic(),
        check_lease=check_lease,
    )


def completed_by(store: Store, files: Files) -> str:
    """Return the attempt that completed the run, and assert that the model is exactly these files."""
    found = completion.read(store, "run")
    assert found is not None
    listed = {entry.name: entry for entry in store.list("run/")}
    assert set(listed) == {COMPLETION, *(paths.output("run", name) for name in found.objects)}
    assert set(found.objects) == {paths.METRICS, *(f"model/{name}" for name in files)}
    for name, pinned in found.objects.items():
        written = store.read(paths.output("run", name))
        assert pinned == Written(
            generation=written.generation,
            size=len(written.data),
            crc32c=crc32c(written.data),
            sha256=hashlib.sha256(written.data).hexdigest(),
        )
    assert {name: store.read(f"run/model/{name}").data for name in files} == files
    return str(found.attempt)


def test_a_run_without_completion_is_not_complete(store: Store) -> None:
    assert completion.read(store, "run") is None


@pytest.mark.parametrize("check_lease", [held, None])
def test_completion_pins_every_file(store: Store, check_lease: Callable[[], None] | None, tmp_path: Path) -> None:
    write(store, MODEL, tmp_path, check_lease=check_lease)
    assert completed_by(store, MODEL) == "a"
    assert json.loads(store.read("run/metrics.json").data) == METRICS


def test_results_of_a_killed_start_are_replaced(store: Store, tmp_path: Path) -> None:
    store.write(WEIGHTS, b"of a start that did not get to the end", if_generation=ABSENT)
    store.write("run/model/tokenizer/vocabulary.txt", b"b\na\n", if_generation=ABSENT)
    write(store, MODEL, tmp_path)
    assert completed_by(store, MODEL) == "a"


def test_files_that_this_export_does_not_have_are_deleted(store: Store, tmp_path: Path) -> None:
    for name in ("model/model-00001-of-00002.safetensors", "model/tokenizer", "evaluation.json"):
        store.write(f"run/{name}", b"of an earlier start", if_generation=ABSENT)
    write(store, MODEL, tmp_path)
    assert store.read("run/evaluation.json").data == b"of an earlier start"
    store.delete("run/evaluation.json")
    assert completed_by(store, MODEL) == "a"


def test_an_empty_export_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a/empty").mkdir(parents=True)
    with pytest.raises(TrainingError, match="run run exported no file"):
        write(store, {}, tmp_path)
    assert store.list("") == []


def test_a_file_name_that_no_object_can_have_is_refused_by_name(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'run/model/a\\nb' is not an object name"):
        write(store, {"a\nb": b"x"}, tmp_path)


def test_only_one_process_completes_a_run(store: Store, tmp_path: Path) -> None:
    write(store, MODEL, tmp_path, check_lease=None)
    with pytest.raises(TrainingError, match="another process completed run run"):
        write(store, MODEL, tmp_path, check_lease=None)


def test_a_model_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    """Neither when it is written, nor when it is compared with what an earlier start wrote."""
    size = 256 << 20
    (tmp_path / "big").mkdir()
    with (tmp_path / "big/model.safetensors").open("wb") as file:
        file.truncate(size)
    store = open_store(str(tmp_path / "store"))
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (used + size // 2, limits[1]))
    try:
        write(store, {}, tmp_path, attempt="big")
        before = store.list("run/model/")
        store.delete(COMPLETION)
        write(store, {}, tmp_path, attempt="big")
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, limits)
    assert store.list("run/model/") == before
    assert before[0].size == size


class Killed(Exception): ...


class KillingStore(MemoryStore):
    """Raise `Killed` instead of the write or deletion of this number, from 1."""

    kills_at = 0

    def _count(self) -> None:
        self.kills_at -= 1
        if self.kills_at == 0:
            raise Killed

    def write(
        self, name: str, data: bytes | memoryview, *, if_generation: int, cancelled: Callable[[], bool] = never
    ) -> Written:
        self._count()
        return super().write(name, data, if_generation=if_generation, cancelled=cancelled)

    def delete(self, name: str) -> None:
        self._count()
        super().delete(name)


def left_half_done(store: KillingStore, files: Files, tmp_path: Path, kills_at: int) -> None:
    store.kills_at = kills_at
    with pytest.raises(Killed):
        write(store, files, tmp_path, "killed")
    store.kills_at = 0


WRITES = len(MODEL) + 2
"""Each file, metrics and completion."""


@pytest.mark.parametrize("kills_at", range(1, WRITES + 1))
def test_a_repetition_after_a_kill_gives_the_same_objects(kills_at: int, tmp_path: Path) -> None:
    store = KillingStore()
    left_half_done(store, MODEL, tmp_path, kills_at)
    before = store.list("")
    assert completion.read(store, "run") is None
    write(store, MODEL, tmp_path, "again")
    assert completed_by(store, MODEL) == "again"
    assert set(before) <= set(store.list(""))


def test_a_repetition_keeps_equal_objects(store: Store, tmp_path: Path) -> None:
    write(store, MODEL, tmp_path, "first")
    store.delete(COMPLETION)
    before = store.list("")
    write(store, MODEL, tmp_path, "again")
    assert [entry for entry in store.list("") if entry.name != COMPLETION] == before


@pytest.mark.parametrize("kills_at", range(1, len(OTHER) + 3))
def test_results_of_a_replaced_writer_are_replaced(kills_at: int, tmp_path: Path) -> None:
    store = KillingStore()
    left_half_done(store, OTHER, tmp_path, kills_at)
    write(store, MODEL, tmp_path, "holder")
    assert completed_by(store, MODEL) == "holder"


@pytest.mark.parametrize("kills_at", range(1, WRITES + 1))
def test_a_kill_while_others_files_are_replaced_is_repaired(kills_at: int, tmp_path: Path) -> None:
    store = KillingStore()
    left_half_done(store, OTHER, tmp_path, len(OTHER) + 2)
    left_half_done(store, MODEL, tmp_path / "second", kills_at)
    assert completion.read(store, "run") is None
    write(store, MODEL, tmp_path, "holder")
    assert completed_by(store, MODEL) == "holder"


def test_a_late_completion_of_a_replaced_writer_is_replaced_if_it_names_other_results(tmp_path: Path) -> None:
    store = KillingStore()
    left_half_done(store, OTHER, tmp_path, len(OTHER) + 2)

    def late() -> None:
        with contextlib.suppress(Conflict):
            store.write(COMPLETION, b'{"attempt": "former", "time": "2026-11-28T00:00:00Z"}', if_generation=ABSENT)

    write(store, MODEL, tmp_path, "holder", check_lease=late)
    assert completed_by(store, MODEL) == "holder"


def test_a_late_completion_of_the_same_results_stands(tmp_path: Path) -> None:
    """Its writer sent it before it was replaced and killed, and had written the same model and metrics."""
    store = KillingStore()
    write(store, MODEL, tmp_path, "former", lambda: left_half_done(store, MODEL, tmp_path, 1))
    assert completed_by(store, MODEL) == "former"


@pytest.mark.parametrize("files", [MODEL, OTHER])
def test_a_run_that_another_start_completed_stays_as_it_is(files: Files, store: Store, tmp_path: Path) -> None:
    """The late start trained on, or was frozen until the lease was deleted."""
    write(store, MODEL, tmp_path, "first")
    before = store.list("")
    write(store, files, tmp_path, "late")
    assert store.list("") == before
    assert completed_by(store, MODEL) == "first"


@pytest.mark.parametrize("held_by_another", [{"model.safetensors": b"the holder's"}, {"other.bin": b"the holder's"}])
def test_a_replaced_writer_replaces_and_deletes_no_result(held_by_another: Files, store: Store, tmp_path: Path) -> None:
    def replaced() -> None:
        raise LeaseLost("the lease of run run is a5.1's")

    for name, content in held_by_another.items():
        store.write(f"run/model/{name}", content, if_generation=ABSENT)
    with pytest.raises(LeaseLost):
        write(store, MODEL, tmp_path, check_lease=replaced)
    assert [store.read(f"run/model/{name}").data for name in held_by_another] == [b"the holder's"]
    assert completion.read(store, "run") is None


@pytest.mark.parametrize("found", [b"", b"WEIGHTS"])
def test_a_file_that_another_process_writes_meanwhile_is_replaced(found: bytes, tmp_path: Path) -> None:
    store, name = MemoryStore(), WEIGHTS
    generation = store.write(name, found, if_generation=ABSENT).generation if found else ABSENT

    def late() -> None:
        store.write(name, b"late", if_generation=generation)

    store.before_next_write = late
    write(store, {"model.safetensors": b"weights"}, tmp_path)
    assert completed_by(store, {"model.safetensors": b"weights"}) == "a"


class LosingStore(MemoryStore):
    """Lose each object once, before its first read."""

    def read_into(self, name: str, view: memoryview, *, generation: int) -> None:
        self.delete(name)
        super().read_into(name, view, generation=generation)


def test_a_file_that_is_deleted_meanwhile_is_written(tmp_path: Path) -> None:
    store = LosingStore()
    store.write(WEIGHTS, b"WEIGHTS", if_generation=ABSENT)
    write(store, {"model.safetensors": b"weights"}, tmp_path)
    assert completed_by(store, {"model.safetensors": b"weights"}) == "a"


def test_the_probe_for_permission_leaves_nothing(store: Store) -> None:
    check_writable(store, "run")
    check_writable(store, "run")
    assert store.list("") == []
