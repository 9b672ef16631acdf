"""Test that invalid input exits with 2 and one clear line on standard error, and loses nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from spot.storage.factory import open_store
from spot.storage.records import manifest
from tests.machinery.fixture_task import MODULES, model
from tests.machinery.fixture_task.data import generated
from tests.machinery.trainer.conftest import Trainer
from tests.machinery.trainer.test_signals import wait_for
from tests.machinery.zygote import TrainerProcess, Zygote
from tests.paths import REPOSITORY, SRC


def refusal(process: TrainerProcess) -> str:
    """Assert exit 2, and return the only line on standard error."""
    assert process.wait() == 2, process.output + process.errors
    [line] = process.errors.splitlines()
    assert line.startswith("trainer: ")
    assert "Traceback" not in process.output
    return line


@pytest.fixture
def local(zygote: Zygote, tmp_path: Path) -> Trainer:
    return Trainer(zygote, str(tmp_path / "store"))


@pytest.fixture(scope="module")
def stopped_folder(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stop a run before its end, and return the folder of its store."""
    folder = tmp_path_factory.mktemp("stopped")
    process = Trainer(zygote, str(folder)).start()
    wait_for(process, r"step 25 of")
    process.kill(signal.SIGTERM)
    assert process.wait() == 143
    return folder


@pytest.fixture
def stopped(stopped_folder: Path, local: Trainer) -> Trainer:
    """Return a run that was stopped before its end."""
    shutil.copytree(stopped_folder, local.uri, copy_function=shutil.copy2)
    return local


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--epochs", "none"], ["--epochs", "'none'"]),
        (["--data", "missing.safetensors"], ["--data missing.safetensors", "does not exist"]),
        (["--data", "/"], ["--data /"]),
        (["--data", "gs://bucket/no-such-object"], ["gs://bucket/no-such-object", "does not exist"]),
        (["--data", "http://x/y"], ["http://x/y", "neither a gs:// URI nor a local path"]),
        (["--checkpoint-dir", "gs://no-such-bucket/x"], ["gs://no-such-bucket", "does not exist"]),
        (["--output-dir", "gs://no-such-bucket/x"], ["gs://no-such-bucket", "does not exist"]),
        (["--checkpoint-dir", "gs://"], ["'gs://'", "gs://bucket/prefix"]),
        (["--checkpoint-dir", "gs:/bucket/x"], ["'gs:/bucket/x'", "neither a gs:// URI nor a local path"]),
        (["--checkpoint-dir", "/gcs/bucket/x"], ["/gcs/bucket/x", "gs://bucket/x"]),
        (["--output-dir", "/sys/x"], ["/sys/x", "cannot write"]),
        (["--checkpoint-dir", "/proc/nonexistent/x"], ["/proc/nonexistent/x", "cannot write"]),
        (["--output-dir", "/dev/null"], ["/dev/null", "Not a directory"]),
    ],
)
def test_invalid_flags_are_refused_before_training(flags: list[str], words: list[str], local: Trainer) -> None:
    process = local.start(*flags)
    line = refusal(process)
    assert all(word in line for word in words), line


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_missing_gpu_is_not_replaced_by_a_cpu(local: Trainer) -> None:
    assert "--device cuda: PyTorch finds no GPU" in refusal(local.start("--device", "cuda"))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--batch-size", "64"], ["started with --batch-size 16", "with --batch-size 64"]),
        (["--epochs", "4"], ["started with --epochs 3", "with --epochs 4"]),
        (["--seed", "1"], ["started with --seed 0", "with --seed 1"]),
        (["--precision", "bf16"], ["started with --precision full", "with --precision bf16"]),
    ],
)
def test_a_run_continues_only_with_its_first_settings(
    stopped: Trainer, undisturbed: tuple[bytes, bytes], flags: list[str], words: list[str]
) -> None:
    before = stopped.newest()
    line = refusal(stopped.start(*flags))
    assert all(word in line for word in [*words, "another --run"]), line
    assert stopped.newest() == before
    if flags[0] == "--seed":
        assert stopped.start().wait() == 0
        assert stopped.result() == undisturbed


