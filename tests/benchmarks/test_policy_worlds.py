"""Test that the policy can be replayed in each of the other worlds."""

from __future__ import annotations

from benchmarks.policy_replays import Policy
from benchmarks.policy_worlds import POLICIES, Share, replayed, shares, worlds


def test_every_world_is_replayed_under_every_policy_and_ours_is_never_late() -> None:
    first: dict[int, Share] = {}
    for share in shares(2, seed=0):
        first.setdefault(share.world, share)
    assert len(first) == len(worlds())
    for share in first.values():
        found = replayed(share)
        assert {one.policy for one in found} == set(POLICIES)
        assert not any(one.missed for one in found if one.policy is Policy.OURS)
