"""State two worlds: one answers every question as assumed, the other answers every question differently."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from spot.emulators.job_lifecycle import Behaviour
from tests.machinery.google.google_project import DIGEST, MANIFEST, PROJECT
from tests.machinery.google.google_server import Answer, GoogleServer
from tests.machinery.live.world import Variant
from tests.machinery.proxy import Answer as StorageAnswer
from tests.machinery.proxy import Fault, Request

TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"
LOGS = "/logging/v2/entries:list"
HUGE = "aiplatform.googleapis.com/custom_model_training_preemptible_nvidia_t4_gpus"
AS_ASSUMED = Variant(
    refusals={
        "unknown-machine": (400, 'Machine type "n1-standard-5" is not supported.'),
        "missing-gpu": (400, 'Accelerator "NVIDIA_TESLA_K80" is not supported for machine type "n1-standard-4".'),
        "foreign-account": (403, "You do not have permission to act as service_account: nobody (or it may not exist)."),
        "huge-request": (429, f"The following quota metrics exceed quota limits: {HUGE}"),
    },
    rewritten={
        "missing-image": {
            "error": {
                "code": 9,
                "message": "Failed to pull image: denied: Permission"
                ' "artifactregistry.repositories.downloadArtifacts" denied on resource.',
            }
        },
        "out-of-memory": {
            "error": {
                "code": 8,
                "message": "Replicas low on memory: workerpool0. Specify a machine with larger memory and try again.",
            }
        },
    },
    restarts={"retries": 2},
    surroundings={"uid": 10001, "shm": 64 << 20, "disk": 80 * 10**9, "gpu": True},
)
_UNKNOWN = {"state": 5, "error": {"code": 2, "message": "A text that nobody has seen before.\n"}}
_ENDS = ("exit-0", "exit-1", "exit-75", "exit-137", "exit-143", "exit-134", "timeout", "out-of-memory", "lost-replica")
ALL_DIFFERENT = Variant(
    refusals={"huge-request": (400, "List of found errors: 1.Field: job_spec; Message: too many replicas.")},
    rewritten={**dict.fromkeys(_ENDS, _UNKNOWN), "cancel-exit-0": {"state": 4}},
    restarts={"exit-134": 1, "peer": 1},
    surroundings={"uid": 0, "shm": 16 << 20, "disk": 10 * 10**9, "gpu": False},
    behaviour=replace(
        AS_ASSUMED.behaviour, pending=timedelta(minutes=11, seconds=30), error_delay=timedelta(minutes=4)
    ),
    sends_sigterm=False,
    list_lag=timedelta(minutes=11),
)
QUICK = Behaviour(queued=timedelta(), pending=timedelta(), error_delay=timedelta(), cancelling=timedelta(), grace_s=0.5)


def google_as_assumed(google: GoogleServer) -> None:
    google.answers |= _google("application/vnd.oci.image.manifest.v1+json", token_s=3599, log_s=4)


def google_all_different(google: GoogleServer) -> None:
    google.answers |= _google("text/html", token_s=7200, log_s=90)
    del google.answers[PROJECT]


def _google(media_type: str, *, token_s: int, log_s: int) -> dict[str, Answer | list[Answer]]:
    received = f"2026-11-23T06:{log_s // 60:02}:{log_s % 60:02}.5Z"
    entry = {"timestamp": "2026-11-23T06:00:00.123456789Z", "receiveTimestamp": received}
    return {
        f"{MANIFEST}/{DIGEST}": Answer(headers={"Docker-Content-Digest": DIGEST, "Content-Type": media_type}),
        TOKEN: Answer({"access_token": "secret", "expires_in": token_s}),
        LOGS: Answer({"entries": [entry]}),
    }


def storage(answers: dict[int, StorageAnswer], refuse: str = "") -> Callable[[Request], Fault | None]:
    """Return a rule that answers the numbered requests about the probe's object, and refuses the reports of a probe."""
    asked: list[Any] = []

    def rule(request: Request) -> Fault | None:
        if refuse and request.is_upload and f"/{refuse}/" in request.name:
            return StorageAnswer(403, "no storage.objects.create access")
        if not (request.name.endswith("/live/probe") or request.query.get("prefix", "").endswith("/live/probe")):
            return None
        asked.append(request)
        return answers.get(len(asked))

    return rule


# The requests: 1 delete, 2 create, 3 create again, 4 stale, 5 large, 6 checksum, 7 to 11 burst, 12 list, 13 read.
STORAGE_AS_ASSUMED = {
    6: StorageAnswer(400, "Provided CRC32C does not match"),
    11: StorageAnswer(429, "rateLimitExceeded"),
}
STORAGE_ALL_DIFFERENT = {
    **dict.fromkeys((3, 4), StorageAnswer(200, body="{}")),
    5: StorageAnswer(503, "unavailable"),
    12: StorageAnswer(200, body=json.dumps({"items": [{"generation": "1"}]})),
}
