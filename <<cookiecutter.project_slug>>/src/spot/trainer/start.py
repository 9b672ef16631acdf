"""Start the trainer process: take over the signals before any slow import."""

import os
import sys
from typing import NoReturn

from spot.trainer.runtime.signals import StopSignal


def entry(*, model: str, data: str) -> NoReturn:
    """Train the task in the modules of these names and end the process with its exit code."""
    stop = StopSignal()
    stop.install()
    import logging

    from spot.trainer.context import Task
    from spot.trainer.main import main

    try:
        code = main(sys.argv[1:], os.environ, stop, Task(model=model, data=data))
    except SystemExit as usage:  # --help
        code = int(usage.code or 0)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # threads may still be in a request
