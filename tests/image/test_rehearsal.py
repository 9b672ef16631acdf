"""`spot rehearse --container`: the whole story, each of its jobs a container of the image."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.image.engine import Engine

pytestmark = pytest.mark.image
LONGEST_S = 400.0


def test_a_run_in_the_image_survives_the_story_with_the_same_model(engine: Engine, image: str) -> None:
    command = [
        sys.executable,
        "-m",
        "rehearsal",
        "--container",
        image,
        "--engine",
        "podman",
        "--epochs",
        "20",
        "--json",
    ]
    environ = {**os.environ, **engine.settings}
    played = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    assert played.stdout, played.stderr[-4000:]
    told = json.loads(played.stdout)  # not whether it was in time: that is a matter of what else this machine does
    assert told["identical"], played.stderr[-4000:]
    assert sum(step > 0 for step in told["reached"].values()) >= 3, "the run was interrupted"
    left = engine.command("podman", "ps", "--all", "--quiet", "--filter", "name=rehearsal-").stdout
    assert left == "", "no container outlives the rehearsal"
