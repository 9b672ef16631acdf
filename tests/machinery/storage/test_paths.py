"""Test that names in the bucket are parsed back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot.core.fields import ID
from spot.storage import paths
from spot.storage.paths import Upload

IDS = st.from_regex(ID, fullmatch=True)
STEPS = st.integers(0, 10**10 - 1)
TERMS = st.integers(0, 10**6)
COMMITS = st.builds(paths.Commit, step=STEPS, token=TERMS, from_step=STEPS, from_token=TERMS)


@given(IDS, COMMITS)
def test_step_term_and_where_its_writer_began_are_in_a_manifests_name(run: str, commit: paths.Commit) -> None:
    name = paths.manifest(run, commit)
    assert name.startswith(paths.manifests(run))
    assert paths.commit_of_manifest(name) == commit


@given(IDS, COMMITS, COMMITS)
def test_manifests_are_named_in_the_order_of_their_steps(run: str, one: paths.Commit, other: paths.Commit) -> None:
    if one.step != other.step:
        assert (paths.manifest(run, one) < paths.manifest(run, other)) == (one < other) == (one.step < other.step)


UPLOADS = st.builds(
    Upload,
    run=IDS,
    step=STEPS,
    token=TERMS,
    attempt=st.sampled_from(["a", "a-1", "a1"]),
    start=st.integers(1, 12),
    save=st.integers(1, 12),
    world=st.integers(1, 12),
)
RANKS = st.integers(0, 10**5 - 1)


@given(UPLOADS, RANKS, st.integers(0, 10**5 - 1))
def test_the_step_is_in_the_names_of_parts_and_records(upload: Upload, rank: int, index: int) -> None:
    for name in (upload.part(index, rank), upload.shard(rank)):
        assert name.startswith(paths.data(upload.run))
        assert paths.step_of_data(name) == upload.step
    assert upload.shard(rank).startswith(upload.shards)


@given(UPLOADS, UPLOADS, RANKS, RANKS)
def test_no_two_saves_and_no_two_ranks_share_a_name(one: Upload, other: Upload, first: int, second: int) -> None:
    other = replace(other, run=one.run, step=one.step, token=one.token)
    same = (one.attempt, one.start, one.save, first) == (other.attempt, other.start, other.save, second)
    assert (one.part(0, first) == other.part(0, second)) == same
    assert (one.shard(first) == other.shard(second)) == (same and one.world == other.world)
    assert other.shard(second).startswith(one.shards) == (
        (one.attempt, one.start, one.save) == (other.attempt, other.start, other.save)
    )


@given(IDS, STEPS)
def test_what_is_set_aside_is_no_manifest(run: str, step: int) -> None:
    assert paths.commit_of_manifest(paths.quarantine(run, step, 1)) is None


@pytest.mark.parametrize(
    "name",
    [
        "run/manifests/1-1-from-0-0.json",
        "run/manifests/0000000001.json",
        "run/manifests/0000000001-0001.json",
        "run/manifests/0000000001-0001-from-0000000000-0000.json.tmp",
        "run/manifests/0000000001-0001-from-0000000000-0000",
        "run/manifests/0000000001-0001-from-0000000000-0000/x.json",
        paths.writer("run"),
        "run/data/0000000001/a.1.1-r0/part-00000",
        "run/data/0000000001/0001-a.1.1-shard-00000-of-00002.json",
        "",
    ],
)
def test_other_objects_are_no_manifests(name: str) -> None:
    assert paths.commit_of_manifest(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "run/data/1/a.1.1-r0/part-00000",
        "run/data/0000000001/part-00000",
        "run/data/0000000001/a/b/part-00000",
        "run/data/0000000001/0001-a.1.1-shard-0-of-2.json",
        "run/data/0000000001/0001-a.1.1-shard-00000-of-00002.json.tmp",
        "run/data/0000000001/a/0001-a.1.1-shard-00000-of-00002.json",
    ],
)
def test_other_objects_are_no_parts(name: str) -> None:
    assert paths.step_of_data(name) is None


def test_runs_that_begin_alike_share_no_prefix() -> None:
    for prefix in (paths.manifests, paths.data, paths.markers):
        assert not prefix("run-1").startswith(prefix("run"))
