"""Test that a process finds its place among the machines of Vertex AI and the ranks of a launcher."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot.trainer.runtime.cluster import Cluster, read_cluster, read_place
from spot.trainer.runtime.errors import UsageError

RANK = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "1"}
MASTER = {"MASTER_ADDR": "h0", "MASTER_PORT": "2222"}


def spec(hosts: list[str], node: int, **more: Any) -> dict[str, str]:
    """Return the variables of a machine: the first host is in pool 0, the others are in pool 1."""
    pools = {"workerpool0": hosts[:1], **({"workerpool1": hosts[1:]} if hosts[1:] else {}), **more}
    task = {"type": f"workerpool{min(node, 1)}", "index": max(node - 1, 0)}
    return {"CLUSTER_SPEC": json.dumps({"cluster": pools, "environment": "cloud", "task": task, "job": "{}"})}


@given(st.integers(2, 20), st.data())
def test_every_machine_has_its_own_number_and_knows_machine_0(count: int, data: st.DataObject) -> None:
    hosts = [f"cmle-training-{number}:{data.draw(st.integers(1, 65535))}" for number in range(count)]
    found = [read_cluster(spec(hosts, node)) for node in range(count)]
    host, port = hosts[0].split(":")
    assert found == [Cluster(node=node, nodes=count, host=host, port=int(port)) for node in range(count)]


def test_a_reduction_server_is_no_machine_that_trains() -> None:
    found = read_cluster(spec(["a:2222", "b:2222"], 1, workerpool2=["c:2222"]))
    assert found == Cluster(node=1, nodes=2, host="a", port=2222)


def test_there_is_no_cluster_without_the_variable() -> None:
    assert read_cluster({}) is None
    assert read_cluster({"CLUSTER_SPEC": ""}) is None


def test_a_single_machine_is_no_cluster() -> None:
    assert read_cluster(spec(["a:2222"], 0)) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 70000) | st.sampled_from(["a:1", "workerpool0", "index", ":", "a:x"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["cluster", "task", "type", "index", "workerpool0", "workerpool1"]), inner)
    ),
    max_leaves=12,
)


@given(JSON.map(json.dumps) | st.text(min_size=1))
def test_any_other_text_is_one_error_that_names_the_variable(text: str) -> None:
    with contextlib.suppress(UsageError):
        found = read_cluster({"CLUSTER_SPEC": text})
        assert found is None or 0 <= found.node < found.nodes


@pytest.mark.parametrize(
    ("pool", "index"), [("workerpool0", 1), ("workerpool1", 1), ("workerpool1", -1), ("workerpool2", 0)]
)
def test_a_task_outside_of_the_hosts_is_refused(pool: str, index: int) -> None:
    cluster = {"workerpool0": ["a:1"], "workerpool1": ["b:1"], "workerpool2": ["c:1"]}
    text = json.dumps({"cluster": cluster, "task": {"type": pool, "index": index}})
    with pytest.raises(UsageError, match="CLUSTER_SPEC is"):
        read_cluster({"CLUSTER_SPEC": text})


def test_a_rank_reads_its_place_from_the_variables_of_torchrun() -> None:
    found = read_place({**RANK, **MASTER, "TORCHELASTIC_USE_AGENT_STORE": "True"})
    assert found
    assert (found.rank, found.world, found.local_rank, found.local_world, found.node) == (3, 4, 1, 2, 1)
    assert (found.host, found.port, found.listener, found.served) == ("h0", 2222, None, True)


def test_a_single_process_has_no_place() -> None:
    assert read_place({}) is None
    assert read_place({"RANK": "0", "WORLD_SIZE": "1"}) is None


@pytest.mark.parametrize("missing", ["WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT"])
def test_a_rank_without_a_place_says_how_to_start_ranks(missing: str) -> None:
    variables = {name: text for name, text in {**RANK, **MASTER}.items() if name != missing}
    with pytest.raises(UsageError, match=f"{missing} is None, and RANK is set: start ranks with --ranks"):
        read_place(variables)
