"""Times, durations and states as people read them, in decisions, tables and messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from spot.core.run import Attempt


def hours(duration: timedelta) -> str:
    """`45 s`, `23 min`, `4.2 h`."""
    seconds = duration.total_seconds()
    size = abs(seconds)
    if size < 90:
        return f"{seconds:.0f} s"
    if size < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def clock(moment: datetime) -> str:
    """`2026-11-24 21:14 UTC`."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def short(moment: datetime) -> str:
    """`11-24 21:14`, where the year is plain."""
    return clock(moment)[5:16]


def counted(number: int, what: str) -> str:
    """`1 attempt`, `2 attempts`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def state_of(attempt: Attempt) -> str:
    """Vertex AI's word, and ours for a job that it has not shown yet."""
    return attempt.state.name.lower() if attempt.job else "being created"
