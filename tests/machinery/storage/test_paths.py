"""Test that names in the bucket are parsed back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot.core.fields import ID
from spot.storage import paths

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


@given(IDS, STEPS, IDS, st.integers(1, 10**6), st.integers(1, 10**6), st.integers(0, 10**5 - 1))
def test_the_step_is_in_a_parts_name(run: str, step: int, attempt: str, start: int, save: int, index: int) -> None:
    name = paths.part(run, step, attempt, start, save, index)
    assert name.startswith(paths.data(run))
    assert paths.step_of_part(name) == step


Save = tuple[str, int, int]
SAVES = st.tuples(st.sampled_from(["a", "a-1", "a1"]), st.integers(1, 12), st.integers(1, 12))


@given(SAVES, SAVES)
def test_no_two_saves_share_a_parts_name(one: Save, other: Save) -> None:
    assert (paths.part("run", 7, *one, 0) == paths.part("run", 7, *other, 0)) == (one == other)


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
        "run/data/0000000001/a.1.1/part-00000",
        "",
    ],
)
def test_other_objects_are_no_manifests(name: str) -> None:
    assert paths.commit_of_manifest(name) is None


@pytest.mark.parametrize(
    "name", ["run/data/1/a.1.1/part-00000", "run/data/0000000001/part-00000", "run/data/0000000001/a/b/part-00000"]
)
def test_other_objects_are_no_parts(name: str) -> None:
    assert paths.step_of_part(name) is None


def test_runs_that_begin_alike_share_no_prefix() -> None:
    for prefix in (paths.manifests, paths.data, paths.markers):
        assert not prefix("run-1").startswith(prefix("run"))
