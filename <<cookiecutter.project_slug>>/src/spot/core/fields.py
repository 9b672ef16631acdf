"""Hold the patterns and bounds that several packages check values by."""

import re

MAX_REGIONS = 20

ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
"""Ids of runs and attempts: also label values on Vertex AI and segments of object names."""
ID_ALLOWED = "1 to 63 of a-z, 0-9, _ and -, a letter or digit first"

REGION = re.compile(r"[a-z]{2,20}-[a-z]{4,20}[0-9]{1,2}")

BUCKET = re.compile(
    r"(?!goog)(?!.*google)(?!.*\.\.)(?![0-9]+\.[0-9]+\.[0-9]+\.[0-9]+\Z)[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]"
)

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
"""Digests of container images."""

_SHOWN = 60


def shown(value: object) -> str:
    """Return the value in plain ASCII on one short line."""
    if isinstance(value, bool):
        return str(value).lower()
    try:
        quoted = ascii(value)
    except (ValueError, RecursionError):  # an integer of too many digits, tables nested too deep
        return f"a value too large to show ({type(value).__name__})"
    if len(quoted) <= _SHOWN:
        return quoted
    length = f" ({len(value)} characters)" if isinstance(value, str) else ""
    return f"{quoted[: _SHOWN - 10]}...{length}"
