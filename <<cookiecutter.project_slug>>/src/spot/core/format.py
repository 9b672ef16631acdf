"""Format times, durations and states for decisions, tables and messages."""

from datetime import UTC, datetime, timedelta

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


def counted(number: int, what: str) -> str:
    """Return `1 attempt` or `2 attempts`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def state_of(attempt: Attempt) -> str:
    """Return the state of the job in lower case."""
    return attempt.state.name.lower() if attempt.job else "being created"
