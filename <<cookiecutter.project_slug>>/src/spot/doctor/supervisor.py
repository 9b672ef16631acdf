"""Check that the open runs are reconciled, and show when and from where they last were."""

from urllib.parse import quote

from spot.config.settings import Settings
from spot.core.errors import SpotError
from spot.core.format import clock
from spot.doctor.finding import Finding, failed, find, ok, record
from spot.google.rest import GoogleApi
from spot.storage.records import codec, reconciles
from spot.storage.records.ledger import OPEN
from spot.storage.records.reconciles import Reconciles

NAME = "supervisor"


def check(api: GoogleApi, settings: Settings) -> list[Finding]:
    """Return whether a schedule reconciles open runs. Raise `GoogleApiError` if Google does not answer."""
    cloud, job = settings.cloud, settings.cloud.supervisor_job
    last = _last(record(api, settings, reconciles.NAME) or b"{}")
    if job is None:
        return [ok(NAME, f"GitHub's schedule; {last}")]
    scheduler = find(api, "cloudscheduler", f"v1/{job.path}")
    if scheduler is None:
        return [failed(NAME, f"no Cloud Scheduler job {job.name} in {job.region}; {last}", "bash infra/bootstrap.sh")]
    objects = f"storage/v1/b/{quote(cloud.bucket, safe='')}/o"
    listed = api.get("storage", objects, {"prefix": f"{cloud.prefix}/{OPEN}", "maxResults": "1"})
    state = f"Cloud Scheduler job {job.name} is {scheduler['state']}"
    if listed.get("items") and scheduler["state"] != "ENABLED":
        resume = f"gcloud scheduler jobs resume {job.name} --location={job.region} --project={job.project}"
        return [failed(NAME, f"a run is open and {state}; {last}", resume)]
    return [ok(NAME, f"{state}; {last}")]


def _last(data: bytes) -> str:
    try:
        found = codec.decode(Reconciles, data, reconciles.NAME, reconciles.WHAT, reconciles.FIX)
    except SpotError:
        return "no reconcile is recorded"
    last = max(found.runs.values(), key=lambda one: one.at, default=None)
    return f"last reconcile {clock(last.at)} ({last.home})" if last else "no reconcile is recorded"
