"""Stand in for a trainer on several machines: the primary and the others exchange a byte until one stops or is gone."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

GOES_ON, STOPS = b"g", b"s"
LOST = 75
SILENCE_S = 1.0
STEP_S = 0.01


def main(ready: str, steps: int) -> int:
    """Return 0 after so many exchanges, 143 after SIGTERM to any replica, 75 if a peer is gone or silent."""
    signals: list[int] = []  # a handler that sets a `threading.Event` may meet the wait for it, and hang
    signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))
    spec = json.loads(os.environ["CLUSTER_SPEC"])
    primary = spec["task"] == {"type": "workerpool0", "index": 0}
    peers = connect(spec["cluster"], primary=primary)
    if primary:
        Path(ready).write_text("up")
    for _ in range(steps):
        try:
            if vote(peers, stop=bool(signals), primary=primary):
                return 143
        except OSError:
            return LOST
        time.sleep(STEP_S)
    return 0


def vote(peers: list[socket.socket], *, stop: bool, primary: bool) -> bool:
    """Return whether any replica stops. Raise `OSError` if a peer is gone or silent."""
    if not primary:
        _send(peers, stop=stop)
    heard = {peer.recv(1) for peer in peers}
    if b"" in heard:
        raise ConnectionResetError
    stops = STOPS in heard or (primary and stop)
    if primary:
        _send(peers, stop=stops)
    return stops


def _send(peers: list[socket.socket], *, stop: bool) -> None:
    for peer in peers:
        peer.sendall(STOPS if stop else GOES_ON)


def connect(cluster: dict[str, list[str]], *, primary: bool) -> list[socket.socket]:
    """Return the connections between the primary and the other replicas."""
    hosts = [host for pool in cluster.values() for host in pool]
    address, port = hosts[0].split(":")
    if primary:
        with socket.create_server((address, int(port))) as server:
            peers = [server.accept()[0] for _ in hosts[1:]]
    else:
        peers = [reach(address, int(port))]
    for peer in peers:
        peer.settimeout(SILENCE_S)
    return peers


def reach(address: str, port: int) -> socket.socket:
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection((address, port))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
