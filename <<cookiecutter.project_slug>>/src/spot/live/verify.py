"""Plan and carry out `spot verify-live`: probes, their price, and their answers as facts of the project."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import requests

from spot.config.settings import Settings
from spot.core.clock import Clock
from spot.core.errors import SpotError
from spot.core.fields import one_line
from spot.google.vertex import VertexJobs
from spot.live import services
from spot.live.assumptions import ASSUMPTIONS, Answer, timed
from spot.live.jobs import ProbeJobs
from spot.live.probes import Probe, error_lags, probes
from spot.storage.factory import open_store
from spot.storage.records import facts
from spot.storage.records.facts import Fact
from spot.supervisor.submit import SubmitError, SubmitOptions, pinned_image
from spot.supervisor.training_status import GIVE_UP_S

LIMIT_USD = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePlan:
    """Hold the jobs of `spot verify-live` with the price of their whole caps."""

    settings: Settings
    image: str
    region: str
    probes: tuple[Probe, ...]
    usd: Mapping[str, float]
    """By probe; zero for a create that is to be refused."""
    left_out: tuple[str, ...]
    """Why probes are missing."""

    @property
    def total_usd(self) -> float:
        return sum(self.usd.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveResult:
    plan: LivePlan
    facts: Mapping[str, Fact]
    """Those that this call found, by name."""
    problems: tuple[str, ...]

    @property
    def unanswered(self) -> tuple[str, ...]:
        return tuple(name for name in ASSUMPTIONS if name not in self.facts)


def plan(settings: Settings, image: str | None) -> LivePlan:
    """Return what would be asked, and ask nothing. Raises `SpotError` without an image or a price."""
    pinned = pinned_image(settings, SubmitOptions(image=image))
    region, prices = settings.cloud.regions[0], settings.price_table()
    wanted, usd, left_out = list[Probe](), dict[str, float](), list[str]()
    for probe in probes(settings, pinned):
        price = probe.usd(region, prices) if probe.runs else 0.0
        if price is None or sum(usd.values()) + price >= LIMIT_USD:
            said = "without a known price" if price is None else f"${price:.2f}"
            left_out.append(f"{probe.name}: {probe.machine.type} in {region}, {said}")
            continue
        wanted.append(probe)
        usd[probe.name] = price
    if "surroundings" not in usd:
        raise SubmitError(f"no probe can be paid: {left_out[0]}", fix="spot prices --refresh")
    return LivePlan(
        settings=settings, image=pinned, region=region, probes=tuple(wanted), usd=usd, left_out=tuple(left_out)
    )


def verify(planned: LivePlan, clock: Clock) -> LiveResult:
    """Ask everything within 25 minutes, and write the answers as facts. Raises `SpotError` if Vertex AI refuses."""
    settings, problems, answers = planned.settings, list(planned.left_out), list[Answer]()

    def ask(asked: Callable[[], Iterator[Answer]], what: str) -> None:
        try:
            answers.extend(asked())
        except (SpotError, requests.RequestException, LookupError, TypeError, ValueError) as error:
            problems.append(f"{what}: {one_line(error)}")

    checkpoints = open_store(f"{settings.root}/checkpoints", give_up_s=GIVE_UP_S)
    with ProbeJobs(settings, planned.image, VertexJobs(give_up_s=GIVE_UP_S), checkpoints, clock) as jobs:
        jobs.start(planned.probes)
        ask(lambda: services.storage(settings), "Cloud Storage")
        ask(lambda: services.manifest(planned.image), "registry")
        ask(lambda: services.doctor(settings), "spot doctor")
        ends = jobs.wait()
        if jobs.label_lag is not None:
            answers.append(timed("label-lag", jobs.label_lag.total_seconds()))
    for probe in planned.probes:
        end = ends.get(probe.name)
        if end is None or (probe.runs and (end.refusal or end.waited_in is not None)):
            said = end.error.message if end and end.error else "no machine, or no end in time"
            problems.append(f"{probe.name}: {one_line(said)}")
        else:
            ask(partial(probe.answers, end), probe.name)
    answers += error_lags(ends.values())
    if (seen := ends.get("surroundings")) and (job := seen.job):
        ask(lambda: services.log_lag(settings, job), "Logs API")
    found = _facts(answers, clock.now())
    store = open_store(settings.root, give_up_s=GIVE_UP_S)
    facts.update(store, lambda known: replace(known, facts={**known.facts, **found}))
    return LiveResult(plan=planned, facts=found, problems=tuple(problems))


def _facts(answers: Iterable[Answer], now: datetime) -> dict[str, Fact]:
    return {
        answer.name: Fact(
            value=facts.quoted(answer.value),
            at=now,
            as_assumed=ASSUMPTIONS[answer.name].agrees(answer),
            seconds=answer.seconds,
            text=facts.quoted(answer.text),
            job=answer.job.name if answer.job else None,
        )
        for answer in answers
    }
