"""Test the exit code and the marker of each failed start."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import NoReturn

import pytest

from spot.core.errors import PermissionDenied, TemporarilyUnavailable
from spot.storage import paths
from spot.storage.factory import open_store
from spot.storage.records import completion, manifest
from spot.storage.records.lease import LeaseLost
from spot.trainer import loop
from spot.trainer.context import Runtime
from spot.trainer.main import main
from spot.trainer.runtime.errors import StartAgain, TrainingError, UsageError
from spot.trainer.runtime.signals import StopSignal
from tests.machinery.fixture_task import TASK

FAULTS = {
    "a bug": (RuntimeError("CUDA error"), 1),
    "training cannot go on": (TrainingError("the uploader failed"), 1),
    "a setting": (UsageError("--epochs"), 2),
    "a permission": (PermissionDenied("cannot write"), 2),
    "no answer": (TemporarilyUnavailable("no answer for 120 s"), 75),
    "damage": (StartAgain("all checkpoints were damaged"), 75),
}


def ended(folder: Path) -> dict[str, object]:
    marker = open_store(str(folder / "checkpoints")).read(paths.marker("default", "local", 1, "ended"))
    facts: dict[str, object] = json.loads(marker.data)
    return facts


def run(folder: Path, fault: BaseException, monkeypatch: pytest.MonkeyPatch, *, stopped: bool) -> int:
    stop = StopSignal()

    def fails(*_: object) -> NoReturn:
        if stopped:
            stop._request(signal.SIGTERM)
        raise fault

    monkeypatch.setattr(loop, "train", fails)
    monkeypatch.setattr("spot.trainer.main.configure", lambda _rank: None)  # of the log, which is pytest's here
    where = ["--output-dir", str(folder / "models"), "--checkpoint-dir", str(folder / "checkpoints")]
    return main(where, {}, stop, TASK, Runtime())


@pytest.mark.parametrize(("fault", "code"), FAULTS.values(), ids=FAULTS)
def test_each_fault_has_its_exit_code_and_records_it_in_the_marker(
    fault: Exception, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tmp_path, fault, monkeypatch, stopped=False) == code
    assert (ended(tmp_path)["exit_code"], ended(tmp_path)["reason"]) == (code, str(fault))


def test_a_complete_run_leaves_the_measured_time_of_its_evaluations_and_of_what_follows_the_last_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spot.trainer.main.configure", lambda _rank: None)
    where = ["--output-dir", str(tmp_path / "models"), "--checkpoint-dir", str(tmp_path / "checkpoints")]
    assert main([*where, "--epochs", "3", "--max-steps", "5"], {}, StopSignal(), TASK, Runtime()) == 0
    newest = manifest.newest(open_store(str(tmp_path / "checkpoints")), "default")
    assert newest
    assert newest.evaluations_left == 0
    assert 0 < newest.longest_evaluation_seconds <= newest.evaluation_seconds < newest.compute_seconds
    complete = completion.read(open_store(str(tmp_path / "models")), "default")
    assert complete
    assert complete.tail_seconds > 0
    assert complete.compute_seconds == pytest.approx(newest.compute_seconds, abs=1e-3)


def test_a_complete_run_refuses_other_settings_and_ends_at_once_with_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("spot.trainer.main.configure", lambda _rank: None)
    where = ["--output-dir", str(tmp_path / "models"), "--checkpoint-dir", str(tmp_path / "checkpoints")]
    assert main([*where, "--max-steps", "2"], {}, StopSignal(), TASK, Runtime()) == 0
    assert main([*where, "--max-steps", "2"], {}, StopSignal(), TASK, Runtime()) == 0
    assert main([*where, "--max-steps", "3"], {}, StopSignal(), TASK, Runtime()) == 2
    assert "run default is complete with --max-steps 2: to train with --max-steps 3" in capsys.readouterr().err


def test_a_loop_that_leaves_by_sys_exit_has_completed_its_run_or_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tmp_path / "failed", SystemExit(0), monkeypatch, stopped=False) == 1

    def exits() -> NoReturn:
        trained()
        raise SystemExit(3)

    trained = loop.main
    monkeypatch.undo()
    monkeypatch.setattr(loop, "main", exits)
    monkeypatch.setattr("spot.trainer.main.configure", lambda _rank: None)
    where = ["--output-dir", str(tmp_path / "models"), "--checkpoint-dir", str(tmp_path / "checkpoints")]
    assert main([*where, "--max-steps", "2"], {}, StopSignal(), TASK, Runtime()) == 0


@pytest.mark.parametrize("stopped", [False, True])
def test_a_replaced_start_reports_it_with_or_without_a_preemption(
    stopped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tmp_path, LeaseLost("handed over to a5.1 at step 7"), monkeypatch, stopped=stopped) == 75
    assert (ended(tmp_path)["exit_code"], ended(tmp_path)["reason"]) == (75, "handed over to a5.1 at step 7")


@pytest.mark.parametrize("fault", [fault for fault, _ in FAULTS.values()], ids=FAULTS)
def test_during_a_preemption_no_fault_counts_as_the_trainings(
    fault: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tmp_path, fault, monkeypatch, stopped=True) == 143
    assert ended(tmp_path)["exit_code"] == 143
    assert ended(tmp_path)["reason"] == f"stopped, not saved: {fault}"
