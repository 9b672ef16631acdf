"""Run `spot verify-live`: ask the real services what the machinery assumes of them."""

import signal
from argparse import Namespace
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from spot.cli import console
from spot.config.load import load
from spot.core.clock import SystemClock
from spot.core.errors import Exit
from spot.core.format import counted, hours
from spot.core.tables import table
from spot.live.assumptions import ASSUMPTIONS
from spot.live.verify import LivePlan, LiveResult, plan, verify


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
