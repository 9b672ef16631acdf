"""Summarize what `spot verify-live` found out, and when."""

from datetime import UTC, datetime

from spot.config.settings import Settings
from spot.core.format import counted
from spot.doctor.finding import Finding, ok, record, unknown, warning
from spot.google.rest import GoogleApi
from spot.storage.base import Damaged, NewerFormat
from spot.storage.records import facts

NAME = "live facts"
FIX = "spot verify-live"
OLD_DAYS = 180


def check(api: GoogleApi, settings: Settings) -> list[Finding]:
    """Return a warning for old facts and for differences. Raise `GoogleApiError` without an answer of the bucket."""
    found = record(api, settings, facts.NAME)
    if found is None:
        return [unknown(NAME, "no assumption about Vertex AI was checked in this project", FIX)]
    try:
        known = facts.decode(found, settings.root)
    except (Damaged, NewerFormat) as error:
        return [unknown(NAME, f"unexpected answer: {error.message}", FIX)]
    days = (datetime.now(UTC) - min((one.at for one in known.facts.values()), default=datetime.now(UTC))).days
    different = sorted(name for name, one in known.facts.items() if not one.as_assumed)
    said = f"{counted(len(known.facts), 'answer')} of up to {counted(days, 'day')} ago"
    said += f", {counted(len(known.preemptions), 'preemption')}; not as assumed: {', '.join(different) or 'none'}"
    return [warning(NAME, said, FIX) if different or days > OLD_DAYS else ok(NAME, said)]
