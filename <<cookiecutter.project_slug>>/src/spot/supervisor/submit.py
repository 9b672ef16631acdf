"""Plan a run: pin everything it reads, and check that it can meet its deadline and its budget."""

import contextlib
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from spot.config.load import override
from spot.config.settings import Settings
from spot.core.actions import Submit
from spot.core.errors import SpotError, TemporarilyUnavailable
from spot.core.fields import ID
from spot.core.format import clock, hours
from spot.core.run import Attempt, Observation, PolicyConfig, Provisioning, Run, Strategy
from spot.google.registry import pin
from spot.policy.calibrate import calibrated
from spot.policy.decide import decide
from spot.policy.offers import Offers
from spot.policy.slack import Slack
from spot.pricing.quotes import age_warning, described, quotes
from spot.storage.base import Store
from spot.storage.factory import open_store
from spot.storage.records import champion, reconciles
from spot.storage.records.ledger import OLDEST_ID, Ledger
from spot.supervisor import data_checks, pinned, preflight
from spot.supervisor.data_checks import FoundData
from spot.supervisor.reconcile import describe
from spot.supervisor.training_status import GIVE_UP_S, live_facts, measured_work, succeeded

NOTHING_SEEN = Observation()


class SubmitError(SpotError):
    """Report a run that cannot be submitted as requested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOptions:
    """Hold what a submit or a forecast overrides; None takes the value of the settings."""

    image: str | None = None
    strategy: str | None = None
    regions: str | None = None
    """Separated by commas."""
    work_hours: float | None = None
    deadline_hours: float | None = None
    budget_usd: float | None = None
    run: str | None = None
    """The id; None draws one."""
    arguments: Sequence[str] = ()
    sources: str | None = None
    """Digest of the sources of the image, where the caller knows that they are those of the checkout."""
    force: bool = False
    """Whether to override preflight warnings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitPlan:
    """Hold a run that passed its preflight checks, and its first action."""

    run: Run
    action: Submit
    slack: Slack
    warnings: tuple[str, ...]
    """Preflight warnings that `--force` overrode."""
    notes: tuple[str, ...]
    measured_by: str | None = None
    """The succeeded run that measured the work."""
    data: FoundData | None = None
    """The data to record before the run; None for the sample, and for a resume."""
    repeats: str | None = None
    """The last succeeded run, if this one would train the same model bit for bit."""

    @property
    def work(self) -> str:
        """Return how much work counts, and why."""
        policy = self.run.spec.policy
        counts = "" if policy.work_is_measured else f", not measured: counts as {hours(self.slack.work)} at first"
        measured = f", measured by run {self.measured_by}" if self.measured_by else ""
        return f"{hours(policy.work)} of work{counts}{measured}"

    @property
    def facts(self) -> list[tuple[str, str]]:
        run, slack, spec, policy = self.run, self.slack, self.run.spec, self.run.spec.policy
        machine, (ranks, samples) = spec.machine, preflight.step(run)
        pools = f", in worker pools of 1 and {machine.count - 1}" if machine.count > 1 else ""
        lines = [
            ("run", run.id),
            *([("resumes", run.parent.run)] if run.parent else []),
            ("image", spec.image),
            ("machine", f"{described(machine)}{pools}"),
            *([("ranks", f"{ranks}, each {samples // ranks} of the {samples} samples of a step")] if ranks > 1 else []),
            ("trainer", shlex.join(spec.arguments) or "its defaults"),
            *([("champion", spec.champion.partition("#")[0])] if spec.champion else []),
            *([("data", str(self.data))] if self.data else []),
            ("first", describe(self.action)),
            ("deadline", f"{clock(spec.deadline)}, in {hours(slack.time_left)}; {self.work}"),
        ]
        if policy.strategy is Strategy.HYBRID:
            latest = f"latest start {clock(slack.latest_on_demand_start)}"
            reserve = f"; with the reserve of a hand-over {clock(slack.on_demand_start)}"
            latest += reserve if slack.on_demand_start < slack.latest_on_demand_start else ""
            can_finish = Offers.of(run, slack).on_demand_can_finish
            lines.append(("on-demand", latest if can_finish else "never: the budget does not pay for it"))
        lines.append(("price", f"{_prices(policy)}{', all machines together' if machine.count > 1 else ''}"))
        return [*lines, *(("warning", line) for line in (*self.warnings, *self.notes))]

    @property
    def first(self) -> Attempt:
        """Return the attempt that the first reconcile creates."""
        return self.action.attempt(self.run, self.run.submitted_at, from_step=0)

    @property
    def request(self) -> dict[str, Any]:
        from spot.google.vertex import wire

        return wire(self.run, self.first)


