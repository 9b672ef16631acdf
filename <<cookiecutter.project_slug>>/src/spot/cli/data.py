"""Run the verb on data: what a run would be pinned to now, and whether submit would refuse it."""

from argparse import Namespace
from datetime import UTC, datetime
from typing import Any

from spot.cli import console
from spot.config.load import load
from spot.core.errors import Exit
from spot.core.tables import facts
from spot.supervisor import service

MOST = 10
"""Objects of a kind that a terminal shows."""


def data(options: Namespace) -> int:
    """Show the data, the checks of submit, and the difference to the last run. Return USAGE for a failed check."""
    settings, now = load(options.settings), datetime.now(UTC)
    found = service.data(settings, now)
    if found is None:
        console.show({"uri": None}, ["training.data is the sample in the image: there is nothing to pin"], options.json)
        return Exit.DONE
    findings = found.findings(settings.data, now)
    difference = found.difference() if found.last else None
    lines = [("data", found.dataset.uri), ("objects", str(found)), ("record", found.dataset.name)]
    if found.last:
        lines.append(("last run", f"{found.last_run}, {'the same' if found.is_unchanged else 'other'} content"))
    for kind, uris in (difference or {}).items():
        more = f" and {len(uris) - MOST} more" if len(uris) > MOST else ""
        lines += [(kind, f"{', '.join(uris[:MOST])}{more}")] if uris else []
    lines += [("refused", line) for line in findings]
    values: dict[str, Any] = {
        "uri": found.dataset.uri,
        "record": found.dataset.name,
        "objects": found.dataset.objects,
        "bytes": found.dataset.size,
        "newest": found.newest,
        "findings": findings,
        "last_run": found.last_run,
        "difference": difference,
    }
    console.show(values, [facts(lines)], options.json)
    return Exit.USAGE if findings else Exit.DONE
