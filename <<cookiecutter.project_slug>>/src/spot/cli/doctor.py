"""Run `spot doctor`: check credentials, quota and configuration, and print a fix for each failure."""

from argparse import Namespace
from datetime import UTC, datetime

from rich.console import RenderableType
from rich.text import Text

from spot.cli import console
from spot.config.load import load
from spot.config.settings import Settings
from spot.core.errors import Exit
from spot.core.format import counted
from spot.core.tables import facts
from spot.doctor.diagnose import diagnose
from spot.doctor.finding import Finding, Status, failed, ok
from spot.doctor.machine import driver
from spot.pricing.quotes import described
from spot.supervisor.preflight import machine_error, step
from spot.supervisor.submit import run_of

_STYLES = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILED: "bold red", Status.UNKNOWN: "magenta"}


def doctor(options: Namespace) -> int:
    """Return USAGE for a failed check, AGAIN if nothing could be checked."""
    settings = load(options.settings)
    local = [_run(settings), *driver(settings)]
    findings = [*local, *diagnose(settings)]
    width = max((len(finding.check) for finding in findings), default=0)
    parts = [part for finding in findings for part in _lines(finding, width)]
    console.show({"findings": findings}, parts, options.json)
    checked = {finding.status for finding in findings[len(local) :] if finding.check != "credentials"}
    if any(finding.status is Status.FAILED for finding in findings):
        return Exit.USAGE
    return Exit.AGAIN if checked == {Status.UNKNOWN} else Exit.DONE


def _run(settings: Settings) -> Finding:
    """Check what a submit would refuse about the machines, their ranks and the batch."""
    run = run_of(settings, None, datetime.now(UTC), image=settings.cloud.image, arguments=settings.arguments())
    if problem := machine_error(run):
        return failed("run", problem)
    ranks, samples = step(run)
    return ok(
        "run", f"{described(run.spec.machine)}: {counted(ranks, 'rank')}, {samples // ranks} samples of a step each"
    )


def _lines(finding: Finding, width: int) -> list[RenderableType]:
    line = facts([])
    line.add_column(overflow="fold")
    line.add_row(Text(f"{finding.status:7}", style=_STYLES[finding.status]), finding.check.ljust(width), finding.detail)
    return [line, *([f"  fix:   {finding.fix}"] if finding.fix else [])]
