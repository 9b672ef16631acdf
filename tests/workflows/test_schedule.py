"""Check that every workflow pins its actions, each at one commit."""

from __future__ import annotations

import re

from tests.paths import PROJECT

WORKFLOWS = PROJECT / ".github" / "workflows"


def test_an_action_is_used_at_one_commit_everywhere_and_its_version_is_said() -> None:
    uses = [
        line.partition("uses: ")[2]
        for path in sorted(WORKFLOWS.iterdir())
        for line in path.read_text().splitlines()
        if "uses: " in line and "uses: ./" not in line
    ]
    assert len(uses) > 10
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use) for use in uses), uses
    assert len(set(uses)) == len({use.partition("@")[0] for use in uses})
