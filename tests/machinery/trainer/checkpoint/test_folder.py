"""Test the folder mode: a checkpoint of a framework is committed for the step that it was written for, and no other."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from spot.storage import paths
from spot.storage.factory import open_store
from spot.storage.records import completion, manifest
from spot.trainer import main
from spot.trainer.checkpoint.folder import Folder, Frozen
from spot.trainer.context import Runtime, Task
from spot.trainer.runtime.errors import Stopped
from spot.trainer.runtime.signals import StopSignal
from spot.trainer.session import Session

TOTAL = 6
OFTEN, NEVER = "0.000001", "1e6"


class Framework:
    """Write its step into a folder, and read it back. Its loop ends at `last`."""

    def __init__(self, home: Path, folder: Folder) -> None:
        self.home, self.folder = home, folder
        self.step = int((folder.restored / "state" / "step").read_text()) if folder.restored else 0

    def write(self) -> Path:
        path = self.home / f"checkpoint-{self.step}"
        (path / "state").mkdir(parents=True)
        (path / "state" / "step").write_text(str(self.step))
        (path / "empty").touch()
        return path

    def train(self, last: int, before_step: Mapping[int, Callable[[], None]] | None = None) -> None:
        while self.step < last:
            (before_step or {}).get(self.step, lambda: None)()
            self.step += 1
            if self.folder.step({"loss": 1.0}):
                self.folder.save(self.write())


class Start:
    """Open a session on a new machine, on the store of the test."""

    def __init__(self, tmp_path: Path, interval: str) -> None:
        self.home = tmp_path / f"machine-{len(list(tmp_path.iterdir()))}"
        self.home.mkdir()
        self.stop = StopSignal()
        where = ["--output-dir", str(tmp_path / "models"), "--checkpoint-dir", str(tmp_path / "checkpoints")]
        start = main.prepare(
            [*where, "--checkpoint-interval", interval, "--device", "cpu"], {}, self.stop, Task(), Runtime()
        )
        self.session = Session(start, metrics={"error": "min"})
        self.folder = self.session.folder(self.home / "framework")
        self.session.track(total_steps=TOTAL, folder=self.folder)
        self.framework = Framework(self.home, self.folder)

    def stops(self) -> None:
        self.stop._request(signal.SIGTERM)

    def exit_code(self, loop: Callable[[], None]) -> int:
        """Run a loop in the session; 1 if an assertion in it fails."""
        try:
            with self.session:
                loop()
        except (Exception, Stopped) as error:
            return main.conclude(self.session._start, self.stop, error)
        return main.conclude(self.session._start, self.stop, None)

    def settle(self) -> None:
        """Wait until what was saved is durable."""
        manager = self.session._engine.saver._manager
        assert manager
        manager.settle(60)

    def export(self) -> None:
        with self.session.export() as results:
            (results / "weights").write_text("weights")


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spot.trainer.main.configure", lambda _: None)  # of the log, which is pytest's here


def durable(tmp_path: Path) -> int:
    found = manifest.newest(open_store(str(tmp_path / "checkpoints")), "default")
    return found.step if found else -1


def error(batch: Tensor) -> dict[str, Tensor]:
    return {"error": batch}


def test_a_stop_commits_the_step_that_the_framework_writes_then(tmp_path: Path) -> None:
    start = Start(tmp_path, NEVER)
    assert start.folder.restored is None
    before_step: dict[int, Callable[[], None]] = {2: start.stops}
    assert start.exit_code(lambda: start.framework.train(TOTAL, before_step)) == 143
    assert durable(tmp_path) == 3

    again = Start(tmp_path, NEVER)
    assert again.folder.restored == again.home / "framework" / "checkpoint-3"
    assert sorted(path.name for path in again.folder.restored.rglob("*")) == ["empty", "state", "step"]
    assert again.framework.step == again.session.steps == 3

    def loop() -> None:
        again.framework.train(TOTAL)
        again.export()

    assert again.exit_code(loop) == 0
    assert durable(tmp_path) == TOTAL
    assert completion.read(open_store(str(tmp_path / "models")), "default")


def test_steps_that_the_framework_did_not_write_are_trained_again(tmp_path: Path) -> None:
    """Neither an evaluation, nor the end of the loop, nor a stop commits a later step with earlier files."""
    start = Start(tmp_path, NEVER)

    def stopped() -> None:
        start.framework.train(2)
        start.folder.save(start.framework.write())
        start.framework.train(4)
        assert start.session.steps == 4
        start.settle()
        assert start.session.evaluate(error, [torch.ones(2)]) == {"error": 1.0}
        start.settle()
        start.stops()

    assert start.exit_code(stopped) == 143
    assert durable(tmp_path) == 2

    again = Start(tmp_path, NEVER)
    assert again.framework.step == again.session.steps == 2

    def ended() -> None:
        again.framework.train(5)
        again.export()

    assert again.exit_code(ended) == 0
    assert durable(tmp_path) == 2
    metrics = json.loads(open_store(str(tmp_path / "models")).read(paths.output("default", paths.METRICS)).data)
    assert metrics["steps"] == 5


@pytest.mark.parametrize(
    ("interval", "due"), [(OFTEN, [True] * TOTAL), (NEVER, [False] * (TOTAL - 1) + [True])], ids=["often", "never"]
)
def test_the_interval_and_the_end_decide_when_the_framework_writes(
    interval: str, due: list[bool], tmp_path: Path
) -> None:
    start = Start(tmp_path, interval)
    assert [start.folder.step() for _ in range(TOTAL)] == due
    assert start.exit_code(start.export) == 0


def test_a_framework_may_write_more_often_than_is_needed(tmp_path: Path) -> None:
    start = Start(tmp_path, NEVER)

    def loop() -> None:
        for last in range(1, TOTAL):
            start.framework.train(last)
            start.folder.save(start.framework.write())
        start.framework.train(TOTAL)
        start.export()

    assert start.exit_code(loop) == 0
    assert durable(tmp_path) == TOTAL


def test_a_folder_that_is_not_tracked_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = Start(tmp_path, NEVER)
    other = start.session.folder(tmp_path / "other")
    assert start.exit_code(lambda: other.save(start.framework.write())) == 2
    assert "the folder of the framework is not tracked" in capsys.readouterr().err


def detached(path: Path) -> Folder:
    return Folder(path, lambda _: True, lambda _: None)


class Live:
    """A state whose tensors change in place."""

    step = 3
    buffers = frozenset[str]()

    def __init__(self) -> None:
        self.tensors = {"folder.files.weights": torch.zeros(2), "model.weights": torch.zeros(2)}

    def capture(self) -> tuple[dict[str, Tensor], bytes]:
        return self.tensors, b"{}"

    def describe(self) -> dict[str, object]:
        return {"step": self.step}


def test_what_else_is_tracked_is_that_of_the_step_and_files_are_not_copied() -> None:
    live = Live()
    frozen = Frozen.of(live, "folder")
    live.tensors["model.weights"].fill_(1)
    live.step = 4
    assert frozen.step == frozen.describe()["step"] == 3
    tensors, rest = frozen.capture()
    assert rest == b"{}"
    assert torch.equal(tensors["model.weights"], torch.zeros(2))
    assert tensors["folder.files.weights"] is live.tensors["folder.files.weights"]


def test_files_may_be_deleted_once_they_are_committed(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-1").mkdir()
    (tmp_path / "checkpoint-1" / "weights").write_bytes(b"first")
    folder = detached(tmp_path)
    folder.save(tmp_path / "checkpoint-1")
    shutil.rmtree(tmp_path / "checkpoint-1")
    (tmp_path / "checkpoint-1").mkdir()
    (tmp_path / "checkpoint-1" / "weights").write_bytes(b"later")
    assert bytes(folder.state_dict()["files"]["weights"].tolist()) == b"first"


@pytest.mark.parametrize(
    ("name", "file"), [("..", "x"), ("a/../..", "x"), ("a/b", "x"), ("a", "../../x"), ("a", "/x"), ("", "x")]
)
def test_a_checkpoint_writes_no_file_outside_its_folder(name: str, file: str, tmp_path: Path) -> None:
    folder = detached(tmp_path / "deep" / "framework")
    with pytest.raises(ValueError, match="is no"):
        folder.load_state_dict(
            {"name": name, "files": {"good": torch.zeros(1, dtype=torch.uint8), file: torch.zeros(1)}}
        )
    assert list(tmp_path.iterdir()) == []
