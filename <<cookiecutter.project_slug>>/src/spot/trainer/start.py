"""Start the trainer process: take over the signals before any slow import."""

import logging
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from spot.trainer.runtime.signals import StopSignal

if TYPE_CHECKING:
    from spot.trainer.context import Runtime

_runtime: "Runtime | None" = None


def set_runtime(runtime: "Runtime") -> None:
    """Replace the surroundings of the next `entry` in this process, as a rehearsal does."""
    global _runtime  # noqa: PLW0603  # the user's module calls `entry`, and no argument passes through it
    _runtime = runtime


def entry(
    *, config: str | None = None, model: str | None = None, data: str | None = None, loop: str | None = None
) -> NoReturn:
    """Train the task in the modules of these names, and end the process with its exit code.

    `config` names the module of the configuration. `model` and `data` name the modules of the default loop. `loop`
    names a module with a loop of your own instead: its `main()` trains in a `Session`.
    """
    stop = StopSignal(_runtime.clock if _runtime else None)
    stop.install()
    from spot.trainer.context import Runtime, Task
    from spot.trainer.main import main

    task = Task(config=config, model=model, data=data, loop=loop)
    code = main(sys.argv[1:], os.environ, stop, task, _runtime or Runtime())
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # at once: threads may still be in a request, or wait for another rank
