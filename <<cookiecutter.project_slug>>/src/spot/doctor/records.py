"""Check what the bucket records: reconciles of the open runs, and what `spot verify-live` found out."""

from datetime import UTC, datetime
from urllib.parse import quote

from spot.config.settings import Settings
from spot.core.errors import SpotError
from spot.core.format import clock, counted
from spot.doctor.finding import Finding, failed, find, ok, record, unknown, warning
from spot.google.rest import GoogleApi
from spot.storage.base import Damaged, NewerFormat
from spot.storage.records import codec, facts, reconciles
from spot.storage.records.ledger import OPEN
from spot.storage.records.reconciles import Reconciles

SUPERVISOR, LIVE = "supervisor", "live facts"
VERIFY = "spot verify-live"
OLD_DAYS = 180


def supervisor(api: GoogleApi, settings: Settings) -> list[Finding]:
    """Return whether a schedule reconciles open runs. Raise `GoogleApiError` if Google does not answer."""
    cloud, job = settings.cloud, settings.cloud.supervisor_job
    last = _last(record(api, settings, reconciles.NAME) or b"{}")
    if job is None:
        return [ok(SUPERVISOR, f"GitHub's schedule; {last}")]
    scheduler = find(api, "cloudscheduler", f"v1/{job.path}")
    if scheduler is None:
        return [
            failed(SUPERVISOR, f"no Cloud Scheduler job {job.name} in {job.region}; {last}", "bash infra/bootstrap.sh")
        ]
    objects = f"storage/v1/b/{quote(cloud.bucket, safe='')}/o"
    listed = api.get("storage", objects, {"prefix": f"{cloud.prefix}/{OPEN}", "maxResults": "1"})
    state = f"Cloud Scheduler job {job.name} is {scheduler['state']}"
    if listed.get("items") and scheduler["state"] != "ENABLED":
        resume = f"gcloud scheduler jobs resume {job.name} --location={job.region} --project={job.project}"
        return [failed(SUPERVISOR, f"a run is open and {state}; {last}", resume)]
    return [ok(SUPERVISOR, f"{state}; {last}")]


def live(api: GoogleApi, settings: Settings) -> list[Finding]:
    """Return a warning for old facts and for differences. Raise `GoogleApiError` without an answer of the bucket."""
    found = record(api, settings, facts.NAME)
    if found is None:
        return [unknown(LIVE, "no assumption about Vertex AI was checked in this project", VERIFY)]
    try:
        known = facts.decode(found, settings.root)
    except (Damaged, NewerFormat) as error:
        return [unknown(LIVE, f"unexpected answer: {error.message}", VERIFY)]
    days = (datetime.now(UTC) - min((one.at for one in known.facts.values()), default=datetime.now(UTC))).days
    different = sorted(name for name, one in known.facts.items() if not one.as_assumed)
    said = f"{counted(len(known.facts), 'answer')} of up to {counted(days, 'day')} ago"
    said += f", {counted(len(known.preemptions), 'preemption')}; not as assumed: {', '.join(different) or 'none'}"
    return [warning(LIVE, said, VERIFY) if different or days > OLD_DAYS else ok(LIVE, said)]


def _last(data: bytes) -> str:
    try:
        found = codec.decode(Reconciles, data, reconciles.NAME, reconciles.WHAT, reconciles.FIX)
    except SpotError:
        return "no reconcile is recorded"
    last = max(found.runs.values(), key=lambda one: one.at, default=None)
    return f"last reconcile {clock(last.at)} ({last.home})" if last else "no reconcile is recorded"
