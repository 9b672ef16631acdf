"""Run the verbs that look before a run: data, doctor, verify-live."""

import signal
from argparse import Namespace
from datetime import UTC, datetime
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from spot.cli import console
from spot.config.load import load
from spot.config.settings import Settings
from spot.core.clock import SystemClock
from spot.core.errors import Exit
from spot.core.format import counted, hours
from spot.core.tables import facts, table
from spot.doctor.diagnose import diagnose
from spot.doctor.finding import Finding, Status, failed, ok
from spot.doctor.machine import driver
from spot.live.assumptions import ASSUMPTIONS
from spot.live.verify import LivePlan, LiveResult, plan, verify
from spot.pricing.quotes import described
from spot.supervisor import service
from spot.supervisor.preflight import machine_error, step
from spot.supervisor.submit import run_of

_STYLES = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILED: "bold red", Status.UNKNOWN: "magenta"}


def data(options: Namespace) -> int:
    """Show the data, the checks of submit, and whether the last run had the same. Return USAGE for a failed check."""
    settings, now = load(options.settings), datetime.now(UTC)
    found = service.data(settings, now)
    if found is None:
        console.show({"uri": None}, ["training.data is the sample in the image: there is nothing to pin"], options.json)
        return Exit.DONE
    findings = found.findings(settings.data, now)
    lines = [("data", found.dataset.uri), ("objects", str(found)), ("record", found.dataset.name)]
    if found.last:
        lines.append(("last run", f"{found.last_run}, {'the same' if found.is_unchanged else 'other'} content"))
    lines += [("refused", line) for line in findings]
    values: dict[str, Any] = {
        "uri": found.dataset.uri,
        "record": found.dataset.name,
        "objects": found.dataset.objects,
        "bytes": found.dataset.size,
        "newest": found.newest,
        "findings": findings,
        "last_run": found.last_run,
        "is_unchanged": found.is_unchanged,
    }
    console.show(values, [facts(lines)], options.json)
    return Exit.USAGE if findings else Exit.DONE


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


def verify_live(options: Namespace) -> int:
    """Return DONE for a plan, or if every question was answered, whatever the answers are."""
    planned = plan(load(options.settings), options.image)
    if not options.yes:
        console.show(_plan_values(planned), [*_plan(planned), "spot verify-live --yes   start"], options.json)
        return Exit.DONE
    if not options.json:
        console.write(*_plan(planned))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # either signal cancels the jobs
    result = verify(planned, SystemClock())
    console.show(_values(result), _result(result), options.json)
    return Exit.AGAIN if result.unanswered else Exit.DONE


def _plan(planned: LivePlan) -> list[RenderableType]:
    shown = table("job", "container", "machine", "provisioning", ">cap", ">at most")
    for probe in planned.probes:
        machines = f"{probe.replicas} x {probe.machine.type}" if probe.replicas > 1 else probe.machine.type
        price = f"${planned.usd[probe.name]:.3f}" if probe.runs else "refused"
        shown.add_row(probe.name, " ".join(probe.command), machines, probe.provisioning, hours(probe.cap), price)
    total = f"{counted(len(planned.probes), 'job')} in {planned.region}, about 20 min, at most ${planned.total_usd:.2f}"
    return [shown, *(Text(f"left out: {one}", style="yellow") for one in planned.left_out), "", total]


def _result(result: LiveResult) -> list[RenderableType]:
    shown = table("question", "assumed", "found")
    for name, one in ASSUMPTIONS.items():
        fact = result.facts.get(name)
        style = "dim" if fact is None else "" if fact.as_assumed else "yellow"
        shown.add_row(one.question, one.assumed, Text(fact.value if fact else "not answered", style=style))
    others = sum(not fact.as_assumed for fact in result.facts.values())
    total = f"{counted(len(result.facts), 'answer')}, {others} not as assumed, {len(result.unanswered)} missing"
    where = f"{result.plan.settings.root}/live/facts.json"
    return ["", shown, *(Text(f"missing: {one}", style="yellow") for one in result.problems), "", f"{total}: {where}"]


def _plan_values(planned: LivePlan) -> dict[str, Any]:
    return {
        "region": planned.region,
        "image": planned.image,
        "usd": planned.total_usd,
        "left_out": planned.left_out,
        "jobs": [
            {"name": probe.name, "cap_seconds": probe.cap.total_seconds(), "usd": planned.usd[probe.name]}
            for probe in planned.probes
        ],
    }


def _values(result: LiveResult) -> dict[str, Any]:
    answers = {
        name: {"question": one.question, "assumed": one.assumed, "found": result.facts.get(name)}
        for name, one in ASSUMPTIONS.items()
    }
    return {**_plan_values(result.plan), "answers": answers, "problems": result.problems}
