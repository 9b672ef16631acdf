"""Be the container of a probe: give it the surroundings of a variant, start it, and restart it as Vertex AI would."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any, cast

MODULE = "tests.machinery.live.container"
VARIABLE = "CONTAINER"
SPEED = 100
"""Seconds of a container in a real second."""


def main(arguments: list[str]) -> int:
    around = json.loads(os.environ[VARIABLE])
    for _ in range(around["restarts"]):
        once = {**os.environ, VARIABLE: json.dumps({**around, "restarts": 0})}
        subprocess.run([sys.executable, "-m", MODULE, *arguments], env=once, check=False)
    cast(Any, os).getuid = lambda: around["uid"]
    cast(Any, shutil).disk_usage = lambda path: SimpleNamespace(total=around["shm"], free=around["disk"], path=path)
    clock, monotonic, sleep = cast(Any, time), time.monotonic, time.sleep
    clock.monotonic = lambda: monotonic() * SPEED
    clock.sleep = lambda seconds: sleep(seconds / SPEED)
    if arguments[0] == "gpu" and around["gpu"]:
        import torch

        ones, module = torch.ones, cast(Any, torch)
        module.ones = lambda height, width, device: ones(height, width)  # noqa: ARG005
    if arguments[0] == "memory":
        arguments = ["hold", *arguments[1:]]  # the launcher kills it: no test fills the memory of this machine
    sys.argv = ["probe", *arguments]
    runpy.run_module("spot.trainer.probe", run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
