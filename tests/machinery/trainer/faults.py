"""One run of the trainer through the proxy: what the tests of faults have in common."""

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
from spot.storage.records import manifest
from spot.storage.records.manifest import Manifest
from tests.machinery.proxy import Fault, LostReply, Proxy, Request, Rule, each, never
from tests.machinery.trainer.conftest import Trainer
from tests.machinery.zygote import Life

RUN = "default"
Result = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Faulty:
    """A run whose starts meet the faults of `proxy`; `trainer` is the same run without them."""

    trainer: Trainer
    proxy: Proxy

    def start(self, *flags: str) -> Life:
        return replace(self.trainer, env={"STORAGE_EMULATOR_HOST": self.proxy.url}).start(*flags)

    def start_with(self, rule: Callable[[Request, Callable[[], Life]], Fault | None], *flags: str) -> Life:
        """Start under a rule that is also given the life it is about."""
        future = Future[Life]()
        self.proxy.rule = lambda request: rule(request, future.result)
        future.set_result(self.start(*flags))
        return future.result()

    @property
    def checkpoints(self) -> Store:
        return open_store(f"{self.trainer.uri}/checkpoints")

    def steps(self) -> list[int]:
        """Of the committed checkpoints, newest first."""
        return [commit.step for commit in manifest.commits(self.checkpoints, RUN)]

    def name(self, step: int) -> str:
        """Of the manifest of this step."""
        [name] = [paths.manifest(RUN, one) for one in manifest.commits(self.checkpoints, RUN) if one.step == step]
        return name

    def read(self, step: int) -> Manifest:
        return Manifest.from_json(self.checkpoints.read(self.name(step)).data, "the manifest")

    def train_until_killed_after_commits(self, count: int) -> None:
        """Leave so many checkpoints, the newest of them just committed."""
        commits = itertools.count(1)

        def rule(request: Request, life: Callable[[], Life]) -> Fault | None:
            return LostReply(life().kill) if is_commit(request) and next(commits) == count else None

        assert self.start_with(rule).wait() == -signal.SIGKILL
        self.proxy.rule = never

    def assert_undisturbed(self, expected: Result) -> None:
        """The result is the one of a run that nothing interrupted, and every checkpoint left is whole."""
        assert self.trainer.result() == expected
        assert_whole(self.checkpoints)

    def assert_goes_on(self, expected: Result) -> None:
        """The next start, without faults, finds the newest checkpoint and ends as if nothing had happened."""
        newest = self.trainer.newest()
        assert newest
        life = self.trainer.start()
        assert life.wait() == 0, life.output + life.errors
        assert f"step {newest.step} of {newest.total_steps}: resumed" in life.output
        self.assert_undisturbed(expected)


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
    for commit in manifest.commits(store, RUN):
        for part in manifest.read(store, RUN, commit).parts:
            view = memoryview(bytearray(part.size))
            store.read_into(part.name, view, generation=part.generation)
            assert crc32c(view) == part.crc32c
