"""Run containers on machines with a network of their own: namespaces of this host, or loopback without root."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from spot.emulators.job_lifecycle import Spec, cluster_specs
from spot.emulators.storage_server import free_port

PORT = 2222
LEAVE_S = 20.0
"""The longest real time from the end of the primary to that of the others, which notice it."""


@dataclass(slots=True, kw_only=True)
class EmulatedMachine:
    """Run one container. Implements `Process` of the job lifecycle."""

    host: str
    """Its address and the port for the rendezvous of the replicas."""
    namespace: str = ""
    """Of its network; empty on loopback."""
    _process: subprocess.Popen[bytes] | None = None

    def run(self, command: Sequence[str], environ: Mapping[str, str], log: Path, pass_fds: Sequence[int] = ()) -> None:
        """Start the container's first process, in a process group of its own."""
        inside = ("ip", "netns", "exec", self.namespace) if self.namespace else ()
        interface = {"GLOO_SOCKET_IFNAME": "eth0"} if self.namespace else {}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*inside, *command],
                env={**environ, **interface},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=pass_fds,
                process_group=0,
            )

    def poll(self) -> int | None:
        return self._process.poll() if self._process else None

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Return the exit code. Raise `subprocess.TimeoutExpired`."""
        return self._process.wait(timeout_s) if self._process else None

    def interrupt(self, number: signal.Signals) -> None:
        """Send SIGTERM to the first process of the container, and any other signal to all."""
        if self._process and number is signal.SIGTERM:
            self._process.send_signal(number)
        elif self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def disconnect(self) -> None:
        """Take its link down. On loopback freeze its processes, which looks alike to their peers."""
        if self.namespace:
            _ip("-n", self.namespace, "link", "set", "eth0", "down")
        else:
            self.interrupt(signal.SIGSTOP)


@dataclass(frozen=True, slots=True)
class Gang:
    """Run the replicas of a job on these machines as one process: the primary replica, the first."""

    machines: Sequence[EmulatedMachine]

    def start(self, spec: Spec, command: Sequence[str], environ: Mapping[str, str], log: Path, *pass_fds: int) -> None:
        """Run a Python module on each machine. The primary inherits `pass_fds`."""
        cluster = cluster_specs(spec, [machine.host for machine in self.machines])
        for machine, given in zip(self.machines, cluster, strict=True):
            machine.run(
                [sys.executable, "-m", *command],
                {**environ, "CLUSTER_SPEC": given},
                log,
                pass_fds if machine is self.machines[0] else (),
            )

    @property
    def exitcode(self) -> int | None:
        return self.machines[0].poll()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the replicas have ended, or the primary for `timeout` seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.machines[0].wait(timeout)
            for machine in self.machines[1:]:
                machine.wait(LEAVE_S)


class Network:
    """Connect machines and this host, at `address`, by a switch. Use as a context manager."""

    def __init__(self, *, namespaces: bool = True) -> None:
        self.address = "127.0.0.1"
        self._allowed = namespaces
        self._switch = f"spot{os.getpid()}"
        self._subnet = f"198.{18 + os.getpid() // 256 % 2}.{os.getpid() % 256}"  # 198.18.0.0/15 is for tests: RFC 2544
        self._namespaces: list[str] = []
        self._machines: list[EmulatedMachine] = []

    def __enter__(self) -> Self:
        """Fall back to loopback where namespaces are not allowed."""
        if not self._allowed:
            return self
        try:
            self._create(self._switch)
            _ip("-n", self._switch, "link", "add", "name", "switch", "up", "type", "bridge")
            self.address = self._attach(self._switch)
        except (OSError, subprocess.CalledProcessError):
            self.__exit__()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill what runs on the machines, and remove them."""
        for machine in self._machines:
            machine.interrupt(signal.SIGKILL)
            machine.wait()
        if self._namespaces:
            _ip("link", "del", self._switch, check=False)  # later than its namespace it may be in the way
        while self._namespaces:
            _ip("netns", "del", self._namespaces.pop())

    def machine(self) -> EmulatedMachine:
        if self._namespaces:
            namespace = f"{self._switch}-{len(self._namespaces)}"
            self._create(namespace)
            _ip("-n", namespace, "link", "set", "lo", "up")
            machine = EmulatedMachine(host=f"{self._attach('eth0', '-n', namespace)}:{PORT}", namespace=namespace)
        else:
            machine = EmulatedMachine(host=f"127.0.0.1:{free_port()}")
        self._machines.append(machine)
        return machine

    def _create(self, namespace: str) -> None:
        _ip("netns", "add", namespace)
        self._namespaces.append(namespace)

    def _attach(self, link: str, *inside: str) -> str:
        """Connect a new link to the switch and return its address."""
        number = len(self._namespaces)
        port, address = f"port{number}", f"{self._subnet}.{number}"
        _ip(*inside, "link", "add", link, "type", "veth", "peer", "name", port, "netns", self._switch)
        _ip("-n", self._switch, "link", "set", port, "up", "master", "switch")
        _ip(*inside, "addr", "add", f"{address}/24", "dev", link)
        _ip(*inside, "link", "set", link, "up")
        return address


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True)
