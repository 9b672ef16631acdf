"""Run `spot doctor`: check credentials, quota and configuration, and print a fix for each failure."""

from argparse import Namespace

from rich.console import RenderableType
from rich.text import Text

from spot.cli import console
from spot.config.load import load
from spot.core.errors import Exit
from spot.core.tables import facts
from spot.doctor.diagnose import diagnose
from spot.doctor.finding import Finding, Status

_STYLES = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILED: "bold red", Status.UNKNOWN: "magenta"}


def doctor(options: Namespace) -> int:
    """Return USAGE for a failed check, AGAIN if nothing could be checked."""
    findings = diagnose(load(options.settings))
    width = max((len(finding.check) for finding in findings), default=0)
    parts = [part for finding in findings for part in _lines(finding, width)]
    console.show(findings, parts, options.json)
    checked = {finding.status for finding in findings if finding.check != "credentials"}
    if any(finding.status is Status.FAILED for finding in findings):
        return Exit.USAGE
    return Exit.AGAIN if checked == {Status.UNKNOWN} else Exit.DONE


def _lines(finding: Finding, width: int) -> list[RenderableType]:
    line = facts([])
    line.add_column(overflow="fold")
    line.add_row(Text(f"{finding.status:7}", style=_STYLES[finding.status]), finding.check.ljust(width), finding.detail)
    return [line, *([f"  fix:   {finding.fix}"] if finding.fix else [])]
