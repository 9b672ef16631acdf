"""Train with a framework: `python -m tests.machinery.frameworks huggingface`."""

import os
import sys
import time

from spot.trainer import entry
from spot.trainer.context import Runtime
from spot.trainer.start import set_runtime

STEP_S = float(os.environ.get("STEP_S", "0"))
"""Each step takes at least so long, so that a test can interrupt it."""

if __name__ == "__main__":
    set_runtime(Runtime(on_step=lambda step, total: time.sleep(STEP_S)))  # noqa: ARG005
    entry(loop=f"tests.machinery.frameworks.{sys.argv.pop(1)}")
