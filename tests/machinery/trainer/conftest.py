"""Start trainer processes, and train without interruption for comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from spot.storage import paths
from spot.storage.base import NotFound
from spot.storage.factory import open_store
from spot.storage.records import manifest
from spot.storage.records.manifest import Manifest
from tests.machinery.fixture_task import PACKAGE, STEPS_69
from tests.machinery.zygote import TrainerProcess, Zygote

SHORT = (*STEPS_69, "--log-interval", "0.001", "--checkpoint-interval", "0.05")


@dataclass(frozen=True, slots=True)
class Trainer:
    """Start the trainer on one run at `uri`."""

    zygote: Zygote
    uri: str
    env: Mapping[str, str] = field(default_factory=dict)
    package: str = PACKAGE
    folder: Path | None = None
    """Where `package` is looked for first."""

    def start(self, *flags: str, **env: str) -> TrainerProcess:
        where = ("--output-dir", f"{self.uri}/models", "--checkpoint-dir", f"{self.uri}/checkpoints")
        return self.zygote.start(
            [*where, *SHORT, *flags], {**self.env, **env}, package=self.package, folder=self.folder
        )

    def newest(self) -> Manifest | None:
        return manifest.newest(open_store(f"{self.uri}/checkpoints"), "default")

    def result(self) -> tuple[bytes, bytes]:
        """Return weights and metrics."""
        store = open_store(f"{self.uri}/models")
        weights, metrics = (store.read(paths.output("default", name)) for name in (paths.MODEL, paths.METRICS))
        return weights.data, metrics.data

    def complete(self) -> bool:
        try:
            open_store(f"{self.uri}/models").read(paths.output("default", paths.COMPLETION))
        except NotFound:
            return False
        return True


@pytest.fixture
def trainer(zygote: Zygote, uri: str) -> Trainer:
    """Return a trainer for each kind of store."""
    return Trainer(zygote, uri)


@pytest.fixture(scope="session")
def undisturbed(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Return weights and metrics of the short training without interruption."""
    trainer = Trainer(zygote, str(tmp_path_factory.mktemp("undisturbed")))
    assert trainer.start().wait() == 0
    return trainer.result()
