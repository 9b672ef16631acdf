"""Report from inside a container of Vertex AI: `python -m spot.trainer.probe exit --code 75 --report gs://BUCKET/...`.

`spot verify-live` starts it in the place of the trainer. A start has a name of its own, so that restarts are counted.
"""

import argparse
import json
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from spot.core import fields
from spot.core.errors import SpotError
from spot.storage.base import ABSENT
from spot.storage.factory import open_store
from spot.storage.records import codec
from spot.storage.records.facts import Text, quoted

TICK_S, HOLD_S, GIVE_UP_S, TOKEN_S = 0.5, 600.0, 30.0, 5.0
BLOCK = 256 << 20
MATRIX = 1024
SHM = Path("/dev/shm")
VARIABLES = ("AIP_", "CLOUD_ML", "CLUSTER_SPEC", "TF_CONFIG")
TOKEN = "computeMetadata/v1/instance/service-accounts/default/token"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """Hold what one start of a container sees."""

    start: fields.Id
    at: datetime
    signal: fields.Count = 0
    """The signal that the process received; 0 before one."""
    since_signal: fields.Quantity = 0.0
    uid: fields.Count
    shm: fields.Size
    """Bytes of /dev/shm, like `disk` of the working directory."""
    disk: fields.Size
    token: fields.Quantity | None
    """Seconds until the token of the service account expires; None without a metadata server."""
    environment: tuple[Text, ...]
    """Names of the variables of Vertex AI."""
    gpu: Text = ""

    @classmethod
    def here(cls, gpu: str) -> "ProbeReport":
        task = json.loads(os.environ.get("CLUSTER_SPEC", "{}")).get("task", {})
        return cls(
            start=f"{task.get('type', 'workerpool0')}-{task.get('index', 0)}-{secrets.token_hex(4)}",
            at=datetime.now(UTC),
            uid=os.getuid(),
            shm=shutil.disk_usage(SHM).total if SHM.is_dir() else 0,
            disk=shutil.disk_usage(".").free,
            token=_token_seconds(),
            environment=tuple(quoted(name) for name in sorted(os.environ) if name.startswith(VARIABLES)),
            gpu=quoted(gpu),
        )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("action", choices=["exit", "hold", "memory", "gpu"], help="choose what ends the container")
    parser.add_argument("--report", required=True, metavar="URI", help="write reports below this prefix")
    parser.add_argument("--code", type=int, help="exit with this code; `hold` does so on SIGTERM")
    options = parser.parse_args(arguments)
    received, signalled = list[tuple[int, float]](), threading.Event()

    def note(number: int, _: object) -> None:
        received.append((number, time.monotonic()))
        signalled.set()

    signal.signal(signal.SIGTERM, note)
    store, numbers = open_store(options.report, give_up_s=GIVE_UP_S), count(1)
    first = ProbeReport.here(_gpu() if options.action == "gpu" else "")

    def write(report: ProbeReport) -> None:
        with suppress(SpotError):  # the exit code answers the question as well
            store.write(f"{report.start}-{next(numbers):04d}.json", codec.encode(report), if_generation=ABSENT)

    write(first)
    print(f"spot probe {first.start} {options.action}", flush=True)
    blocks = list[bytes]()
    while options.action == "memory":
        blocks.append(b"x" * BLOCK)
    if options.action == "hold":
        signalled.wait(HOLD_S)
        while received and time.monotonic() < received[0][1] + HOLD_S:
            elapsed = time.monotonic() - received[0][1]
            write(replace(first, at=datetime.now(UTC), signal=received[0][0], since_signal=elapsed))
            if options.code is not None:
                break
            time.sleep(TICK_S)
    return options.code or 0


def _token_seconds() -> float | None:
    host = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
    request = urllib.request.Request(f"http://{host}/{TOKEN}", headers={"Metadata-Flavor": "Google"})
    try:
        with urllib.request.urlopen(request, timeout=TOKEN_S) as response:
            return float(json.load(response)["expires_in"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _gpu() -> str:
    """Return the driver, the build of PyTorch, and whether a multiplication works."""
    import torch

    driver = "no driver"
    with suppress(OSError):
        command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        driver = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or driver
    try:
        ones = torch.ones(MATRIX, MATRIX, device="cuda")
        works = "works" if float((ones @ ones).sum()) == MATRIX**3 else "fails: wrong product"
    except (RuntimeError, AssertionError) as error:
        works = f"fails: {error}"
    return f"{works} (driver {driver}, torch {torch.__version__}, CUDA {torch.version.cuda})"


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    sys.exit(main(sys.argv[1:]))
