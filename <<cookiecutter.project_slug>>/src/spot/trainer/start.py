"""Start the trainer process: take over the signals before any slow import."""

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from spot.trainer.runtime.signals import StopSignal

if TYPE_CHECKING:
    from spot.trainer.context import Runtime


def entry(*, model: str, data: str, runtime: "Runtime | None" = None) -> NoReturn:
    """Train the task in the modules of these names and end the process with its exit code."""
    stop = StopSignal(runtime.clock if runtime else None)
    stop.install()
    import logging

    from spot.trainer.context import Runtime, Task
    from spot.trainer.main import main

    try:
        code = main(sys.argv[1:], os.environ, stop, Task(model=model, data=data), runtime or Runtime())
    except SystemExit as usage:  # --help
        code = int(usage.code or 0)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # threads may still be in a request
