"""Read the place of this process among the machines and the ranks of a job."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spot.core.fields import shown
from spot.trainer.runtime.errors import UsageError

POOLS = ("workerpool0", "workerpool1")
"""The worker pools that train. Vertex AI uses the third for a reduction server, and the fourth for an evaluator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Describe the machines of a job."""

    node: int
    """The number of this machine, from 0."""
    nodes: int
    host: str
    """The address of machine 0."""
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Describe the place of this rank, in the variables of torchrun."""

    rank: int
    world: int
    local_rank: int
    local_world: int
    node: int
    host: str
    port: int
    listener: int | None
    """The descriptor of a socket that listens on `port`, which the launcher opened for rank 0."""
    served: bool
    """Whether another process than rank 0 serves `port`, as torchrun does."""


def read_cluster(environ: Mapping[str, str]) -> Cluster | None:
    """Return the machines in `CLUSTER_SPEC` of Vertex AI; None for a single machine. Raise `UsageError`."""
    text = environ.get("CLUSTER_SPEC")
    if not text:
        return None
    try:
        spec = json.loads(text)
        pools = {pool: [str(host) for host in spec["cluster"].get(pool, [])] for pool in POOLS}
        kind, index = spec["task"]["type"], int(spec["task"]["index"])
        hosts = [host for pool in POOLS for host in pools[pool]]
        host, port = hosts[0].rsplit(":", 1)
        if not 0 <= index < len(pools[kind]) or not host or not 0 < int(port) < 2**16:
            raise ValueError(f"{kind} {index} at {hosts[0]}")
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise UsageError(
            f"CLUSTER_SPEC is {shown(text)}: expected the hosts of {' and '.join(POOLS)}, and a task there ({error})"
        ) from None
    node = index + (len(pools[POOLS[0]]) if kind == POOLS[1] else 0)
    return Cluster(node=node, nodes=len(hosts), host=host, port=int(port)) if len(hosts) > 1 else None


def read_place(environ: Mapping[str, str]) -> Place | None:
    """Return the place that the launcher, or torchrun, gave this process; None for a single rank."""
    if "RANK" not in environ:
        return None

    def number(name: str, default: Any = None) -> int:
        text = environ.get(name, default)
        if text is None or not str(text).isdecimal():
            raise UsageError(f"{name} is {text}, and RANK is set: start ranks with --ranks, or with torchrun")
        return int(text)

    world = number("WORLD_SIZE")
    if world == 1:
        return None
    return Place(
        rank=number("RANK"),
        world=world,
        local_rank=number("LOCAL_RANK"),
        local_world=number("LOCAL_WORLD_SIZE", world),
        node=number("GROUP_RANK", 0),
        host=environ.get("MASTER_ADDR", "127.0.0.1"),
        port=number("MASTER_PORT"),
        listener=number("MASTER_FD") if "MASTER_FD" in environ else None,
        served=environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
    )
