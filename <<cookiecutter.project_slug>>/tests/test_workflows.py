"""Test .github/workflows/: pinned actions, no default permissions, schedules that GitHub accepts."""

import re
from pathlib import Path

import pytest

WORKFLOWS = sorted((Path(__file__).parents[1] / ".github/workflows").glob("*.y*ml"))
USES = re.compile(r"^[\s-]*uses:\s*([^\s#]+)", re.MULTILINE)
PINNED = re.compile(r"\./.+|[\w.-]+/[\w./-]+@[0-9a-f]{40}|docker://.+@sha256:[0-9a-f]{64}")
CRON = re.compile(r"^[\s-]*cron:\s*(['\"]?)(.*?)\1\s*(?:#.*)?$", re.MULTILINE)
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
NAMES = {**{name: day for day, name in enumerate(WEEKDAYS)}, **{name: month + 1 for month, name in enumerate(MONTHS)}}


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def workflow(request: pytest.FixtureRequest) -> str:
    path: Path = request.param
    return path.read_text(encoding="utf-8")


def test_every_action_is_pinned_to_a_commit(workflow: str) -> None:
    """Refuse tags, which the owner of an action can move to other code."""
    loose = [action for action in USES.findall(workflow) if not PINNED.fullmatch(action)]
    assert not loose, f"not pinned to a commit: {', '.join(loose)}. Write owner/name@<40 hex digits> # version"


def test_no_permission_is_granted_by_default(workflow: str) -> None:
    assert re.search(r"^permissions: \{\}$", workflow, re.MULTILINE), (
        "write `permissions: {}` at the top, and grant each job what it needs"
    )


def test_every_schedule_is_one_that_github_accepts(workflow: str) -> None:
    """GitHub ignores a schedule that it cannot read, without a message."""
    for _, text in CRON.findall(workflow):
        assert mistake(text) is None, f"cron {text!r}: {mistake(text)}"


def test_a_workflow_retrains_on_a_schedule() -> None:
    assert any(CRON.search(path.read_text(encoding="utf-8")) for path in WORKFLOWS), "no workflow has a schedule"


@pytest.mark.parametrize("text", ["0 4 * * MON", "*/15 0-6,12 1 JAN-MAR,9 *", "59 23 31 12 0-6/2"])
def test_valid_schedules(text: str) -> None:
    assert mistake(text) is None


@pytest.mark.parametrize("text", ["", "0 4 * *", "60 4 * * *", "0 24 * * *", "0 4 0 * *", "0 4 * * MONDAY", "@daily"])
def test_invalid_schedules(text: str) -> None:
    assert mistake(text) is not None


def mistake(text: str) -> str | None:
    """Return what is wrong with a cron schedule."""
    fields = text.split()
    if len(fields) != len(RANGES):
        return "expected five fields: minute, hour, day of the month, month, weekday"
    for field, (least, greatest) in zip(fields, RANGES, strict=True):
        for item in field.split(","):
            found = re.fullmatch(r"(?:\*|(\w+)(?:-(\w+))?)(?:/([1-9]\d*))?", item)
            ends = [NAMES.get(end, end) for end in found.groups()[:2] if end] if found else [item]
            if not all(str(end).isdecimal() and least <= int(end) <= greatest for end in ends):
                return f"{item!r} is not between {least} and {greatest}"
    return None
