"""Define the jobs of `spot verify-live`, each with its cap, and what their ends answer."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from signal import Signals
from typing import Any

from spot.config.settings import Settings
from spot.core.job import JobError, JobSnapshot, JobState
from spot.core.run import Attempt, Machine, Provisioning
from spot.google.job_spec import ROOT_LABEL, STRATEGIES, root_label, worker_pool
from spot.live.assumptions import Answer, timed
from spot.policy.calibrate import ERROR_LAG, GRACE, ON_DEMAND_START, SPOT_START
from spot.pricing.quotes import quote
from spot.pricing.table import PriceTable
from spot.storage.records.markers import AttemptStarts
from spot.supervisor.classify import AttemptEvidence, classify, classify_refusal
from spot.trainer.probe import ProbeReport

CPU = Machine(type="n1-standard-4", accelerator=None, accelerator_count=0, boot_disk_gb=100)
CAP, SHORT = timedelta(minutes=5), timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    name: str
    """Its label: 1 to 63 of a-z, 0-9 and -."""
    command: tuple[str, ...] = ("exit",)
    """Arguments of `spot.trainer.probe`."""
    peer: tuple[str, ...] = ()
    """The same of a second replica."""
    machine: Machine = CPU
    provisioning: Provisioning = Provisioning.SPOT
    cap: timedelta = CAP
    retries: bool = False
    cancel: bool = False
    """Whether it is cancelled as soon as it has reported."""
    runs: bool = True
    """Whether it is expected to get a machine. If not, it is cancelled at once when it has one."""
    wait: timedelta = timedelta(minutes=12)
    """Longest wait for a machine."""
    image: str = ""
    account: str = ""
    """Others than those of the project."""
    answers: Callable[["ProbeJob"], Iterator[Answer]] = field(repr=False)

    @property
    def replicas(self) -> int:
        return self.machine.count + bool(self.peer)

    def usd(self, region: str, prices: PriceTable) -> float | None:
        """Return the price of the whole cap, None if it is not known."""
        machine = replace(self.machine, count=self.replicas)
        found = quote(machine, region, prices)
        return found.usd_per_hour[self.provisioning] * (self.cap / timedelta(hours=1)) if found else None

    def request(self, settings: Settings, image: str, reports: str) -> dict[str, Any]:
        container = {"image_uri": self.image or image, "command": ["python", "-m", "spot.trainer.probe"]}
        pools = [(self.command, 1), (self.peer or self.command, self.replicas - 1)]
        report = ("--report", f"{reports}/{self.name}")
        return {
            "display_name": f"verify-live-{self.name}",
            "labels": labels(settings, self.name),
            "job_spec": {
                "worker_pool_specs": [
                    worker_pool(self.machine, count, {**container, "args": [*command, *report]})
                    for command, count in pools
                    if count
                ],
                "scheduling": {
                    "strategy": STRATEGIES[self.provisioning],
                    "timeout": {"seconds": int(self.cap.total_seconds())},
                    "disable_retries": not self.retries,
                },
                "service_account": self.account or settings.cloud.service_account,
            },
        }


@dataclass(slots=True)
class ProbeJob:
    """Hold everything that is known of the job of a probe, or of its refused create."""

    probe: Probe
    job: JobSnapshot | None = None
    """None until the job is known to exist."""
    refusal: JobError | None = None
    waited_in: JobState | None = None
    """The state in which the wait for a machine was given up."""
    error_lag: timedelta | None = None
    reports: Sequence[ProbeReport] = ()
    is_unsure: bool = False
    """Whether a create without an answer may have taken effect."""
    is_cancelled: bool = False
    is_over: bool = False

    @property
    def error(self) -> JobError | None:
        return self.refusal or (self.job.error if self.job else None)

    def starts(self, pool: int = 0) -> int:
        """Return how often the first container of a pool started."""
        return len({one.start for one in self.reports if one.start.startswith(f"workerpool{pool}-")})


def labels(settings: Settings, probe: str = "") -> dict[str, str]:
    """Return the labels of a probe, or those of all probes of this project."""
    return {ROOT_LABEL: root_label(settings.root), "verify": "live", **({"probe": probe} if probe else {})}


def ended_as(end: ProbeJob) -> str:
    """Return the state with the outcome that the supervisor would record."""
    if end.refusal:
        return f"{end.refusal.code}: {classify_refusal(end.refusal)}"
    assert end.job
    if end.waited_in is not None:
        return f"{end.waited_in.name} after {end.probe.wait.total_seconds():.0f} s"
    if end.job.state is JobState.SUCCEEDED:
        return end.job.state.name
    attempt = Attempt(
        id=end.probe.name,
        provisioning=end.probe.provisioning,
        region=end.job.name.split("/")[3],
        intended_at=end.job.created_at,
        timeout=end.probe.cap,
        from_step=0,
        state=end.job.state,
        started_at=end.job.started_at,
        ended_at=end.job.ended_at,
        error=end.job.error,
    )
    starts, now = AttemptStarts(count=end.starts(), exit_code=None), end.job.ended_at or end.job.created_at
    evidence = AttemptEvidence(
        attempt=attempt, starts=starts, now=now, error_lag=timedelta(), machines=end.probe.replicas
    )
    return f"{end.job.state.name}: {classify(evidence)}"


def _end(end: ProbeJob) -> Iterator[Answer]:
    yield _answer(end.probe.name, ended_as(end), end)


def _start(name: str, end: ProbeJob) -> Iterator[Answer]:
    if end.job and end.job.started_at:
        yield timed(name, (end.job.started_at - end.job.created_at).total_seconds(), job=end.job)


def _surroundings(end: ProbeJob) -> Iterator[Answer]:
    yield from _start(SPOT_START[1], end)
    for seen in end.reports[:1]:
        variables = f"variables {', '.join(seen.environment) or 'none'}"
        yield Answer(name="uid", value=str(seen.uid), text=variables, job=end.job)
        yield Answer(name="shm", value=f"{seen.shm >> 20} MiB", job=end.job)
        yield Answer(name="disk", value=f"{seen.disk / 1e9:.0f} GB", job=end.job)
        if seen.token is not None:
            yield timed("token", seen.token, job=end.job)


def _on_demand(end: ProbeJob) -> Iterator[Answer]:
    yield from _start(ON_DEMAND_START, end)
    yield _answer("bucket-write", "yes" if end.reports else "no", end)


def _gpu(end: ProbeJob) -> Iterator[Answer]:
    yield from _start(SPOT_START[0], end)
    for seen in end.reports[:1]:
        yield Answer(name="gpu", value=seen.gpu, job=end.job)


def _retries(end: ProbeJob) -> Iterator[Answer]:
    if end.starts():
        yield _answer("retries" if end.probe.retries else "disabled-retries", str(end.starts()), end)
    if not end.probe.retries:
        yield from _end(end)


def _grace(end: ProbeJob) -> Iterator[Answer]:
    if end.reports:
        yield _answer("cancel-signal", _signal(end), end)
        yield timed(GRACE, max(one.since_signal for one in end.reports), job=end.job)


def _lost_replica(end: ProbeJob) -> Iterator[Answer]:
    yield from _end(end)
    if end.starts(1):
        yield _answer("lost-replica-starts", str(end.starts(1)), end)
        yield _answer("peer-signal", _signal(end), end)


def _signal(end: ProbeJob) -> str:
    received = max(one.signal for one in end.reports)
    return Signals(received).name if received else "none"


def error_lags(ends: Iterable[ProbeJob]) -> Iterator[Answer]:
    """Yield the longest time from the end of a failed job to its error."""
    found = [(end.error_lag, end) for end in ends if end.error_lag is not None]
    if found:
        lag, end = max(found, key=lambda one: one[0])
        yield timed(ERROR_LAG, lag.total_seconds(), text=end.error.message if end.error else "", job=end.job)


def _answer(name: str, value: str, end: ProbeJob) -> Answer:
    return Answer(name=name, value=value, text=end.error.message if end.error else "", job=end.job)


def probes(settings: Settings, image: str) -> tuple[Probe, ...]:
    """Return the jobs, the surest to be refused last."""
    exits = [
        Probe(name=f"exit-{code}", command=("exit", "--code", str(code)), answers=_end) for code in (0, 1, 75, 137, 143)
    ]
    crash = ("exit", "--code", "134")
    hold = ("hold",)
    machine = replace(settings.machine(), count=1)
    lacking = replace(CPU, accelerator="NVIDIA_TESLA_K80", accelerator_count=1)
    huge = replace(CPU, accelerator="NVIDIA_TESLA_T4", accelerator_count=4, count=2500)
    missing = f"{image.partition('@')[0]}@sha256:{'0' * 64}"
    stranger = f"nobody@{settings.cloud.project}.iam.gserviceaccount.com"
    refused: dict[str, Any] = {"answers": _end, "cap": SHORT, "wait": SHORT, "runs": False}
    return (
        Probe(name="surroundings", answers=_surroundings),
        Probe(name="on-demand", provisioning=Provisioning.ON_DEMAND, answers=_on_demand),
        *([Probe(name="gpu", command=("gpu",), machine=machine, answers=_gpu)] if machine.accelerator else []),
        *exits,
        Probe(name="exit-134", command=crash, answers=_retries),
        Probe(name="retries", command=crash, retries=True, answers=_retries),
        Probe(name="grace", command=hold, cancel=True, answers=_grace),
        Probe(name="cancel-exit-0", command=(*hold, "--code", "0"), cancel=True, answers=_end),
        Probe(name="timeout", command=hold, cap=SHORT, answers=_end),
        Probe(name="out-of-memory", command=("memory",), answers=_end),
        Probe(name="lost-replica", command=hold, peer=("exit", "--code", "75"), answers=_lost_replica),
        Probe(name="unknown-machine", machine=replace(CPU, type="n1-standard-5"), **refused),
        Probe(name="missing-gpu", machine=lacking, **refused),
        Probe(name="missing-image", image=missing, **{**refused, "wait": CAP}),
        Probe(name="foreign-account", account=stranger, **refused),
        Probe(name="huge-request", machine=huge, **refused),
    )
