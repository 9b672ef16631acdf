"""Log to standard output: Vertex AI records every line on standard error as an error."""

import logging
import sys
import time


def configure(rank: int = 0) -> None:
    """Log to standard output, with times in UTC. Ranks other than 0 log their warnings only."""
    handler = logging.StreamHandler(sys.stdout)
    formatter = logging.Formatter(
        f"%(asctime)s %(levelname)-7s {f'rank {rank}: ' if rank else ''}%(message)s", "%Y-%m-%dT%H:%M:%SZ"
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.WARNING if rank else logging.INFO, handlers=[handler], force=True)
    for library in ("google", "urllib3", "requests"):
        logging.getLogger(library).setLevel(logging.WARNING)