def test_a_run_continues_only_on_its_first_data(stopped: Trainer, tmp_path: Path) -> None:
    tensors = generated()
    tensors["inputs"][0, 0, 0] += 1
    save_file(tensors, tmp_path / "other.safetensors")
    line = refusal(stopped.start("--data", str(tmp_path / "other.safetensors")))
    assert "started on sample" in line
    assert "other.safetensors" in line


def test_a_run_continues_on_the_same_data_at_another_place(
    stopped: Trainer, undisturbed: tuple[bytes, bytes], tmp_path: Path
) -> None:
    save_file(generated(), tmp_path / "copy.safetensors")
    assert stopped.start("--data", str(tmp_path / "copy.safetensors")).wait() == 0
    assert stopped.result() == undisturbed


def test_another_model_is_refused_with_the_first_difference(stopped: Trainer, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "model.py").write_text(Path(model.__file__).read_text().replace("512", "384"))
    modules = MODULES | {"model": "other.model"}
    (folder / "__main__.py").write_text(f"from spot.trainer import entry; entry(**{modules!r})")
    line = refusal(replace(stopped, package="other", folder=tmp_path).start())
    assert "another model: model.9.weight is float32 (512, 256) in it and float32 (384, 256) here" in line


def test_resume_never_starts_at_step_0_and_quarantines_the_old_checkpoints(
    stopped: Trainer, undisturbed: tuple[bytes, bytes]
) -> None:
    before = manifest.commits(open_store(f"{stopped.uri}/checkpoints"), "default")
    process = stopped.start("--resume", "never")
    assert process.wait() == 0
    assert "resumed" not in process.output
    assert stopped.result() == undisturbed
    quarantined = open_store(f"{stopped.uri}/checkpoints").list("default/quarantine/")
    assert len(quarantined) == len(before)


def test_without_checkpoints_it_trains_and_leaves_none(local: Trainer, undisturbed: tuple[bytes, bytes]) -> None:
    assert local.start("--enable-checkpointing", "false").wait() == 0
    assert local.result() == undisturbed
    assert not open_store(f"{local.uri}/checkpoints").list("")


@pytest.mark.chaos
def test_data_workers_on_a_tiny_shared_memory_are_refused_before_training(tmp_path: Path) -> None:
    flags = f"--workers 8 --batch-size 512 --output-dir {tmp_path}/models --checkpoint-dir {tmp_path}/checkpoints"
    train = f"exec {sys.executable} -P -m tests.machinery.fixture_task {flags}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs -o size=1m none /dev/shm || exit 77; {train}"],
        env={**os.environ, "PYTHONPATH": f"{SRC}{os.pathsep}{REPOSITORY}"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"mounting a tmpfs needs root: {done.stderr.strip()}")
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr == (
        "trainer: --workers 8 needs 2 MB of shared memory for batches of 512 samples, and /dev/shm has 1 MB:"
        " use fewer workers, or --workers 0\n"
    )
    assert "step" not in done.stdout


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 3 MB, with room for one checkpoint."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3000k", "none", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting a tmpfs needs root: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_stops_the_training_and_keeps_the_last_checkpoint(
    local: Trainer, small_disk: Path, undisturbed: tuple[bytes, bytes]
) -> None:
    where = ["--checkpoint-dir", str(small_disk)]
    stopped = local.start(*where, "--checkpoint-interval", "1000")
    wait_for(stopped, r"step 5 of")  # before the first evaluation, which would be saved
    stopped.kill(signal.SIGTERM)
    assert stopped.wait() == 143
    line = refusal(local.start(*where))
    assert "No space left on device" in line
    assert str(small_disk) in line
    shutil.copytree(small_disk, Path(local.uri) / "checkpoints", copy_function=shutil.copy2)
    process = local.start()
    assert process.wait() == 0
    assert "resumed" in process.output
    assert local.result() == undisturbed
