"""Rehearse a whole run whose jobs are containers of the image."""

from __future__ import annotations

import os

import pytest

from spot.demo.environment import ENVIRONMENT, Options, set_up
from spot.demo.runner import run_rehearsal
from spot.emulators.reaper import Reaper
from tests.image.engine import Engine
from tests.machinery.emulators.containers import ContainerLauncher

pytestmark = pytest.mark.image


def test_a_run_in_the_image_survives_the_scenario_with_the_same_model(
    engine: Engine, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in engine.settings.items():
        monkeypatch.setenv(name, value)

    def containers(reaper: Reaper) -> ContainerLauncher:
        environ = {name: os.environ[name] for name in ("STORAGE_EMULATOR_HOST", *ENVIRONMENT)}
        return ContainerLauncher(image, reaper, environ)

    lines: list[str] = []
    options = Options(epochs=20, seed=0, data=None, trace=None)
    with set_up(options, lines.append, containers) as environment:
        result = run_rehearsal(environment, lambda _: None)
    # Whether it met the deadline depends on the load of this machine.
    assert result.comparison is not None, lines
    assert result.comparison.identical, lines
    assert sum(step > 0 for step in result.snapshot.reached.values()) >= 3, "the run was interrupted"
    left = engine.command("podman", "ps", "--all", "--quiet", "--filter", "name=rehearsal-").stdout
    assert left == "", "no container outlives the rehearsal"
