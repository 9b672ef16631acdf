"""Be a replica of a gang: the primary waits for virtual time, the others for the end of the primary."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

from spot.demo.virtual_clock import VirtualClock
from tests.machinery.emulators.replica import LOST, connect


def main(descriptor: str, events: str, fifo: str) -> int:
    spec = json.loads(os.environ["CLUSTER_SPEC"])
    primary = spec["task"]["type"] == "workerpool0"
    [peer] = connect(spec["cluster"], primary=primary)
    peer.settimeout(None)
    if not primary:
        peer.recv(1)
        Path(fifo).read_text()
        return LOST
    clock = VirtualClock(socket.socket(fileno=int(descriptor)))
    clock.sleep(10.0)
    Path(events).write_text(f"{clock.monotonic():g}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
