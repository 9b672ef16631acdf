"""`python -m trainer`: take the signals over before anything slow is imported, then run."""

from __future__ import annotations

import logging
import os
import sys

from trainer.stop import Stop


def entry() -> None:
    """The process: its exit code is the one that `main` gives, whatever threads are still in a request."""
    stop = Stop()
    stop.install()
    from trainer.main import main

    try:
        code = main(sys.argv[1:], os.environ, stop)
    except SystemExit as usage:  # --help
        code = int(usage.code or 0)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    entry()
