"""Test the search for the newest good checkpoint: only certain damage is quarantined, with a warning."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from spot.core.errors import TemporarilyUnavailable
from spot.storage import paths
from spot.storage.base import ABSENT, Damaged, NewerFormat, Store
from spot.storage.checksum import crc32c
from spot.storage.factory import open_store
from spot.storage.gcs import GcsStore
from spot.storage.paths import Commit, Upload
from spot.storage.records import manifest
from spot.storage.records.manifest import FORMAT, Manifest, Part
from spot.trainer.checkpoint.restore import Restored, newest_good, quarantine_all
from spot.trainer.checkpoint.serialize import StagingWriter
from spot.trainer.runtime.errors import StartAgain, UsageError
from spot.trainer.uploader.buffer import SharedBuffer
from tests.machinery import samples
from tests.machinery.each import each
from tests.machinery.proxy import Answer, FlipReply, Proxy

RUN = "run"
PARTS = 3


def commit(store: Store, step: int, run: str = RUN) -> Manifest:
    """A checkpoint in several parts, whose tensor and text say which step it is."""
    buffer = SharedBuffer()
    size = StagingWriter(buffer).write({"weights": torch.full((100,), float(step))}, b"%d" % step)
    image = bytes(buffer.view(size)[:size])
    parts = []
    for index in range(PARTS):
        data = image[index * size // PARTS : (index + 1) * size // PARTS]
        name = Upload(run=run, step=step, token=1, attempt="a", start=1, save=step).part(index)
        written = store.write(name, data, if_generation=ABSENT)
        parts.append(Part(name=name, size=len(data), crc32c=crc32c(data), generation=written.generation))
    found = samples.manifest(
        run=run,
        attempt="a",
        step=step,
        compute_seconds=1.0,
        shards=(tuple(parts),),
    )
    store.write(found.name, found.to_json(), if_generation=ABSENT)
    return found


def restore(store: Store, accept: Callable[[Manifest], None] = lambda _: None) -> Restored | None:
    return newest_good(store, RUN, SharedBuffer(), accept)


def assert_restored(store: Store, step: int) -> None:
    found = restore(store)
    assert found is not None
    assert (found.manifest.step, found.rest) == (step, b"%d" % step)
    assert torch.equal(found.tensors["weights"], torch.full((100,), float(step)))


def overwrite(store: Store, name: str, change: Callable[[bytes], bytes]) -> None:
    old = store.read(name)
    store.write(name, change(old.data), if_generation=old.generation)


def name_of(step: int) -> str:
    return paths.manifest(RUN, Commit(step=step, token=1, from_step=0, from_token=0))


def steps(store: Store) -> list[int]:
    return [commit.step for commit in manifest.commits(store, RUN)]


def quarantine(store: Store) -> list[int]:
    prefix = f"{RUN}/quarantine/"
    return [int(entry.name.removeprefix(prefix).partition("-")[0]) for entry in store.list(prefix)]


def test_without_checkpoints_there_is_nothing_to_restore(store: Store) -> None:
    assert restore(store) is None


def test_the_newest_is_restored_for_any_order_of_writes(store: Store) -> None:
    for step in (20, 100, 3):
        commit(store, step)
    assert_restored(store, 100)
    assert quarantine(store) == []


def test_parts_without_a_manifest_are_no_checkpoint(store: Store) -> None:
    commit(store, 10)
    commit(store, 20)
    store.delete(name_of(20))
    assert_restored(store, 10)


def _overwrite_part(store: Store, found: Manifest) -> None:
    overwrite(store, found.parts[1].name, lambda data: bytes(len(data)))


def _shorten_part(store: Store, found: Manifest) -> None:
    overwrite(store, found.parts[1].name, lambda data: data[:-1])


def _delete_part(store: Store, found: Manifest) -> None:
    store.delete(found.parts[-1].name)


def _declare(store: Store, found: Manifest, **changes: int | str) -> None:
    parts = (replace(found.parts[0], **changes), *found.parts[1:])  # type: ignore[arg-type]
    overwrite(store, found.name, lambda _: replace(found, shards=(parts,)).to_json())


def _declare_other_checksum(store: Store, found: Manifest) -> None:
    _declare(store, found, crc32c=found.parts[0].crc32c ^ 1)


def _declare_other_size(store: Store, found: Manifest) -> None:
    _declare(store, found, size=found.parts[0].size + 1)


def _declare_no_parts(store: Store, found: Manifest) -> None:
    overwrite(store, found.name, lambda _: replace(found, shards=()).to_json())


def _swap_parts(store: Store, found: Manifest) -> None:
    parts = tuple(reversed(found.parts))
    overwrite(store, found.name, lambda _: replace(found, shards=(parts,)).to_json())


def _declare_a_name_outside(store: Store, found: Manifest) -> None:
    _declare(store, found, name="../../etc/passwd")


def _declare_a_size_of_a_petabyte(store: Store, found: Manifest) -> None:
    _declare(store, found, size=2**50)


def _declare_one_part_often(store: Store, found: Manifest) -> None:
    overwrite(store, found.name, lambda _: replace(found, shards=(found.parts[:1] * 1000,)).to_json())


def _declare_another_step(store: Store, found: Manifest) -> None:
    overwrite(store, found.name, lambda _: replace(found, step=found.step + 1).to_json())


def _nest_deeply(store: Store, found: Manifest) -> None:
    overwrite(store, found.name, lambda _: b'{"format": 2, "config": ' + b"[" * 100_000)


def _declare_infinity(store: Store, found: Manifest) -> None:
    overwrite(store, found.name, lambda text: text.replace(b'"compute_seconds": 1.0', b'"compute_seconds": 1e999'))


def _nonsense_manifest(store: Store, found: Manifest) -> None:
    overwrite(store, found.name, lambda _: b"\xff{}")


def _truncate_manifest(store: Store, found: Manifest) -> None:
    overwrite(store, found.name, lambda text: text[:-2])


@pytest.mark.parametrize(
    "damage",
    [
        _overwrite_part,
        _shorten_part,
        _delete_part,
        _declare_other_checksum,
        _declare_other_size,
        _declare_no_parts,
        _declare_a_name_outside,
        _declare_a_size_of_a_petabyte,
        _declare_one_part_often,
        _declare_another_step,
        _nest_deeply,
        _declare_infinity,
        _swap_parts,
        _nonsense_manifest,
        _truncate_manifest,
    ],
)
def test_damage_is_set_aside_and_the_one_before_restored(
    store: Store, damage: Callable[[Store, Manifest], None], caplog: pytest.LogCaptureFixture
) -> None:
    for step in (10, 20):
        commit(store, step)
    damage(store, commit(store, 30))
    assert_restored(store, 20)
    assert quarantine(store) == [30]
    assert steps(store) == [20, 10]
    [warning] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.getMessage().startswith("step 30: checkpoint quarantined: ")
    assert_restored(store, 20)
    assert commit_again(store, 30)


def commit_again(store: Store, step: int) -> bool:
    """Training comes by the same step once more and commits it."""
    for entry in store.list(f"{RUN}/data/{step:010d}/"):
        store.delete(entry.name)
    commit(store, step)
    return steps(store)[0] == step


def test_an_invalid_state_in_good_bytes_is_quarantined_as_well(store: Store) -> None:
    def load(found: Restored) -> None:
        if found.rest == b"20":
            raise Damaged("the checkpoint holds no valid state")

    for step in (10, 20):
        commit(store, step)
    found = newest_good(store, RUN, SharedBuffer(), lambda _: None, load)
    assert found is not None
    assert (found.manifest.step, quarantine(store)) == (10, [20])


def test_several_damaged_ones_are_passed_over(store: Store) -> None:
    commit(store, 10)
    _delete_part(store, commit(store, 20))
    _truncate_manifest(store, commit(store, 30))
    assert_restored(store, 10)
    assert quarantine(store) == [20, 30]


def test_when_all_are_damaged_it_is_an_error_once_and_then_a_new_beginning(store: Store) -> None:
    for step in (10, 20):
        _overwrite_part(store, commit(store, step))
    with pytest.raises(StartAgain, match=r"all 2 checkpoints of run run .* the next start begins at step 0"):
        restore(store)
    assert quarantine(store) == [10, 20]
    assert restore(store) is None


def test_a_newer_programs_checkpoint_is_no_damage(store: Store) -> None:
    commit(store, 10)
    commit(store, 20)
    overwrite(store, name_of(20), lambda text: json.dumps({**json.loads(text), "format": FORMAT + 1}).encode())
    with pytest.raises(NewerFormat):
        restore(store)
    assert quarantine(store) == []


def test_a_checkpoint_of_another_configuration_is_refused_and_kept(store: Store) -> None:
    commit(store, 10)

    def refuse(_: Manifest) -> None:
        raise UsageError("begun with other values")

    with pytest.raises(UsageError, match="other values"):
        restore(store, refuse)
    assert steps(store) == [10]


def test_a_fresh_start_quarantines_all_and_deletes_none(store: Store) -> None:
    texts = {}
    for step in (10, 20):
        texts[step] = commit(store, step).to_json()
    quarantine_all(store, RUN)
    assert restore(store) is None
    assert quarantine(store) == [10, 20]
    kept = [store.read(entry.name).data for entry in store.list(f"{RUN}/quarantine/")]
    assert kept == [texts[10], texts[20]]


def through(proxy: Proxy, uri: str, monkeypatch: pytest.MonkeyPatch) -> GcsStore:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
    return GcsStore(uri, give_up_s=0.05, first_delay_s=0.001)


def test_damage_on_the_way_only_is_no_damage(proxy: Proxy, gs_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = through(proxy, gs_uri, monkeypatch)
    for step in (10, 20):
        commit(store, step)
    proxy.rule = each(FlipReply(1), where=lambda request: "/data/" in request.name, count=1)
    assert_restored(store, 20)
    assert quarantine(store) == []


@pytest.mark.parametrize("folder", ["/manifests/", "/data/"])
def test_a_store_that_does_not_answer_is_no_damage(
    proxy: Proxy, gs_uri: str, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    store = through(proxy, gs_uri, monkeypatch)
    commit(store, 10)
    proxy.rule = each(Answer(503), where=lambda request: folder in request.name)
    with pytest.raises(TemporarilyUnavailable):
        restore(store)
    proxy.rule = each(Answer(503), count=0)
    assert quarantine(store) == []
    assert_restored(store, 10)


def test_a_checkpoint_pruned_since_it_was_listed_is_passed_over(
    proxy: Proxy, gs_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A predecessor that is still alive may commit and prune while we look."""
    store = through(proxy, gs_uri, monkeypatch)
    for step in (10, 20):
        commit(store, step)
    proxy.rule = each(Answer(404), where=lambda request: request.name.endswith(name_of(20)), count=1)
    assert_restored(store, 10)
    assert quarantine(store) == []


def test_a_copied_folder_is_as_good_as_the_original(tmp_path: Path) -> None:
    commit(open_store(str(tmp_path / "here")), 7)
    shutil.copytree(tmp_path / "here", tmp_path / "there", copy_function=shutil.copyfile)  # with other times
    restored = restore(open_store(str(tmp_path / "there")))
    assert restored
    assert restored.manifest.step == 7
