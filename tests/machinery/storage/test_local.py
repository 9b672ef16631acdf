"""Test the local store beyond the tests of every store."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spot.core.errors import PermissionDenied, TemporarilyUnavailable
from spot.storage.base import ABSENT, Cancelled, Conflict, NotFound
from spot.storage.local import TEMPORARY, LocalStore

NOBODY = 65534


def everything(root: Path) -> list[str]:
    """Return all files, also hidden ones."""
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


@pytest.fixture
def full_disk() -> Iterator[Path]:
    """Mount a disk of 1 MiB."""
    privileged = [] if os.geteuid() == 0 else ["sudo", "-n"]
    with tempfile.TemporaryDirectory() as directory:
        mount = [*privileged, "mount", "-t", "tmpfs", "-o", "size=1m,mode=1777", "tmpfs", directory]
        if not shutil.which(mount[0]) or subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("a small disk can be mounted only as root, or with sudo without a password")
        try:
            yield Path(directory)
        finally:
            subprocess.run([*privileged, "umount", directory], check=True)


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Drop the permissions of root, which may write everywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_full_disk_is_reported_and_leaves_the_old_object(full_disk: Path) -> None:
    store = LocalStore(str(full_disk))
    kept = store.write("run/kept", b"1" * 1000, if_generation=ABSENT)
    with pytest.raises(PermissionDenied, match=r"cannot write .*/run/too-big: No space left on device"):
        store.write("run/too-big", bytes(2 << 20), if_generation=ABSENT)
    with pytest.raises(PermissionDenied, match="No space left on device"):
        store.write("run/kept", bytes(2 << 20), if_generation=kept.generation)
    assert store.read("run/kept").data == b"1" * 1000
    assert everything(full_disk) == [".lock", "run/kept"]


def test_a_directory_without_write_permission_is_reported() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o555)
        with unprivileged(), pytest.raises(PermissionDenied, match=f"cannot write {directory}/a: Permission denied"):
            LocalStore(directory).write("a", b"", if_generation=ABSENT)
        with unprivileged(), pytest.raises(PermissionDenied, match=f"cannot write {directory}/b/c: Permission denied"):
            LocalStore(directory).write("b/c", b"", if_generation=ABSENT)


def test_a_directory_without_read_permission_is_reported() -> None:
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "a").touch()
        Path(directory).chmod(0o000)
        with unprivileged():
            with pytest.raises(PermissionDenied, match=r"cannot list .*: Permission denied"):
                LocalStore(directory).list("")
            with pytest.raises(PermissionDenied, match=r"cannot read .*/a: Permission denied"):
                LocalStore(directory).read("a")
        Path(directory).chmod(0o700)


def test_a_file_in_the_place_of_the_directory_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a directory")
    for name in ("a", "a/b"):
        with pytest.raises(PermissionDenied, match=r"cannot write .*: (File exists|Not a directory)"):
            LocalStore(str(file)).write(name, b"", if_generation=ABSENT)


def test_a_directory_that_cannot_be_created_is_reported() -> None:
    with pytest.raises(PermissionDenied, match="cannot write /proc/nowhere/a"):
        LocalStore("/proc/nowhere").write("a", b"", if_generation=ABSENT)


def test_a_name_cannot_be_an_object_and_a_folder_at_once(tmp_path: Path) -> None:
    """Unlike in a bucket. No layout of ours needs it."""
    store = LocalStore(str(tmp_path))
    store.write("a", b"", if_generation=ABSENT)
    with pytest.raises(PermissionDenied, match="cannot write"):
        store.write("a/b", b"", if_generation=ABSENT)
    store.write("c/d", b"", if_generation=ABSENT)
    with pytest.raises((PermissionDenied, Conflict), match="cannot write"):
        store.write("c", b"", if_generation=ABSENT)
    assert [entry.name for entry in store.list("")] == ["a", "c/d"]


@pytest.mark.parametrize("name", [".lock", ".tmp-x", "run/.tmp-x-0123", "run/.lock"])
def test_names_that_it_keeps_for_itself_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is reserved by the store"):
        LocalStore(str(tmp_path)).write(name, b"", if_generation=ABSENT)


def test_what_a_killed_writer_left_is_never_listed(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path))
    store.write("a/b", b"", if_generation=ABSENT)
    (tmp_path / "a" / ".tmp-b-0123").touch()
    assert [entry.name for entry in store.list("")] == [entry.name for entry in store.list("a/")] == ["a/b"]


def test_failed_writes_leave_no_temporary_files(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path))
    store.write("a", b"", if_generation=ABSENT)
    with pytest.raises(Conflict):
        store.write("a", b"", if_generation=ABSENT)
    with pytest.raises(Cancelled):
        store.write("b", b"1", if_generation=ABSENT, cancelled=lambda: True)
    assert everything(tmp_path) == [".lock", "a"]


def test_a_clock_that_stands_still_does_not_stop_generations_from_growing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(str(tmp_path))
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_000)
    generation = ABSENT
    for content in (b"1", b"2", b"3"):
        written = store.write("a", content, if_generation=generation)
        assert written.generation > generation
        generation = written.generation
    assert store.read("a").generation == generation


def test_a_file_that_shrinks_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path))
    written = store.write("a", b"12345", if_generation=ABSENT)
    path = tmp_path / "a"
    path.write_bytes(b"123")
    with pytest.raises(NotFound):
        store.read_into("a", memoryview(bytearray(5)), generation=written.generation)


def test_errors_of_the_device_may_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(TemporarilyUnavailable, match="Input/output error"):
        LocalStore(str(tmp_path)).write("a", b"", if_generation=ABSENT)
    monkeypatch.undo()
    assert LocalStore(str(tmp_path)).list("") == []


def test_nothing_is_in_its_place_before_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order that survives a power cut: the content, then the name, then the folder that holds the name."""
    store = LocalStore(str(tmp_path))
    store.write("run/a", b"old", if_generation=ABSENT)
    seen: list[tuple[str, bytes]] = []

    def observe(descriptor: int) -> None:
        opened = Path(f"/proc/self/fd/{descriptor}").resolve()
        seen.append((opened.name.partition("-")[0], (tmp_path / "run" / "a").read_bytes()))

    monkeypatch.setattr(os, "fsync", observe)
    store.write("run/a", b"new", if_generation=store.read("run/a").generation)
    assert seen == [(".tmp", b"old"), ("run", b"new")]


def test_what_a_killed_writer_left_is_swept_up_when_it_is_old(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path))
    store.write("a/object", b"x", if_generation=ABSENT)
    old, new = (tmp_path / "a" / f"{TEMPORARY}object-{name}" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert [entry.name for entry in store.list("a/")] == ["a/object"]
    assert (old.exists(), new.exists()) == (False, True)
