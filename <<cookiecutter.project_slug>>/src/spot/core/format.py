"""Format times, durations and states for decisions, tables and messages, and values for `--json`."""

import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from spot.core.run import Attempt


def hours(duration: timedelta) -> str:
    """Return `45 s`, `23 min` or `4.2 h`."""
    seconds = duration.total_seconds()
    size = abs(seconds)
    if size < 90:
        return f"{seconds:.0f} s"
    if size < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def clock(moment: datetime) -> str:
    """Return `2026-11-24 21:14 UTC`."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def short(moment: datetime) -> str:
    """Return `11-24 21:14`."""
    return clock(moment)[5:16]


def percent(share: float) -> str:
    """Format a share: `58 %`, `< 1 %`."""
    return "< 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def counted(number: int, what: str) -> str:
    """Return `1 attempt` or `2 attempts`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def state_of(attempt: Attempt) -> str:
    return attempt.state.name.lower() if attempt.job else "being created"


def plain(value: Any) -> Any:
    """Return a value as JSON takes it: times in ISO 8601, durations in hours, numbers with six decimals."""
    match value:
        case date():
            return value.isoformat()
        case timedelta():
            return round(value / timedelta(hours=1), 6)
        case float():
            return round(value, 6) if math.isfinite(value) else None
        case Mapping():
            return {key: plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
    return plain(asdict(value)) if is_dataclass(value) and not isinstance(value, type) else value


def named(value: object, *names: str) -> dict[str, Any]:
    """Return attributes of a value for `--json`; the key of a duration says that it is in hours."""
    found = {name: getattr(value, name) for name in names}
    return {f"{name}_hours" if isinstance(one, timedelta) else name: one for name, one in found.items()}
