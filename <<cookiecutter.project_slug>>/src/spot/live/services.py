"""Ask Cloud Storage, the registry, the Logs API and `spot doctor` what no job is needed for."""

import os
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

import requests

from spot.config.settings import Settings
from spot.core.job import JobSnapshot
from spot.doctor import records
from spot.doctor.diagnose import diagnose
from spot.doctor.finding import Status
from spot.google import registry, rest
from spot.google.rest import GoogleApi
from spot.live.assumptions import Answer, timed
from spot.storage.base import never
from spot.storage.checksum import crc32c
from spot.storage.gcs import CONNECT_AND_READ_S, EMULATOR, Multipart

LARGE, BURST, STALE = 8 << 20, 5, 1
LINE = "spot probe"
"""What every probe prints first."""


def doctor(settings: Settings) -> Iterator[Answer]:
    known = ("credentials", records.LIVE)
    found = [one for one in diagnose(settings) if one.status is not Status.OK and one.check not in known]
    counts = {status: sum(one.status is status for one in found) for status in Status}
    value = ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "all ok"
    yield Answer(name="doctor", value=value, text="; ".join(f"{one.check}: {one.detail}" for one in found))


def manifest(image: str) -> Iterator[Answer]:
    asked = registry.parse(image)
    response = registry.ask(asked, "HEAD", f"/v2/{asked.path}/manifests/{asked.digest}")
    kind = response.headers.get("Content-Type", "")
    value = "index" if "index" in kind or "list" in kind else "manifest" if "manifest" in kind else kind
    yield Answer(name="manifest", value=value, text=kind)


def log_lag(settings: Settings, job: JobSnapshot) -> Iterator[Answer]:
    """Yield how long the first line of a container took to the Logs API."""
    text = f'resource.type="ml_job" AND resource.labels.job_id="{job.name.rpartition("/")[2]}" AND "{LINE}"'
    body = {"resourceNames": [f"projects/{settings.cloud.project}"], "filter": text, "pageSize": 1}
    for entry in GoogleApi.open().call("POST", "logging", "v2/entries:list", body=body).get("entries", ()):
        written, received = (datetime.fromisoformat(entry[name]) for name in ("timestamp", "receiveTimestamp"))
        yield timed("log-lag", (received - written).total_seconds(), job=job)


def storage(settings: Settings) -> Iterator[Answer]:
    """Send single requests to the bucket, because the client of the machinery retries some refusals."""
    host = os.environ.get(EMULATOR, "")
    session = requests.Session() if host.startswith("http://") else rest.authorized(rest.default_credentials())
    name = f"{settings.cloud.prefix}/live/probe"
    objects = f"storage/v1/b/{settings.cloud.bucket}/o"
    place = f"{objects}/{quote(name, safe='')}"

    def send(method: str, path: str, **more: Any) -> requests.Response:
        url = f"{host or 'https://storage.googleapis.com'}/{path}"
        return session.request(method, url, timeout=CONNECT_AND_READ_S, **more)

    def write(data: bytes, generation: int | None = None, checksum: int | None = None) -> requests.Response:
        body = Multipart(name, data, crc32c(data) if checksum is None else checksum, never)
        condition = {} if generation is None else {"ifGenerationMatch": str(generation)}
        headers = {"content-type": f"multipart/related; boundary={body.boundary}"}
        params = {"uploadType": "multipart", **condition}
        return send("POST", f"upload/{objects}", params=params, headers=headers, data=body)

    def status(question: str, response: requests.Response) -> Answer:
        return Answer(name=question, value=str(response.status_code), text="" if response.ok else response.text)

    send("DELETE", place)
    try:
        write(b"1", 0)
        yield status("create-twice", write(b"2", 0))
        yield status("stale-swap", write(b"2", STALE))
        yield status("large-conflict", write(bytes(LARGE), STALE))
        yield status("wrong-checksum", write(b"3", checksum=crc32c(b"other")))
        burst = [write(str(number).encode()) for number in range(BURST)]
        yield status("burst", max(burst, key=lambda response: response.status_code))
        last = next(response.json()["generation"] for response in reversed(burst) if response.ok)
        [listed] = send("GET", objects, params={"prefix": name}).json()["items"]
        fresh = [listed["generation"] == last, send("GET", place).json()["generation"] == last]
        yield Answer(name="read-after-write", value={2: "both new", 1: "one old", 0: "both old"}[sum(fresh)])
    finally:
        send("DELETE", place)
