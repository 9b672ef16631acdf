"""Log to standard output: Vertex AI records every line on standard error as an error."""

import logging
import sys
import time


def configure() -> None:
    """Log to standard output, with times in UTC."""
    handler = logging.StreamHandler(sys.stdout)
    formatter = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for library in ("google", "urllib3", "requests"):
        logging.getLogger(library).setLevel(logging.WARNING)