def _prices(policy: PolicyConfig) -> str:
    known = [
        f"{region} {', '.join(f'{kind} ${prices[kind]:.2f}/h' for kind in Provisioning if kind in prices)}"
        for region, prices in policy.usd_per_hour.items()
        if prices
    ]
    return "; ".join(known) or "unknown for this machine"


def new_id(now: datetime) -> str:
    """Return an id that begins with its date: runs sort by age, and the date leads to the record of a closed run."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def plan_submit(settings: Settings, options: SubmitOptions, now: datetime) -> SubmitPlan:
    """Return the plan of a run with everything it reads pinned. Write no record.

    Raises `SubmitError` for a run that cannot be submitted, `SpotError` if a pin cannot be read.
    """
    settings = overridden(settings, options)
    image = pinned_image(settings, options)
    data = data_checks.find(settings)
    run = run_of(settings, options.run, now, image=image, arguments=settings.arguments())
    run = calibrated(run, live_facts(settings.root), settings.policy.model_fields_set)
    run = replace(run, spec=replace(run.spec, dataset=data.dataset.name if data else None, sources=options.sources))
    measured, past, notes = None, list[Run](), list[str]()
    store, models = (open_store(uri, give_up_s=GIVE_UP_S) for uri in (settings.root, f"{settings.root}/models"))
    try:
        past = [*succeeded(Ledger(store), now)]
        data = data_checks.compared(data, run.spec.root, past) if data else None
        measured = measured_work(past, models, run.spec) if options.work_hours is None else None
    except TemporarilyUnavailable:  # nor could the run be recorded
        raise
    except SpotError as error:
        notes.append(f"the last run was not read: {error}")
    if measured:
        run = run.with_policy(
            work=measured.work,
            work_is_measured=True,
            tail=measured.tail,
            expected_start=measured.expected_start,
            worst_start=measured.worst_start,
        )
    planned = plan_priced(settings, options, run, store, doubts=data.findings(settings.data, now) if data else [])
    return replace(
        planned,
        notes=(*planned.notes, *notes),
        measured_by=measured.run if measured else None,
        data=data,
        repeats=data_checks.repeats(run, past, data),
    )


def pinned_image(settings: Settings, options: SubmitOptions) -> str:
    """Return the image by digest. Raises `SubmitError` without an image, or for a bucket on this machine."""
    if not settings.root.startswith("gs://"):
        raise SubmitError(f"cloud.bucket is the directory {settings.cloud.bucket}, which no machine of Vertex AI reads")
    image = settings.cloud.image if options.image is None else options.image
    if not image:
        raise SubmitError("no image of the trainer", fix="give --image, or set cloud.image in spot.toml")
    return pin(image)


def plan_priced(
    settings: Settings,
    options: SubmitOptions,
    run: Run,
    store: Store,
    seen: Observation = NOTHING_SEEN,
    doubts: Sequence[str] = (),
) -> SubmitPlan:
    """Return the plan of `run` with the model in use pinned, with notes on its prices and on how it is judged.

    `store` is that of the ledger, `doubts` are preflight warnings about its data.
    """
    pinned.check(run, settings)
    gaps, home = reconciles.read(store), settings.cloud.supervisor
    notes = [preflight.optimism_note(run, settings.folder)]
    if slower := gaps.slower(home, run.spec.policy.reconcile_interval):
        run = run.with_policy(reconcile_interval=gaps.usual_gap(home))
        notes.append(f"{slower}, so that on-demand starts earlier")
    policy = run.spec.policy
    try:
        found = champion.read(store)[0].now
        run = replace(run, spec=replace(run.spec, champion=found.pin if found else None))
    except SpotError as error:
        notes.append(f"the model is not compared with the one in use: {error}")
    if policy.budget_usd is not None:
        prices = quotes(settings.machine(), policy.regions, settings.price_table())
        notes.append(age_warning(prices, run.submitted_at))
    planned = plan(run, force=options.force, save=settings.save, seen=seen, doubts=doubts)
    return replace(planned, notes=(*planned.notes, *(note for note in notes if note)))


def run_of(settings: Settings, run_id: str | None, now: datetime, *, image: str, arguments: tuple[str, ...]) -> Run:
    """Return the run that the settings describe, with a new id unless there is one."""
    deadline = now + timedelta(hours=settings.policy.deadline_hours)
    spec = settings.spec(image=image, arguments=arguments, deadline=deadline, policy=settings.policy_config())
    return Run(id=new_id(now) if run_id is None else run_id, spec=spec, submitted_at=now)


def overridden(settings: Settings, options: SubmitOptions) -> Settings:
    names = ("strategy", "work_hours", "deadline_hours", "budget_usd")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    regions = {} if options.regions is None else {"regions": [name.strip() for name in options.regions.split(",")]}
    return override(settings, {"cloud": regions, "policy": given}, options.arguments)


def plan(
    run: Run,
    *,
    force: bool,
    save: timedelta | None = None,
    seen: Observation = NOTHING_SEEN,
    doubts: Sequence[str] = (),
) -> SubmitPlan:
    """Return the plan of `run`. `save` is the time until a checkpoint is durable, None if unknown.

    `seen` has the progress of the run to resume, `doubts` what speaks against its data.

    Raises `SubmitError` with the numbers if a check fails; `force` overrides the warnings among them.
    """
    slack = Slack.of(run, seen, run.submitted_at)
    _check_id(run)
    checked = run.with_policy(work=slack.work) if run.parent else run  # only the work left costs money and time
    if error := preflight.error(checked):
        raise SubmitError(error)
    warnings = [*_late(checked, slack), *doubts, *preflight.warnings(checked, save)]
    if warnings and not force:
        raise SubmitError(f"{warnings[0]}. --force overrides this check")
    action = decide(run, seen, run.submitted_at)
    if not isinstance(action, Submit):
        raise SubmitError(f"the run would end before its first attempt: {action.reason}")
    return SubmitPlan(
        run=run, action=action, slack=slack, warnings=tuple(warnings), notes=tuple(preflight.notes(checked))
    )


def _check_id(run: Run) -> None:
    """Refuse an id without a usable date: it is the only way from the id to the record of a closed run."""
    if not ID.fullmatch(run.id):
        raise SubmitError(f"--run {run.id!r}: expected 1 to 63 of a-z, 0-9, _ and -, first a letter or digit")
    age = None
    with contextlib.suppress(ValueError):
        age = run.submitted_at - datetime.strptime(run.id[:9], "%Y%m%d-").replace(tzinfo=UTC)
    if age is None or not -timedelta(days=1) <= age <= OLDEST_ID + timedelta(days=1):
        raise SubmitError(
            f"--run {run.id}: expected an id that begins with a date of the last {OLDEST_ID.days} days,"
            f" as {run.submitted_at:%Y%m%d}-weekly"
        )


def _late(run: Run, slack: Slack) -> list[str]:
    policy, spec = run.spec.policy, run.spec
    if slack.time_left <= timedelta():
        return [f"the deadline {clock(spec.deadline)} has passed: choose a later one"]
    stated = replace(slack, work=policy.work)
    needs = stated.on_demand_overhead
    if policy.strategy is not Strategy.SPOT and stated.left < needs:
        line = (
            f"the deadline {clock(spec.deadline)} cannot be met: {hours(policy.work)} of work and up to {hours(needs)}"
            f" for an on-demand start, in {hours(slack.time_left)}. Raise --deadline-hours, or correct --work-hours"
        )
        return [line]
    return []
