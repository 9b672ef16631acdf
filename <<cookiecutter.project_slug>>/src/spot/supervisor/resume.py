"""Plan a run that continues a failed or cancelled run from its newest checkpoint.

The new run names its parent, and its trainer reads the parent's checkpoints until it has committed its own. So nothing
is copied: the record of the new run is the only write, and a crash before it leaves nothing behind.
"""

import re
from dataclasses import replace
from datetime import datetime

from spot.accounting.cost import account
from spot.config.settings import Settings
from spot.core.history import Parent
from spot.core.run import Observation, Run, RunState
from spot.policy.calibrate import calibrated
from spot.storage.factory import open_store
from spot.storage.records.ledger import Ledger
from spot.supervisor.submit import (
    SubmitError,
    SubmitOptions,
    SubmitPlan,
    overridden,
    pinned_image,
    plan_priced,
    run_of,
)
from spot.supervisor.training_status import GIVE_UP_S, BucketStatus, live_facts


def plan_resume(settings: Settings, run_id: str, options: SubmitOptions, now: datetime) -> SubmitPlan:
    """Return the plan of the run that resumes `run_id`, with its flags and its pinned data. Write no record.

    Raises `SubmitError` for a run that cannot be resumed.
    """
    ledger = Ledger(open_store(settings.root, give_up_s=GIVE_UP_S))
    run = ledger.find(run_id).run
    if run.state is RunState.OPEN:
        raise SubmitError(f"run {run.id} is open and resumes automatically", fix=f"spot status {run.id}")
    if run.state is RunState.SUCCEEDED:
        raise SubmitError(f"run {run.id} has succeeded: submit a new run", fix="spot submit")
    if options.arguments:
        raise SubmitError(
            f"the flags {' '.join(options.arguments)} cannot change: a resume keeps those of run {run.id}"
        )
    new_id = options.run or resumed_id(run.id)
    if found := ledger.find_or_none(new_id):
        advice = f"spot status {new_id}" if found.state is RunState.OPEN else f"spot resume {new_id}"
        raise SubmitError(f"run {run.id} was resumed as run {new_id}, which is {found.state}", fix=advice)
    seen = BucketStatus(settings.root).observe(run)
    if seen.progress is None:
        raise SubmitError(f"run {run.id} has no checkpoint: submit a new run", fix="spot submit")
    settings = overridden(settings, options)
    image = pinned_image(settings, options)
    new = run_of(settings, new_id, now, image=image, arguments=run.spec.arguments)
    new = calibrated(new, live_facts(settings.root), settings.policy.model_fields_set)
    inherited = Observation(progress=replace(seen.progress, attempt=run.id))
    new = replace(new, spec=replace(new.spec, dataset=run.spec.dataset), parent=_parent(run, seen, now))
    return plan_priced(settings, options, new, ledger.store, inherited)


def resumed_id(run_id: str) -> str:
    """Return the id of the run that resumes a run: always the same, so that no repetition starts a second run."""
    match = re.fullmatch(r"(.+-r)(\d{1,4})", run_id)
    return f"{match[1]}{int(match[2]) + 1}" if match else f"{run_id}-r1"


def _parent(run: Run, seen: Observation, now: datetime) -> Parent:
    before, cost = run.parent, account(run, seen, now).usd
    earlier = before.usd if before else 0.0
    # The newest checkpoint of a run without its own is its ancestor's.
    inherits = before is not None and seen.progress is not None and seen.progress.attempt == before.checkpoints
    return Parent(
        run=run.id,
        checkpoints=before.checkpoints if before and inherits else run.id,
        usd=None if cost is None or earlier is None else earlier + cost,
    )
