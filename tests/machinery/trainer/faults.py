"""Run the trainer through the proxy, and check its results and checkpoints after faults."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace

from spot.storage import paths
from spot.storage.base import Store
from spot.storage.checksum import crc32c
from spot.storage.factory import open_store
from spot.storage.records import codec, manifest
from spot.storage.records.manifest import FORMAT, Manifest
from tests.machinery.each import each
from tests.machinery.proxy import Fault, LostReply, Proxy, Request, Rule, never
from tests.machinery.trainer.conftest import Trainer
from tests.machinery.zygote import TrainerProcess

RUN = "default"
Result = tuple[bytes, bytes]
SLOWLY = {"STEP_S": "0.1"}
"""For a start that a fault ends: it comes before the last step, whatever else runs on the machine."""


@dataclass(frozen=True, slots=True)
class Faulty:
    """Start a run through the faults of `proxy`; `trainer` starts the same run without them."""

    trainer: Trainer
    proxy: Proxy

    def start(self, *flags: str, **env: str) -> TrainerProcess:
        return replace(self.trainer, env={"STORAGE_EMULATOR_HOST": self.proxy.url}).start(*flags, **env)

    def start_with(
        self, rule: Callable[[Request, Callable[[], TrainerProcess]], Fault | None], *flags: str, **env: str
    ) -> TrainerProcess:
        """Start under a rule that also gets the process."""
        future = Future[TrainerProcess]()
        self.proxy.rule = lambda request: rule(request, future.result)
        future.set_result(self.start(*flags, **env))
        return future.result()

    @property
    def checkpoints(self) -> Store:
        return open_store(f"{self.trainer.uri}/checkpoints")

    def steps(self) -> list[int]:
        """Return the steps of the committed checkpoints, newest first."""
        return [commit.step for commit in manifest.commits(self.checkpoints, RUN)]

    def name(self, step: int) -> str:
        """Return the name of the manifest of this step."""
        [name] = [paths.manifest(RUN, one) for one in manifest.commits(self.checkpoints, RUN) if one.step == step]
        return name

    def read(self, step: int) -> Manifest:
        return codec.read(Manifest, self.checkpoints, self.name(step), "a manifest", "", FORMAT)[0]

    def train_until_killed_after_commits(self, count: int) -> None:
        """Train, and kill the trainer right after its `count`-th commit."""
        commits = itertools.count(1)

        def rule(request: Request, process: Callable[[], TrainerProcess]) -> Fault | None:
            return LostReply(process().kill) if is_commit(request) and next(commits) == count else None

        assert self.start_with(rule, **SLOWLY).wait() == -signal.SIGKILL
        self.proxy.rule = never

    def assert_undisturbed(self, expected: Result) -> None:
        """Assert the result of an uninterrupted run, and complete checkpoints."""
        assert self.trainer.result() == expected
        assert_complete(self.checkpoints)

    def assert_continues(self, expected: Result) -> None:
        """Assert that a start without faults resumes from the newest checkpoint and reaches the expected result."""
        newest = self.trainer.newest()
        assert newest
        process = self.trainer.start()
        assert process.wait() == 0, process.output + process.errors
        assert f"step {newest.step} of {newest.total_steps}: resumed" in process.output
        self.assert_undisturbed(expected)


def is_commit(request: Request) -> bool:
    return request.is_upload and "/manifests/" in request.name


def is_part(request: Request) -> bool:
    return request.is_upload and "/data/" in request.name


def second(where: Callable[[Request], bool], fault: Fault) -> Rule:
    """Return a rule that injects `fault` into the second request that satisfies `where`."""
    seen = itertools.count(1)
    return each(fault, where=lambda request: where(request) and next(seen) == 2)


def error_line(process: TrainerProcess, code: int) -> str:
    """Assert the exit code, and return the only line on standard error."""
    assert process.wait() == code, process.output + process.errors
    [line] = process.errors.splitlines()
    assert line.startswith("trainer: ")
    assert "Traceback" not in process.output
    return line


def assert_complete(store: Store) -> None:
    """Assert that every committed checkpoint is readable and undamaged."""
    for commit in manifest.commits(store, RUN):
        for part in manifest.read(store, RUN, commit).parts:
            view = memoryview(bytearray(part.size))
            store.read_into(part.name, view, generation=part.generation)
            assert crc32c(view) == part.crc32c
