"""Rehearse a run with preemptions, missing capacity and a crash, and compare its model with an uninterrupted one's."""

import argparse
import json
import signal
import sys
from functools import partial
from pathlib import Path

from rich.console import Console

from spot.cli.console import show
from spot.cli.main import Parser
from spot.config.load import load
from spot.config.settings import Settings
from spot.core.errors import Exit, SpotError
from spot.core.run import Run
from spot.demo import keep
from spot.demo.environment import ROOT, Environment, Options, set_up
from spot.demo.runner import RUN, Rehearsal, Result, Script, Watch, new_run, run_rehearsal
from spot.demo.scenario import random_scenario, scenario, undisturbed
from spot.demo.view import WIDTH, ending, print_event
from spot.promotion import settle
from spot.promotion.rule import recorded
from spot.simulation import traces
from spot.storage.factory import open_store
from spot.storage.records.codec import encode
from spot.trainer.runtime.values import explained, whole

STEPS = 500
FIRST, BROKEN = f"{RUN}-first", f"{RUN}-broken"
SHARE = 16
"""The first and the broken model are trained for a sixteenth of the steps."""
STUCK = ("--ema", "0.9999")
"""Ships nearly the weights after the first step."""


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if the run met its deadline with the baseline's model, 1 if not, 2 for invalid arguments."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what the rehearsal started
    try:
        given = _parser().parse_args(arguments)
        console = Console(highlight=False, stderr=given.json)
        if not console.is_terminal:
            console.width = WIDTH
        settings = load(given.settings)
        training = training_flags(settings, given.steps, given.data)
        if given.keep:
            keep.check(given.keep)
        if given.html:
            given.html.open("a").close()  # fails now instead of after the rehearsal
        options = Options(
            training=training,
            trace=traces.read(given.trace) if given.trace else None,
            machines=given.machines,
            ranks=given.ranks,
            gate=settings.gate if given.promotion else None,
        )
        gate: list[tuple[str, str]] = []
        watch = partial(print_event, console, verbose=given.verbose)
        script: Script = scenario if given.seed is None else partial(random_scenario, seed=given.seed)
        script = undisturbed if given.trace else script
        with console.status("Rehearsing: hours pass in seconds."), set_up(options) as environment:
            if given.promotion:
                gate.append(judged(environment, watch, FIRST))
            result = run_rehearsal(environment, watch, script)
            if given.promotion:
                broken = judged(environment, watch, BROKEN, *STUCK)
                gate += [verdict(result.run), broken, taken_back(environment)]
            if given.keep:
                keep.keep(given.keep, given.machines)
        if given.html:
            from spot.report import page

            given.html.write_text(page.report(result.account), encoding="utf-8")
    except (SpotError, OSError) as error:
        print(f"spot: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, SpotError) else Exit.FAILED
    except KeyboardInterrupt:
        return 130
    console.print(ending(result))
    for run, decided in gate:
        console.print(f"{run.rpartition('-')[2]:9} {decided}", markup=False, soft_wrap=True)
    if given.json:
        show({**_values(result), "gate": dict(gate)}, [], as_json=True)
    return Exit.DONE if result.succeeded else Exit.FAILED


def training_flags(settings: Settings, steps: int, data: Path | None) -> tuple[str, ...]:
    """Return the flags of [training], with at most `steps` steps and `data` instead of its own."""
    training = settings.training
    uri = str(training.get("data", "sample"))
    if uri.startswith("gs://") and not data:
        raise SpotError(
            f"training.data is {uri}, which a rehearsal cannot read", fix="download it, and give --data FILE"
        )
    fewest = min(steps, int(str(training.get("max-steps", steps))))
    return (*settings.arguments(), "--max-steps", str(fewest), *(("--data", str(data)) if data else ()))


def judged(environment: Environment, watch: Watch, run_id: str, *flags: str) -> tuple[str, str]:
    """Train a worse model without interruption, and return what the gate decides about it."""
    training = environment.options.training
    steps = int(dict(zip(training[::2], training[1::2], strict=True))["--max-steps"]) // SHARE
    new = new_run(environment, run_id, "--max-steps", str(max(steps, 1)), *flags)
    return verdict(Rehearsal(environment, watch, undisturbed, new).play())


def verdict(run: Run) -> tuple[str, str]:
    made = recorded(run)
    return run.id, f"{made.action}: {made.reason}" if made else f"nothing was measured, the run is {run.state}"


def taken_back(environment: Environment) -> tuple[str, str]:
    """Take the last promotion back, and return which model is in use."""
    store, models, now = open_store(ROOT), open_store(f"{ROOT}/models"), environment.director.now()
    found = settle.rollback(store, models, now, by="the rehearsal", reason="a rehearsed rollback")
    return "rollback", f"{found.run} is in use again, its files are as they were promoted"


def _values(result: Result) -> dict[str, object]:
    comparison, account = result.comparison, result.account
    return {
        "run": json.loads(encode(result.run)),
        "reached": dict(result.reached),
        "usd": account.usd,
        "usd_on_demand": account.on_demand and account.on_demand.usd,
        "seconds_to_spare": account.to_spare and account.to_spare.total_seconds(),
        "identical": comparison is not None and comparison.identical,
        "metric": comparison and {comparison.metric: comparison.value},
    }


def _parser() -> Parser:
    parser = Parser(prog="spot rehearse", description=__doc__, allow_abbrev=False)
    add, count, seed = parser.add_argument, explained(whole(1)), explained(whole(0))
    add("--steps", type=count, default=STEPS, metavar="N", help=f"train at most N steps ({STEPS})")
    either = parser.add_mutually_exclusive_group().add_argument
    either("--seed", type=seed, metavar="N", help="rehearse a random scenario instead of the scripted one")
    either("--trace", type=Path, metavar="CSV", help="replay measured capacity instead of a scenario")
    add("--machines", type=count, default=1, metavar="N", help="train on N machines (1)")
    add("--ranks", type=count, default=1, metavar="N", help="train in N processes on each machine (1)")
    add("--promotion", action="store_true", help="put models in use: a first, a better, a broken one; take one back")
    add("--data", type=_file, metavar="FILE", help="train on a local file instead of training.data")
    add(
        "--settings", type=Path, default=Path("spot.toml"), metavar="FILE", help="read [training] from FILE (spot.toml)"
    )
    add("--verbose", action="store_true", help="show the reason of each decision")
    add("--html", type=Path, metavar="FILE", help="write the report of the run to FILE")
    add("--keep", type=Path, metavar="DIR", help="keep the bucket in DIR, for spot status and spot report")
    add("--json", action="store_true", help="print the result as JSON on standard output")
    return parser


def _file(text: str) -> Path:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not a local file: download gs:// objects first")
    return Path(text).resolve()


if __name__ == "__main__":
    sys.exit(main())
